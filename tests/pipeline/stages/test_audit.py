"""The audit: a fixture for each finding raises exactly that finding, and healthy variants raise none."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from edgewright.bench import audit as checks
from edgewright.bench import domain, worker
from edgewright.bench.results import Finding
from edgewright.core.errors import GateFailed, InvalidInput, RuntimeFailed
from edgewright.core.spec import Input, ModelSpec, Preprocess, encode
from edgewright.graph import metadata, normalize
from edgewright.pipeline.stages import audit
from edgewright.quantize.quantize import QuantizeRequest, quantize
from edgewright.runtimes import artifact as artifacts
from edgewright.runtimes import kernels
from edgewright.runtimes import onnxruntime as ort_runtime
from edgewright.runtimes.options import Options
from edgewright.targets.detect import this_machine
from edgewright.tasks.classify.spec import Classify

ISA = this_machine().isa
SPEC = ModelSpec(
    name="tiny",
    inputs=(Input(height=16, width=16, preprocess=Preprocess(resize="none", mean=(0.4,) * 3, std=(0.25,) * 3)),),
    task=Classify(classes=4),
)


def net(path: Path, *last: onnx.NodeProto, batch: int | str = 1, **constants: np.ndarray) -> Path:
    """Convolutions with a depthwise one and a residual, pooled into four scores; `last` nodes read "scores"."""
    rng = np.random.default_rng(0)
    shapes = {"w1": (16, 3, 3, 3), "w2": (16, 1, 3, 3), "w3": (16, 16, 1, 1), "w4": (4, 64)}
    made = {name: rng.normal(0, 0.3, shape) for name, shape in shapes.items()}
    made |= {"b1": rng.normal(0, 0.3, 16), "b2": rng.normal(0, 0.3, 16), "b4": rng.normal(0, 0.3, 4), **constants}
    nodes = [
        helper.make_node("Conv", ["images", "w1", "b1"], ["c1"], "conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], "conv2", pads=[1, 1, 1, 1], group=16),
        helper.make_node("Relu", ["c2"], ["r2"], "relu2"),
        helper.make_node("Conv", ["r2", "w3"], ["c3"], "conv3"),
        helper.make_node("Add", ["c3", "r1"], ["a"], "add"),
        helper.make_node("Relu", ["a"], ["r3"], "relu3"),
        helper.make_node("AveragePool", ["r3"], ["p"], "pool", kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Flatten", ["p"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "w4", "b4"], ["scores" if last else "logits"], "head", transB=1),
        *last,
    ]
    graph = helper.make_graph(
        nodes, "tiny", [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, 16, 16])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 4])],
        [numpy_helper.from_array(v if v.dtype == np.int64 else v.astype(np.float32), n) for n, v in made.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    metadata.set_spec(model, SPEC)
    onnx.save(model, path)
    return path


def write_images(folder: Path, count: int, brightest: int = 200, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    folder.mkdir()
    for index in range(count):
        pixels = rng.integers(0, brightest, (16, 16, 3)) // (1 + index % 3)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index:03}.png")
    return sorted(map(str, folder.iterdir()))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_images(tmp_path_factory.mktemp("audit") / "images", 70)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return net(tmp_path_factory.mktemp("net") / "model.onnx")


def look(
    model: Path, images: list[str], folder: Path, runtime: str = "onnxruntime", isa: tuple[str, ...] = ISA,
    spec: ModelSpec = SPEC, answered_by: Path | None = None,
) -> list[Finding]:  # fmt: skip
    """The audit of `model` on `runtime`; `answered_by`: the file that the runtime really ran."""
    options, some = Options(runtime=runtime), images[:16]
    told = artifacts.build(model, spec, options, folder / "artifact")
    if answered_by:
        artifacts.build(answered_by, spec, options, folder / "other")
    worker.open_artifact(str(folder / ("other" if answered_by else "artifact")), some[:1])
    worker.predict(some, str(folder / "outputs.npy"))
    asked = {
        "model": str(model), "artifact": str(folder / "artifact"), "answers": str(folder), "images": some,
        "options": msgspec.to_builtins(options), "spec": msgspec.to_builtins(spec), "isa": list(isa),
        "answered_with": list(ISA), "described": told["described"], "runs_here": True,
        "places": list(range(len(some))),
    }  # fmt: skip
    audit.examine(asked, str(folder))
    return audit.read(type("Entry", (), {"path": folder})())


def named(found: list[Finding]) -> dict[str, str]:
    return {finding.code: finding.level for finding in found if finding.level != "ok"}


def int8(model: Path, images: list[str], folder: Path, scheme: str = "ort-x86", method: str = "minmax") -> Path:
    folder.mkdir(exist_ok=True)
    quantize(QuantizeRequest(model=str(model), images=images), scheme, method, str(folder))
    return folder / "model.onnx"


HEALTHY = [
    *((scheme, "round-mixed", "host", runtime) for scheme, runtime in (("ort-x86", "onnxruntime"), ("openvino",) * 2)),
    *itertools.product(["ort-x86"], ["minmax", "minmax-bias", "round"], ["host", "uint8"], ["onnxruntime"]),
    *itertools.product(["openvino"], ["minmax", "minmax-bias", "round"], ["host", "uint8"], ["openvino"]),
    *itertools.product([""], ["float"], ["host", "uint8", "open"], ["onnxruntime", "openvino"]),
]


@pytest.fixture(scope="module")
def quantized(plain: Path, images: list[str], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    return functools.cache(lambda scheme, how: int8(plain, images, tmp_path_factory.mktemp("int8"), scheme, how))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_wrong_int8_kernels_are_a_warning_with_what_to_do(
    quantized: Callable[[str, str], Path], images: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "wrong_layers", lambda: kernels.LAYERS[:2])
    found = look(quantized("ort-x86", "minmax"), images, tmp_path)
    assert named(found) == {"int8-kernels": "warning"}
    (finding,) = (finding for finding in found if finding.code == "int8-kernels")
    assert "4 quantized layers run in float" in finding.text and "1.25 or newer" in finding.text


def test_wrong_kernels_of_the_host_are_not_those_of_the_device_that_answered(tmp_path: Path) -> None:
    """What was built where kernels are wrong and answered where they are right ran in INT8."""
    entry = type("Entry", (), {"path": tmp_path})
    about = artifacts.Artifact(
        options=Options(runtime="onnxruntime"), spec=SPEC, versions={}, described={"unfused": "wrong", "threads": 1}
    )
    (tmp_path / artifacts.FILE).write_bytes(encode(about))
    assert audit.described(entry(), None) == {"unfused": "wrong", "threads": 1}
    (tmp_path / "described.json").write_text('{"threads": 2}')
    assert audit.described(entry(), entry()) == {"threads": 2}


def test_there_are_twenty_healthy_variants() -> None:
    assert len(HEALTHY) == 20


@pytest.mark.parametrize(("scheme", "method", "form", "runtime"), HEALTHY, ids=["-".join(one) for one in HEALTHY])
def test_a_healthy_variant_raises_nothing(
    scheme: str, method: str, form: str, runtime: str, plain: Path, quantized: Callable[[str, str], Path],
    images: list[str], tmp_path: Path,
) -> None:  # fmt: skip
    model, spec = quantized(scheme, method) if scheme else plain, SPEC
    if form == "uint8":
        graph = onnx.load(model)
        normalize.apply(graph)
        onnx.save(graph, model := tmp_path / "uint8.onnx")
        spec = metadata.get_spec(graph)
    elif form == "open":
        model, spec = net(tmp_path / "open.onnx", batch="n"), SPEC.with_input(batch=None)
    found = look(model, images, tmp_path, runtime, spec=spec)
    assert named(found) == {}, found
    assert {"census", "runtime-parity", "batch-rows", "batch-size"} <= {finding.code for finding in found}


def test_a_layer_that_the_runtime_leaves_in_float_is_told(plain: Path, images: list[str], tmp_path: Path) -> None:
    model = onnx.load(int8(plain, images, tmp_path / "int8"))
    reader = next(n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == "c3")
    dequantized = next(n for n in model.graph.node if n.input[0] == reader.output[0])
    for node in model.graph.node:  # without the pair behind it ONNX Runtime has no INT8 kernel for the convolution
        node.input[:] = ["c3" if name == dequantized.output[0] else name for name in node.input]
    for node in (reader, dequantized):
        model.graph.node.remove(node)
    onnx.save(model, tmp_path / "broken.onnx")
    found = look(tmp_path / "broken.onnx", images, tmp_path)
    assert named(found) == {"census": "warning"}
    assert "1 of 4 quantized layers" in next(f.text for f in found if f.code == "census")


def test_rows_of_a_batch_that_know_their_place_are_told(images: list[str], tmp_path: Path) -> None:
    adds_up = helper.make_node("CumSum", ["scores", "first"], ["logits"], "sum")
    found = look(net(tmp_path / "m.onnx", adds_up, first=np.array(0, np.int64)), images, tmp_path)
    assert named(found) == {"batch-rows": "error"}


def test_a_batch_that_answers_otherwise_than_one_image_is_told(images: list[str], tmp_path: Path) -> None:
    mean = [
        helper.make_node("ReduceMean", ["scores"], ["mean"], "mean", axes=[0], keepdims=1),
        helper.make_node("Sub", ["scores", "mean"], ["rest"], "rest"),
        helper.make_node("Add", ["rest", "b4"], ["logits"], "again"),
    ]
    assert named(look(net(tmp_path / "m.onnx", *mean), images, tmp_path)) == {"batch-size": "error"}


def test_weights_whose_sums_leave_16_bits_are_told(images: list[str], tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    same = rng.choice([1, -1], (16, 1, 1, 1)) * rng.normal(0.3, 0.02, (16, 16, 1, 1))
    # Activations near the top of their range.
    high = {"w2": rng.normal(0, 0.03, (16, 1, 3, 3)), "b2": np.full(16, 6.0)}
    heavy = net(tmp_path / "m.onnx", w3=same, **high)
    full = int8(heavy, images, tmp_path / "full", "ort-x86-vnni")
    (tmp_path / "audit").mkdir()
    assert named(look(full, images, tmp_path / "audit", isa=("avx2",))) == {"saturation": "error"}
    seven = int8(heavy, images, tmp_path / "seven", "ort-x86")
    (tmp_path / "again").mkdir()
    assert named(look(seven, images, tmp_path / "again", isa=("avx2",))) == {}


def test_a_processor_with_vnni_is_not_checked_for_saturation(plain: Path, images: list[str], tmp_path: Path) -> None:
    found = look(int8(plain, images, tmp_path / "int8"), images, tmp_path, isa=("avx2", "avx512f", "vnni"))
    assert "saturation" not in {finding.code for finding in found}


def test_a_runtime_that_computes_something_else_is_told(plain: Path, images: list[str], tmp_path: Path) -> None:
    other = net(tmp_path / "other.onnx", w4=np.random.default_rng(5).normal(0, 0.3, (4, 64)))
    assert named(look(plain, images, tmp_path, answered_by=other)) == {"runtime-parity": "error"}


def test_the_pass_of_onnx_runtime_that_quantizes_anew_is_told(
    plain: Path, images: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`WeightBiasQuantization` quantizes layers that were kept in float, per tensor: why it is switched off."""
    mixed, original = onnx.load(int8(plain, images, tmp_path / "int8")), onnx.load(plain)
    for tensor in original.graph.initializer:
        if tensor.name == "w4":  # one large channel: per tensor the others vanish
            value = numpy_helper.to_array(tensor) * np.float32([[1000], [1], [1], [1]])
            tensor.CopyFrom(numpy_helper.from_array(value, "w4"))
    head = next(n for n in mixed.graph.node if n.name == "head")
    for index, name in ((1, "w4"), (2, "b4")):
        mixed.graph.node.remove(next(n for n in mixed.graph.node if n.output[0] == head.input[index]))
        mixed.graph.initializer.append(next(t for t in original.graph.initializer if t.name == name))
    head.input[1:] = ["w4", "b4"]
    # The pass wants a pair behind the layer too, which ours leaves out.
    answer = head.output[0]
    head.output[0] = "raw"
    mixed.graph.initializer.append(numpy_helper.from_array(np.float32(0.05), "raw_scale"))
    mixed.graph.initializer.append(numpy_helper.from_array(np.uint8(128), "raw_zero"))
    constants = ["raw_scale", "raw_zero"]
    mixed.graph.node.append(onnx.helper.make_node("QuantizeLinear", ["raw", *constants], ["raw_q"], "raw_quantize"))
    mixed.graph.node.append(onnx.helper.make_node("DequantizeLinear", ["raw_q", *constants], [answer], "raw_back"))
    onnx.save(mixed, tmp_path / "mixed.onnx")
    for disabled, wanted in ((["WeightBiasQuantization"], {}), ([], {"runtime-parity": "error"})):
        monkeypatch.setattr(ort_runtime, "_DISABLED", disabled)
        folder = tmp_path / f"disabled{len(disabled)}"
        folder.mkdir()
        assert named(look(tmp_path / "mixed.onnx", images, folder)) == wanted


def test_confidence_that_falls_is_told_though_the_answers_stay() -> None:
    rng = np.random.default_rng(0)
    reference = rng.normal(0, 4, (200, 4)).astype(np.float32)
    assert checks.confidence(reference + 0.05, reference, SPEC).level == "ok"
    assert checks.confidence(reference * 0.55, reference, SPEC).level == "warning"
    told = checks.confidence(reference * 0.3, reference, SPEC)
    assert (told.code, told.level) == ("confidence", "error")


def test_calibration_images_of_another_kind_are_told(images: list[str], tmp_path: Path) -> None:
    dark = write_images(tmp_path / "dark", 60, brightest=40, seed=1)
    audit.examine_images(dark, images, (16, 16), 100, str(tmp_path))
    assert named(audit.read(type("Entry", (), {"path": tmp_path})())) == {"calibration-domain": "warning"}


def test_few_calibration_images_are_told(images: list[str], tmp_path: Path) -> None:
    audit.examine_images(images[:40], images[40:], (16, 16), 40, str(tmp_path))
    assert named(audit.read(type("Entry", (), {"path": tmp_path})())) == {"calibration-few": "warning"}


def test_halves_of_a_set_are_of_one_kind(images: list[str], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    numbers = np.stack([domain.describe(path, (16, 16)) for path in images])
    for _ in range(50):
        order = rng.permutation(len(images))
        assert domain.compare(numbers[order[:35]], numbers[order[35:]]).level == "ok"


def test_an_error_ends_with_the_exit_code_of_its_kind() -> None:
    def of(code: str) -> type:
        return type(checks.error([Finding(level="error", code=code, text="x")]))

    assert of("saturation") is of("confidence") is GateFailed
    assert of("runtime-parity") is of("batch-rows") is of("batch-size") is RuntimeFailed
    assert of("calibration-leak") is InvalidInput
    assert checks.error([Finding(level="warning", code="census", text="x")]) is None
