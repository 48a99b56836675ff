"""What is asked of a network: the same answers after the export, INT8 answers near them, files that load. By path."""

from __future__ import annotations

import json
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from PIL import Image

from edgewright.core.spec import ModelSpec
from edgewright.export import exporter
from edgewright.graph.names import name_nodes
from edgewright.quantize import quantize, schemes
from edgewright.quantize.calibration.images import Calibration
from edgewright.quantize.calibration.sessions import open_session
from edgewright.quantize.qdq import tensorrt_rules

LEAST_DB = {"minmax": 18.0, "round": 15.0, "nncf": 2.0}
"""Signal to noise of INT8 scores on the calibration images, by method. By "minmax" 22 dB is the least of 140 networks
(7-bit weights). NNCF takes the mean of each image's extremes, which clips the brightest of such different images."""
SAME_DB = 15.0
"""How near a runtime's INT8 arithmetic is to the exact one."""
EXACT_DB = 40.0
wrong_in_openvino: list[str] = []
"""INT8 files that ONNX Runtime computes as they are written, and OpenVINO does not."""
SECONDS = 60
"""A network that takes longer hangs."""
SPEC = """\
classes = 5
[preprocess]
resize = "exact"
resize_to = [{0}, {1}]
mean = [0.4, 0.4, 0.4]
std = [0.25, 0.25, 0.25]
[postprocess]
scores = "none"
"""


class Exported(NamedTuple):
    """A network after the export: its file, its spec, what the original answers for each of the inputs."""

    path: Path
    spec: ModelSpec
    inputs: list[np.ndarray]
    truth: np.ndarray


def write_images(folder: Path) -> list[str]:
    """32 images of 16 x 16 with waves of different colours and brightness."""
    random, found = np.random.default_rng(0), []
    y, x = np.mgrid[0:16, 0:16] / 15
    for i in range(32):
        wave = np.sin(6 * (x * random.uniform(-1, 1) + y * random.uniform(-1, 1)) + random.uniform(0, 6))
        pixels = random.uniform(0, 255, 3) * (0.5 + 0.5 * wave)[..., None] + random.normal(0, 20, (16, 16, 3))
        path = folder / f"{i:02}.png"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
        found.append(str(path))
    return found


@contextmanager
def time_limit(seconds: int = SECONDS) -> Iterator[None]:
    """Raise `TimeoutError` in what takes longer."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def runs(model: onnx.ModelProto) -> str:
    """Empty where ONNX Runtime takes the model, else what it says."""
    try:
        _plain(model)
    except Exception as error:  # onnxruntime's classes have no common base
        return str(error)
    return ""


def export(model: onnx.ModelProto, images: list[str], folder: Path, outputs: Sequence[str] = ()) -> Exported:
    """Export the file of `model` and require that it answers as the original in ONNX Runtime without optimizations.

    `outputs`: the ones to take, where there are several.
    """
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "network.onnx")
    height, width = (d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[2:])
    (folder / "network.toml").write_text(
        (f"outputs = {json.dumps(outputs)}\n" if outputs else "") + SPEC.format(height, width)
    )
    spec = exporter.export(str(folder / "network.onnx"), folder / "exported", exporter.ExportRequest(images=images))
    inputs = [feed[spec.input.name] for feed in Calibration(images, spec).batches()]
    truth = _answers(_plain(model), inputs, spec, model.graph.input[0].name)
    path = folder / "exported" / "model.onnx"
    found = _answers(open_session(onnx.load(path), 1), inputs, spec)
    np.testing.assert_allclose(found, truth, rtol=1e-4, atol=2e-5 * max(1.0, float(np.abs(truth).max())))
    return Exported(path, spec, inputs, truth)


def quantized(exported: Exported, scheme: str, method: str, images: list[str], loads: bool) -> None:
    """Quantize and require answers within the error of INT8, and a file that its runtime loads and computes as written.

    `loads`: in OpenVINO too, which takes its time; of TensorRT's files the rules are checked.
    """
    folder = exported.path.parent / scheme
    quantize.quantize(quantize.QuantizeRequest(model=str(exported.path), images=images), scheme, method, str(folder))
    path = folder / "model.onnx"
    model = onnx.load(path)
    found = _answers(open_session(model, 1), exported.inputs, exported.spec)
    assert (db := decibels(exported.truth, found)) >= LEAST_DB[method], f"{scheme} by {method}: {db:.1f} dB"
    runtime = schemes.get(scheme).runtime
    if runtime == "tensorrt":
        name_nodes(model)
        assert [v for v in tensorrt_rules.check(model) if v.level == "error"] == []
    elif runtime == "onnxruntime":
        computed = _answers(_optimized(model), exported.inputs, exported.spec)
        assert (db := decibels(found, computed)) >= SAME_DB, f"{scheme} in ONNX Runtime: {db:.1f} dB"
    elif loads:
        _require_openvino(exported, path, scheme)


def _require_openvino(exported: Exported, path: Path, scheme: str) -> None:
    """Note where OpenVINO computes the INT8 file another way than it is written, and the float file right.

    OpenVINO 2026.4 has not every operator (Resize with half_pixel_symmetric), takes a Gather of channels between two
    convolutions for its inverse, and rounds the sizes of some average pools (ceil_mode) another way. It also computes
    some INT8 files wrongly whose float form it computes right: one of 220 networks, with attention, two layers of the
    same weights and an average pool (-3.7 dB).
    """
    try:
        exact = _in_openvino(exported.path, exported)
    except RuntimeError:
        return
    if decibels(exported.truth[: len(exact)], exact) < EXACT_DB:
        return
    written = _answers(open_session(onnx.load(path), 1), exported.inputs[: len(exact)], exported.spec)
    if (db := decibels(written, _in_openvino(path, exported))) < SAME_DB:
        wrong_in_openvino.append(f"{scheme}: {db:.1f} dB")
        warnings.warn(f"OpenVINO computes this INT8 file wrongly: {scheme}, {db:.1f} dB", stacklevel=2)


def decibels(exact: np.ndarray, found: np.ndarray) -> float:
    """The ratio of signal to noise."""
    noise = np.square(exact - found).sum()
    return float(10 * np.log10(np.square(exact).sum() / max(float(noise), 1e-20)))


def _plain(model: onnx.ModelProto) -> Any:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _optimized(model: onnx.ModelProto) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _answers(session: Any, inputs: list[np.ndarray], spec: ModelSpec, name: str = "") -> np.ndarray:
    name = name or spec.input.name
    return np.concatenate([session.run([spec.outputs[0]], {name: x})[0].reshape(1, -1) for x in inputs])


def _in_openvino(path: Path, exported: Exported) -> np.ndarray:
    import openvino

    core = openvino.Core()
    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = core.compile_model(core.read_model(path), "CPU", hints)
    output = compiled.output(exported.spec.outputs[0])
    return np.concatenate([compiled(x)[output].reshape(1, -1) for x in exported.inputs[:8]])
