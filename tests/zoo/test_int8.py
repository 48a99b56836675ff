"""All of the network in INT8 on real weights: how near its answers stay to the float model's, scheme by scheme.

The file is computed as it is written (exact INT8 arithmetic), so that schemes of other processors are judged here too.
"""

from __future__ import annotations

import functools
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
import pytest

from edgewright import api
from edgewright.bench import accuracy, detection_accuracy, statistics
from edgewright.graph import files, metadata
from edgewright.pipeline import images as image_sets
from edgewright.quantize import equalize, methods, quantize
from edgewright.quantize.sessions import open_session
from edgewright.runtimes import artifact as artifacts
from edgewright.runtimes.options import Options
from edgewright.vision.image import open_image
from edgewright.vision.preprocess import preprocess

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

pytestmark = [pytest.mark.zoo, pytest.mark.timeout(3600)]  # distillation takes ten minutes on two idle cores
HERE = Path(__file__).parent
CASES = runpy.run_path(str(HERE / "test_main_job.py"))["CASES"]


class Figures(NamedTuple):
    """Points of top-1 lost, percent of the images with the float model's answer, SQNR of the logits in dB."""

    loss: float
    agreement: float
    sqnr_db: float


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """What must hold: at most `loss` points of top-1 lost, at least the rest."""

    loss: float
    agreement: float = 0.0
    sqnr_db: float = 0.0


# SQNR: 5 dB above the better of ONNX Runtime's minmax and NNCF's default for the MobileNetV1s, that for SqueezeNet.
BOUNDS = {
    "mobilenetv1_075": Bound(loss=0.5, agreement=95, sqnr_db=22.2),
    "mobilenetv1_025": Bound(loss=0.5, agreement=88, sqnr_db=19.5),
    "squeezenet1_1": Bound(loss=0.5, agreement=96, sqnr_db=33.1),
    "resnet18": Bound(loss=0.2),
    "mobilenetv3_small_100": Bound(loss=0.2, agreement=97, sqnr_db=22),
    "resnet20": Bound(loss=0.2),
    "resnet56": Bound(loss=0.2),
    "vit": Bound(loss=0.2),
}


@functools.cache
def float_model(name: str, zoo: Path, folder: Path) -> tuple[Path, image_sets.Images, np.ndarray, np.ndarray]:
    """(ONNX file, image sets, the float model's logits on the evaluation images, labels)."""
    case = CASES[name]
    path = folder / f"{name}.onnx"
    api.export(
        case.source, out=path, checkpoint=zoo / "weights" / case.checkpoint, spec=HERE / "specs" / f"{case.spec}.toml",
        data=zoo / case.data, trust_checkpoint=case.checkpoint.endswith(".th"),
    )  # fmt: skip
    found = image_sets.gather(zoo / case.data, None, None, 300, 0)
    spec = metadata.get_spec(files.load(path))
    assert spec is not None
    evaluation = image_sets.label(found.evaluation, spec)
    labels = np.array([item.label for item in evaluation.items])
    return path, found, answers(path, found), labels


def answers(path: Path, found: image_sets.Images) -> np.ndarray:
    """The logits of the file at `path` on the evaluation images, computed as it is written."""
    model = files.load(path)
    spec = metadata.get_spec(model)
    assert spec is not None
    session = open_session(model)
    rows = [preprocess(open_image(item.path), spec.preprocess, spec.input) for item in found.evaluation.items]
    return np.concatenate([session.run(None, {spec.input.name: x[None]})[0].reshape(1, -1) for x in rows])


def figures(name: str, scheme: str, method: str, zoo: Path, folder: Path) -> Figures:
    """Quantize and compare; prints what it found."""
    path, found, exact, labels = float_model(name, zoo, folder)
    out = folder / f"{name}-{scheme}-{method}"
    out.mkdir(exist_ok=True)
    images = [item.path for item in found.calibration.items]
    even = out / "model.onnx" if equalize.equalize(str(path), images, str(out)) else path
    quantize.quantize(str(even), scheme, method, images, str(out))
    given = answers(out / "model.onnx", found)
    right = [100 * float((a.argmax(1) == labels).mean()) for a in (exact, given)]
    figures = Figures(right[0] - right[1], 100 * statistics.agreement(given, exact), statistics.sqnr_db(given, exact))
    print(f"{name} {scheme} {method}: {right[1]:.2f} of {right[0]:.2f}, {figures}")
    return figures


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("int8")


SCHEMES = ("ort-x86-vnni", "openvino-vnni", "tensorrt")
METHODS = {("mobilenetv3_small_100", scheme): "distil" for scheme in SCHEMES}
"""What is needed to stay inside; else post-training rounding does it."""

MISSED = {
    # No weights help: see test_tensorrts_signed_activations_are_all_that_is_lost.
    ("mobilenetv1_075", "tensorrt"): "0.75 points lost, 94.5 % agreement, 19.6 dB",
    ("squeezenet1_1", "tensorrt"): "0.75 points lost, 94.5 % agreement, 28.0 dB",
    ("mobilenetv3_small_100", "ort-x86-vnni"): "96.9 % agreement",
}


def missed(why: str) -> pytest.MarkDecorator:
    """What is known to miss its bound, by how much."""
    return pytest.mark.xfail(raises=AssertionError, reason=why)


def cases() -> Iterator[ParameterSet]:
    """Every model under every scheme; what is known to miss its bound says by how much."""
    for name in BOUNDS:
        for scheme in SCHEMES:
            why = MISSED.get((name, scheme))
            yield pytest.param(name, scheme, METHODS.get((name, scheme), "round"), marks=missed(why) if why else [])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "scheme", "method"), [*cases()])
def test_int8_keeps_the_answers(name: str, scheme: str, method: str, zoo: Path, folder: Path) -> None:
    found, bound = figures(name, scheme, method, zoo, folder), BOUNDS[name]
    assert found.loss <= bound.loss + 1e-9
    assert found.agreement >= bound.agreement
    assert found.sqnr_db >= bound.sqnr_db


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenetv1_075", "squeezenet1_1"])
def test_tensorrts_signed_activations_are_all_that_is_lost(name: str, zoo: Path, folder: Path) -> None:
    """Why no rounding of weights meets the bound there: with exact weights it is missed by as much."""
    path, found, exact, _ = float_model(name, zoo, folder)
    images = [item.path for item in found.calibration.items]
    evened, out = folder / f"{name}-even", folder / f"{name}-exact"
    evened.mkdir(), out.mkdir()
    source = evened / "model.onnx" if equalize.equalize(str(path), images, str(evened)) else path
    quantize.quantize(str(source), "tensorrt", "round", images, str(out))
    rows = answers(out / "model.onnx", found), answers(with_exact_weights(out / "model.onnx", source), found)
    whole, activations = (statistics.sqnr_db(given, exact) for given in rows)
    agreement = 100 * statistics.agreement(rows[1], exact)
    print(f"{name} {whole:.1f} dB; weights in float32: {agreement:.2f} %, {activations:.1f} dB")
    assert activations < BOUNDS[name].sqnr_db
    assert abs(activations - whole) < 1


def with_exact_weights(quantized: Path, exact: Path) -> Path:
    """A file beside `quantized` with the weights and biases of `exact`, the model it was made of, in its layers."""
    model, whole = files.load(quantized), files.load(exact)
    originals = {tensor.name: tensor for tensor in whole.graph.initializer}
    stored = {tensor.name for tensor in model.graph.initializer}
    pairs = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
    layers, quantized_layers = (
        [n for n in m.graph.node if n.op_type in ("Conv", "Gemm", "MatMul")] for m in (whole, model)
    )
    assert len(layers) == len(quantized_layers)
    for layer, node in zip(layers, quantized_layers):
        for place in range(1, len(node.input)):
            if pairs.get(node.input[place]) in stored:
                tensor = model.graph.initializer.add()
                tensor.CopyFrom(originals[layer.input[place]])
                tensor.name = node.input[place] = f"exact {node.name} {place}"
    out = quantized.with_name("exact.onnx")
    files.save(model, out)
    return out


DETECTORS = runpy.run_path(str(HERE / "test_detectors.py"))["CASES"]
POINTS = 0.3
"""Of mAP, that INT8 may lose."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "scheme", "method"),
    [
        ("yolox_nano", "openvino-vnni", "nncf-round"),
        ("yolox_nano", "openvino-vnni", "round"),
        ("nanodet_m_320", "openvino-vnni", "round-mixed"),
        ("fastestdet", "openvino-vnni", "round"),
        ("fastestdet", "tensorrt", "round"),
        pytest.param("yolox_nano", "tensorrt", "round-mixed", marks=missed("more than 0.3 points")),
        pytest.param("nanodet_m_320", "tensorrt", "round", marks=missed("more than 0.3 points")),
    ],
)
def test_int8_keeps_the_boxes(name: str, scheme: str, method: str, zoo: Path, tmp_path: Path) -> None:
    case, path = DETECTORS[name], tmp_path / "float.onnx"
    api.export(
        str(zoo / "weights" / case.file), out=path, spec=HERE / "specs" / f"{case.spec}.toml", data=zoo / "coco-val"
    )
    spec = metadata.get_spec(files.load(path))
    assert spec is not None
    found = image_sets.gather(zoo / "coco-val", None, zoo / "coco-train", 300, 0)
    items = image_sets.label(found.evaluation, spec).items
    images = [item.path for item in found.calibration.items]
    evened = methods.get(method).equalize and equalize.equalize(str(path), images, str(tmp_path))
    source = tmp_path / "model.onnx" if evened else path
    (tmp_path / "int8").mkdir()
    quantize.quantize(str(source), scheme, method, images, str(tmp_path / "int8"))

    def boxes(model: Path, folder: Path) -> np.ndarray:
        artifacts.build(model, spec, Options(runtime="onnxruntime", emulate=True), folder / "artifact")
        accuracy.evaluate(folder / "artifact", [item.path for item in items], [None] * len(items), folder)
        return np.array(accuracy.load_outputs(folder))

    exact, given = boxes(path, tmp_path / "exact"), boxes(tmp_path / "int8/model.onnx", tmp_path / "given")
    compared = detection_accuracy.compare(given, exact, items, spec.classes)
    print(
        f"{name} {scheme} {method}: mAP {compared.map:.2f}, {compared.delta}, scores {compared.confidence.shift:+.4f}"
    )
    assert compared.delta is not None and compared.delta.value >= -POINTS


PEAK = """
import resource, sys
from edgewright.quantize import equalize, quantize
model, out, *images = sys.argv[1:]
equalize.equalize(model, images, out)
quantize.observe(model, images, out)
quantize.weigh(model, images, out, out)
quantize.quantize(model, "openvino-vnni", "round", images, out, statistics=out)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_2000_images_take_the_memory_of_100(zoo: Path, folder: Path, tmp_path: Path) -> None:
    model = float_model("resnet18", zoo, folder)[0]
    images = sorted(str(path) for path in (zoo / CASES["resnet18"].data / "train").rglob("*.jpg"))
    peaks = []
    for count in (100, 2000):
        (tmp_path / f"{count}").mkdir()
        chosen = images[:: len(images) // count][:count]
        run = [sys.executable, "-c", PEAK, str(model), str(tmp_path / f"{count}"), *chosen]
        peaks.append(int(subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()[-1]))
    print(f"peak of 100 and of 2000 images: {peaks[0] / 1024:.0f} and {peaks[1] / 1024:.0f} MiB")
    assert peaks[1] <= 1.05 * peaks[0]
