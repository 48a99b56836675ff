"""INT8 kernels that compute something else than the graph says are found before they answer, and not used."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.core.errors import RuntimeFailed, Unavailable
from edgewright.runtimes import kernels
from edgewright.runtimes import onnxruntime as runtime
from edgewright.runtimes.contents import Contents
from edgewright.runtimes.options import Options
from edgewright.targets.detect import this_machine

OPTIONS = Options(runtime="onnxruntime", threads=1)


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the self-test had found wrong kernels."""
    monkeypatch.setattr(kernels, "wrong_layers", lambda: kernels.LAYERS[:2])


def quantized(path: Path, channels: int = 24, operator: str = "Conv") -> Path:
    """One convolution of an RGB image, with Q/DQ pairs as quantizers write them, or as QLinearConv."""
    rng = np.random.default_rng(0)
    constants = {
        "s": np.float32(1 / 255), "z": np.uint8(0), "ws": np.float32(0.01), "wz": np.int8(0),
        "w": rng.integers(-64, 64, (channels, 3, 3, 3), np.int8), "os": np.float32(0.05), "oz": np.uint8(128),
    }  # fmt: skip
    pads = [1, 1, 1, 1]
    nodes = [helper.make_node("QuantizeLinear", ["images", "s", "z"], ["q"])]
    if operator == "Conv":
        nodes += [
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
            helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"]),
            helper.make_node("Conv", ["d", "wd"], ["c"], pads=pads),
            helper.make_node("QuantizeLinear", ["c", "os", "oz"], ["cq"]),
        ]
    else:
        inputs = ["q", "s", "z", "w", "ws", "wz", "os", "oz"]
        nodes.append(helper.make_node(operator, inputs, ["cq"], pads=pads))
    nodes.append(helper.make_node("DequantizeLinear", ["cq", "os", "oz"], ["maps"]))
    graph = helper.make_graph(
        nodes, "one", [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("maps", TensorProto.FLOAT, [1, channels, 32, 32])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def artifact(folder: Path, **how: object) -> Contents:
    runtime.build(quantized(folder / "source.onnx", **how), OPTIONS, folder)  # type: ignore[arg-type]
    return Contents(folder)


def answer(contents: Contents, **options: bool) -> np.ndarray:
    image = np.random.default_rng(1).random((1, 3, 32, 32), np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        handle = runtime.load(contents, Options(runtime="onnxruntime", threads=1, **options))  # type: ignore[arg-type]
    return runtime.run(handle, image)[0]


def test_the_file_of_the_self_test_is_valid_and_says_what_its_table_says() -> None:
    model = onnx.load_from_string(kernels.model())
    onnx.checker.check_model(model, full_check=True)
    weights = {i.name: tuple(i.dims) for i in model.graph.initializer}
    inputs = {i.name: tuple(d.dim_value for d in i.type.tensor_type.shape.dim) for i in model.graph.input}
    assert [weights[f"{n}.w"] for n in range(len(kernels.LAYERS))] == [layer.kernel for layer in kernels.LAYERS]
    assert [inputs[f"{n}.x"] for n in range(len(kernels.LAYERS))] == [layer.input for layer in kernels.LAYERS]


def test_the_self_test_runs_int8_kernels(tmp_path: Path) -> None:
    """Else it would compare float with float."""
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    settings.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    ort.InferenceSession(kernels.model(), settings, providers=["CPUExecutionProvider"])
    found = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert found["QLinearConv"] >= 9 and found["QLinearMatMul"] >= 2 and found["QGemm"] == 1


def test_with_these_versions_int8_kernels_are_right_and_used(tmp_path: Path) -> None:
    assert runtime.fault() == ""
    contents = artifact(tmp_path)
    described = runtime.describe(runtime.load(contents, OPTIONS))
    assert described["layers"] == {"int8": 1} and "unfused" not in described
    assert np.abs(answer(contents) - answer(contents, emulate=True)).max() < 0.051, "a step of the output's grid"


@pytest.mark.parametrize(("steps", "found"), [(0, 0), (1, 0), (2, 1), (99, 1)])
def test_a_layer_that_is_more_than_one_step_off_is_found(
    steps: int, found: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = kernels._outputs

    def some_kernel_is_off(library: object, fuse: bool) -> list[np.ndarray]:
        every = outputs(library, fuse)
        if fuse:
            value = every[3].reshape(-1)
            value[17] = value[17] + steps if value[17] < 100 else value[17] - steps
        return every

    monkeypatch.setattr(kernels, "_outputs", some_kernel_is_off)
    assert kernels.wrong_layers.__wrapped__() == kernels.LAYERS[3:4][:found]


def test_a_self_test_that_fails_is_a_named_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "model", lambda: b"\x08\x07")
    with pytest.raises(RuntimeFailed, match="self-test of its INT8 kernels"):
        kernels.wrong_layers.__wrapped__()


@pytest.mark.usefixtures("wrong")
def test_where_kernels_are_wrong_a_quantized_layer_runs_in_float_and_says_so(tmp_path: Path) -> None:
    contents = artifact(tmp_path)
    with pytest.warns(RuntimeWarning, match=r"run in float.*onnxruntime \d.*1\.25 or newer, which needs Python 3\.11"):
        handle = runtime.load(contents, OPTIONS)
    described = runtime.describe(handle)
    assert described["layers"] == {"f32": 1}
    assert "2 of 14 layers" in described["unfused"] and ort.__version__ in described["unfused"]
    assert np.abs(answer(contents) - answer(contents, emulate=True)).max() < 0.051, "a step of the output's grid"
    kinds = {kernel.kind for kernel in runtime.profile(contents, OPTIONS, [np.zeros((1, 3, 32, 32), np.float32)], 2)}
    assert not any(kind.startswith("QLinear") for kind in kinds), "a profile is of what runs"


@pytest.mark.usefixtures("wrong")
def test_a_file_that_cannot_run_in_float_is_refused_where_kernels_are_wrong(tmp_path: Path) -> None:
    contents = artifact(tmp_path, operator="QLinearConv")
    with pytest.raises(Unavailable, match="wrong results on this processor: 2 of 14 layers") as caught:
        runtime.load(contents, OPTIONS)
    assert "QLinearConv" in caught.value.why and "Update onnxruntime" in caught.value.fix


def test_a_float_artifact_and_an_emulated_one_need_no_self_test(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never() -> None:
        raise AssertionError("the self-test ran")

    monkeypatch.setattr(kernels, "wrong_layers", never)
    runtime.build(model, OPTIONS, tmp_path)
    assert runtime.describe(runtime.load(Contents(tmp_path), OPTIONS))["precision"] == "f32"
    assert answer(artifact(tmp_path), emulate=True).shape == (1, 24, 32, 32)
    with pytest.raises(AssertionError, match="the self-test ran"):
        runtime.load(Contents(tmp_path), OPTIONS)


def test_on_a_machine_with_wrong_kernels_the_guard_takes_the_error_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = [layer for layer in kernels.wrong_layers() if layer.input == (1, 3, 32, 32) and layer.weights == "s8"]
    if not layers:
        pytest.skip(f"onnxruntime {ort.__version__} computes INT8 rightly on {this_machine().model}")
    contents = artifact(tmp_path, channels=layers[0].kernel[0])
    exact = answer(contents, emulate=True)
    assert np.abs(answer(contents) - exact).max() < 0.051
    monkeypatch.setattr(kernels, "fault", lambda: "")
    assert np.abs(answer(contents) - exact).max() > 0.1, "without the guard answers are off by more than a step"
