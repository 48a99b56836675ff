"""Each runtime gives the right numbers, says what it really does, and fails by name."""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.core.errors import IntegrityError, InvalidInput, RuntimeFailed, Unavailable, UsageError
from edgewright.runtimes import registry
from edgewright.runtimes.contents import Contents
from edgewright.runtimes.options import Options
from edgewright.targets.detect import physical_cores, this_machine

ON_DEVICES = ["onnxruntime", "openvino"]
Answer = Callable[[np.ndarray], np.ndarray]


def images(n: int) -> np.ndarray:
    return np.random.default_rng(n).random((n, 3, 8, 8), np.float32)


@pytest.fixture(params=[*ON_DEVICES, "torch"])
def handle(request: pytest.FixtureRequest, model: Path, tmp_path: Path) -> tuple[registry.Runtime, object]:
    """A runtime and the classifier loaded in it, on one thread."""
    runtime = registry.module(request.param)
    options = Options(runtime=request.param, threads=1)
    folder = tmp_path / request.param
    folder.mkdir()
    runtime.build(_reference(tmp_path) if request.param == "torch" else model, options, folder)
    return runtime, runtime.load(Contents(folder), options)


def _reference(folder: Path) -> Path:
    import torch

    class Colors(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3)) @ (torch.eye(3) + 0.1)

    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(Colors(), (torch.zeros(2, 3, 8, 8),), dynamic_shapes=({0: batch},))
    registry.module("torch").save(program, folder)  # type: ignore[attr-defined]
    return folder / "reference.pt2"


def test_answers_are_float32_exact_for_any_batch(handle: tuple, answer: Answer) -> None:
    runtime, model = handle
    for n in (1, 3):
        (scores,) = runtime.run(model, images(n))
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, answer(images(n)), rtol=1e-6)


def test_an_answer_survives_the_next_one(handle: tuple, answer: Answer) -> None:
    runtime, model = handle
    (first,) = runtime.run(model, images(1))
    runtime.run(model, 1 - images(1))
    np.testing.assert_allclose(first, answer(images(1)), rtol=1e-6)


def test_takes_read_only_and_strided_arrays_and_leaves_them_alone(handle: tuple, answer: Answer) -> None:
    runtime, model = handle
    frozen = images(1)
    frozen.setflags(write=False)
    strided = np.ascontiguousarray(images(1).transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for x in (frozen, strided):
        before = x.copy()
        (scores,) = runtime.run(model, x)
        np.testing.assert_allclose(scores, answer(images(1)), rtol=1e-6)
        np.testing.assert_array_equal(x, before)


def test_describes_what_really_runs(handle: tuple) -> None:
    runtime, model = handle
    described = runtime.describe(model)
    assert described["precision"] == "f32"
    assert described["threads"] == 1
    assert described["device"].startswith(("CPU ", "CUDA "))
    assert set(described.get("census", {"f32": 1})) <= {"f32", "i32", "i64", "int64"}


def test_a_wrong_input_is_a_named_failure(handle: tuple) -> None:
    runtime, model = handle
    with pytest.raises(RuntimeFailed, match="failed to run the model"):
        runtime.run(model, np.zeros((1, 3, 8), np.float32))


CPU = [name for name in registry.names() if name != "tensorrt"]  # which has a test of its own


@pytest.mark.parametrize("name", CPU)
def test_probe_lists_f32_and_the_version(name: str) -> None:
    probe = registry.module(name).probe()
    assert probe.available and not probe.why
    assert "f32" in probe.precisions
    assert probe.version and probe.version[0].isdigit()


@pytest.mark.parametrize("name", registry.names())
def test_a_missing_library_is_named_with_its_extra(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("tensorrt", "tensorrt_rtx") if name == "tensorrt" else (name,):
        monkeypatch.setitem(sys.modules, module, None)
    runtime = registry.module(name)
    probe = runtime.probe()
    extra = "host" if name == "torch" else name
    assert not probe.available and f"edgewright[{extra}]" in probe.why
    with pytest.raises(Unavailable, match=rf"edgewright\[{extra}\]"):
        (tmp_path / "model.plan").touch()
        runtime.load(Contents(tmp_path), Options(runtime=name))


@pytest.mark.parametrize("name", CPU)
@pytest.mark.parametrize("precision", ["bf16", "f16"])
def test_a_precision_runs_as_asked_or_not_at_all(name: str, precision: str, model: Path, tmp_path: Path) -> None:
    runtime = registry.module(name)
    options = Options(runtime=name, precision=precision)  # type: ignore[arg-type]
    if precision in runtime.probe().precisions:
        runtime.build(model, options, tmp_path)
        assert runtime.describe(runtime.load(Contents(tmp_path), options))["precision"] == precision
    else:
        with pytest.raises(Unavailable, match=f"cannot compute in {precision} on this machine"):
            runtime.load(Contents(tmp_path), options)


def test_openvino_offers_bf16_exactly_where_the_cpu_has_it() -> None:
    has = {"avx512_bf16", "amx_bf16"} & set(this_machine().isa)
    if this_machine().arch == "x86_64":
        assert ("bf16" in registry.module("openvino").probe().precisions) == bool(has)


def test_openvino_that_takes_another_precision_is_found_out(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = importlib.import_module("edgewright.runtimes.openvino")
    missing = {"bf16", "f16"} - set(runtime.probe().precisions)
    if not missing:
        pytest.skip("this CPU has every precision")
    # As if OpenVINO said that it could: it then compiles without a word and computes in f32.
    monkeypatch.setattr(runtime, "_precisions", lambda: ("f32", "bf16", "f16"))
    options = Options(runtime="openvino", precision=missing.pop())
    runtime.build(model, options, tmp_path)
    with pytest.raises(Unavailable, match="chose another precision"):
        runtime.load(Contents(tmp_path), options)


def test_openvino_keeps_the_weights_and_no_path_of_the_host(model: Path, tmp_path: Path) -> None:
    registry.module("openvino").build(model, Options(runtime="openvino"), tmp_path)
    ir = (tmp_path / "model.xml").read_text()
    assert 'element_type="f16"' not in ir
    assert str(tmp_path) not in ir


@pytest.mark.parametrize("name", ON_DEVICES)
def test_all_physical_cores_unless_told(name: str, build: Callable[..., Path]) -> None:
    runtime = registry.module(name)
    handle = runtime.load(Contents(build(name)), Options(runtime=name))
    assert runtime.describe(handle)["threads"] == physical_cores()


@pytest.mark.parametrize("name", ON_DEVICES)
def test_the_census_counts_int8_kernels(name: str, tmp_path: Path) -> None:
    options = Options(runtime=name, threads=1)
    runtime = registry.module(name)
    runtime.build(_quantized(tmp_path / "int8.onnx"), options, tmp_path)
    described = runtime.describe(runtime.load(Contents(tmp_path), options))
    assert Counter(described["census"])["u8"] + Counter(described["census"])["i8"] >= 1


def test_a_file_that_loads_but_does_not_run_is_a_runtime_failure(tmp_path: Path) -> None:
    """ONNX Runtime checks a QLinearConv's scales when it runs: such files come out of quantizers."""
    options = Options(runtime="onnxruntime", threads=1)
    runtime = registry.module("onnxruntime")
    runtime.build(_broken_at_run_time(tmp_path / "broken.onnx"), options, tmp_path)
    handle = runtime.load(Contents(tmp_path), options)
    with pytest.raises(RuntimeFailed, match="ONNX Runtime failed to run the model") as caught:
        runtime.run(handle, np.zeros((1, 3, 8, 8), np.float32))
    assert "QLinearConv" in caught.value.why


@pytest.mark.parametrize("name", ON_DEVICES)
def test_what_is_no_onnx_is_refused_before_the_runtime_sees_it(name: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"PK\x03\x04 not a model")
    with pytest.raises(InvalidInput):
        registry.module(name).build(tmp_path / "model.onnx", Options(runtime=name), tmp_path)


@pytest.mark.parametrize("name", ON_DEVICES)
def test_a_damaged_artifact_is_a_named_failure(name: str, build: Callable[..., Path]) -> None:
    folder = build(name)
    for file in folder.glob("model.*"):
        file.write_bytes(b"garbage")
    with pytest.raises(IntegrityError, match=r"is not an (ONNX file|OpenVINO IR)"):
        registry.module(name).load(Contents(folder), Options(runtime=name))
    for file in folder.glob("model.*"):
        file.write_bytes(b"<net name='x'/>" if file.suffix == ".xml" else b"\x08\x07")  # well-formed, and no model
    with pytest.raises(RuntimeFailed, match=r"failed to (load|compile) model"):
        registry.module(name).load(Contents(folder), Options(runtime=name))


def test_torch_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    import torch

    runtime = registry.module("torch")
    runtime.build(_reference(tmp_path), Options(runtime="torch"), folder := _new(tmp_path / "t"))
    before = (torch.get_num_threads(), torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)
    torch.set_float32_matmul_precision("medium")
    try:
        handle = runtime.load(Contents(folder), Options(runtime="torch", threads=1))
        runtime.run(handle, images(1))
        assert torch.get_float32_matmul_precision() == "medium"
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_float32_matmul_precision(before[1])
    assert before == (
        torch.get_num_threads(),
        torch.get_float32_matmul_precision(),
        torch.backends.cudnn.allow_tf32,
    )


def test_torch_says_that_the_cpu_stands_in(tmp_path: Path) -> None:
    import torch

    runtime = registry.module("torch")
    runtime.build(_reference(tmp_path), Options(runtime="torch"), folder := _new(tmp_path / "t"))
    described = runtime.describe(runtime.load(Contents(folder), Options(runtime="torch")))
    if torch.cuda.is_available():
        assert described["device"].startswith("CUDA ") and "note" not in described
    else:
        assert described["device"].startswith("CPU ") and "No CUDA device" in described["note"]


def test_torch_refuses_onnx(model: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"\.pt2"):
        registry.module("torch").build(model, Options(runtime="torch"), tmp_path)


def test_an_unknown_runtime_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match="Did you mean 'onnxruntime'") as caught:
        registry.module("onnxruntim")
    assert "openvino" in str(caught.value)


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _quantized(path: Path) -> Path:
    """QDQ around a convolution: what quantizers write."""
    rng = np.random.default_rng(0)
    constants = {
        "s": np.float32(1 / 255), "z": np.uint8(0), "ws": np.float32(0.01), "wz": np.int8(0),
        "w": rng.integers(-100, 100, (16, 3, 3, 3), np.int8), "os": np.float32(0.1), "oz": np.uint8(128),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["images", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"]),
        helper.make_node("Conv", ["d", "wd"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "os", "oz"], ["cq"]),
        helper.make_node("DequantizeLinear", ["cq", "os", "oz"], ["logits"]),
    ]
    return _save(path, nodes, constants, [1, 16, 6, 6])


def _broken_at_run_time(path: Path) -> Path:
    """A QLinearConv with three weight scales for sixteen channels."""
    constants = {
        "s": np.float32(1 / 255), "z": np.uint8(0), "ws": np.full(3, 0.01, np.float32), "wz": np.zeros(3, np.int8),
        "w": np.ones((16, 3, 3, 3), np.int8),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["images", "s", "z"], ["q"]),
        helper.make_node("QLinearConv", ["q", "s", "z", "w", "ws", "wz", "s", "z"], ["c"]),
        helper.make_node("DequantizeLinear", ["c", "s", "z"], ["logits"]),
    ]
    return _save(path, nodes, constants, [1, 16, 6, 6])


def _save(path: Path, nodes: list, constants: dict, shape: list[int]) -> Path:
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path
