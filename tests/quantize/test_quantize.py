"""Each scheme's file obeys its runtime's rules, keeps the spec and the accuracy, and comes out the same twice."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgewright.core.errors import InvalidInput
from edgewright.graph import files, metadata
from edgewright.quantize import methods, schemes
from edgewright.quantize.quantize import Provenance, QuantizeRequest, quantize
from edgewright.quantize.steps import FloatLayers, PlaceByNncf
from edgewright.vision.preprocess import batch

pytestmark = pytest.mark.xdist_group("quantize")  # each file is made once
CASES = [(s, m) for s in schemes.SCHEMES for m in methods.METHODS if methods.METHODS[m].fits(s)]
BEST = {"onnxruntime": "round", "tensorrt": "round", "openvino": "nncf-round"}


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory):
    """Quantized files by (scheme, method), each made once."""
    done: dict[tuple[str, str], Path] = {}

    def make(scheme: str, method: str) -> Path:
        if (scheme, method) not in done:
            folder = tmp_path_factory.mktemp("quantized")
            quantize(QuantizeRequest(model=str(tiny.model), images=tiny.images), scheme, method, str(folder))
            done[scheme, method] = folder
        return done[scheme, method]

    return make


def pairs(model: onnx.ModelProto) -> tuple[dict[str, tuple], dict[str, tuple]]:
    """(weights, activations) behind a DequantizeLinear: name -> (values or None, zero point, scale)."""
    initial = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    weights, activations = {}, {}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear":
            values = initial.get(node.input[0])
            found = weights if values is not None else activations
            found[node.input[0]] = (values, initial[node.input[2]], initial[node.input[1]])
    return weights, activations


@pytest.mark.parametrize(("scheme", "method"), CASES)
def test_the_file_is_valid_keeps_the_spec_and_obeys_its_scheme(scheme, method, tiny, made):
    model = files.load(made(scheme, method) / "model.onnx")
    assert metadata.get_spec(model) == tiny.spec
    rule = schemes.SCHEMES[scheme]
    weights, activations = pairs(model)
    s8 = {name: w for name, w in weights.items() if w[0].dtype == np.int8 and w[0].ndim > 1}
    few = rule.placement == "inputs"  # TensorRT: the first convolution, on 3 channels, stays in float
    assert len(s8) == (3 if methods.METHODS[method].has(FloatLayers) else 4) - few
    for values, zero, scale in s8.values():
        assert not zero.any()
        assert scale.size == (values.shape[0]), "weights are not quantized per output channel"
        depthwise = values.ndim == 4 and values.shape[1] == 1
        assert np.abs(values.astype(int)).max() <= (64 if rule.weight_bits == 7 and not depthwise else 128)
    for _, zero, _ in activations.values():
        assert zero.dtype in {"u8": (np.uint8,), "s8": (np.int8,), "u8 or s8": (np.uint8, np.int8)}[rule.activations]
        if zero.dtype == np.int8 and rule.symmetric:
            assert not zero.any()
    biases = [w for w in weights.values() if w[0].dtype == np.int32]
    assert bool(biases) == rule.quantize_bias


@pytest.mark.parametrize("scheme", schemes.SCHEMES)
def test_predictions_survive_in_float_emulation(scheme, tiny, made):
    assert agreement(made(scheme, BEST[schemes.SCHEMES[scheme].runtime]), tiny, optimize=False) >= 0.97


@pytest.mark.parametrize("scheme", ["ort-x86", "ort-arm"])
def test_predictions_survive_in_onnx_runtimes_int8_kernels(scheme, tiny, made):
    assert agreement(made(scheme, "round"), tiny, optimize=True) >= 0.95


def test_predictions_survive_in_openvino(tiny, made):
    import openvino

    path = made("openvino", "nncf-round") / "model.onnx"
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    answers = np.array([compiled(batch([image], tiny.spec))[0].argmax() for image in tiny.images])
    assert (answers == float_answers(tiny)).mean() >= 0.95


def test_the_same_input_gives_the_same_bytes(tiny, made, tmp_path):
    for scheme, method in (("ort-x86", "round"), ("openvino", "nncf-round")):
        quantize(QuantizeRequest(model=str(tiny.model), images=tiny.images), scheme, method, str(tmp_path / scheme))
        assert (tmp_path / scheme / "model.onnx").read_bytes() == (made(scheme, method) / "model.onnx").read_bytes()


def test_provenance_names_images_method_versions_and_time(tiny, made):
    found = msgspec.json.decode((made("ort-x86", "round") / "provenance.json").read_bytes(), type=Provenance)
    assert (found.scheme, found.method, found.images) == ("ort-x86", "round", len(tiny.images))
    assert len(found.images_digest) == 64
    assert found.seconds > 0
    assert found.versions["onnxruntime"]


def test_progress_reaches_its_total_in_every_phase(tiny, tmp_path):
    calls: list[tuple[int, int, str]] = []
    quantize(
        QuantizeRequest(model=str(tiny.model), images=tiny.images[:40]), "ort-x86", "round", str(tmp_path),
        progress=lambda done, total, what: calls.append((done, total, what)),
    )  # fmt: skip
    last = {what: (done, total) for done, total, what in calls}
    assert len(last) >= 2
    assert all(done == total for done, total in last.values())


@pytest.mark.parametrize("name", [*methods.OTHERS])
def test_the_other_methods_work_too(name, tiny, tmp_path, monkeypatch):
    from edgewright.quantize.qat import train as qat
    from edgewright.quantize.qat.schedule import Training

    monkeypatch.setattr(qat, "TRAINING", Training(steps=30))
    scheme = "openvino" if methods.OTHERS[name].has(PlaceByNncf) else "ort-x86"
    quantize(QuantizeRequest(model=str(tiny.model), images=tiny.images[:40]), scheme, name, str(tmp_path))
    assert agreement(tmp_path, tiny, optimize=False) >= 0.9


@pytest.mark.parametrize(
    ("scheme", "method", "message"),
    [
        ("ort-x87", "round", "ort-x86"),
        ("ort-x86", "rnd", "round"),
        ("ort-x86", "nncf", "Methods that support it"),
        ("tensorrt", "nncf", "Methods that support it"),
    ],
)
def test_a_wrong_name_lists_the_right_ones(scheme, method, message, tiny, tmp_path):
    with pytest.raises(InvalidInput, match=message):
        quantize(QuantizeRequest(model=str(tiny.model), images=tiny.images), scheme, method, str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_model_without_spec_is_refused(tiny, tmp_path):
    model = onnx.load(tiny.model)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(InvalidInput, match="ModelSpec"):
        quantize(
            QuantizeRequest(model=str(tmp_path / "bare.onnx"), images=tiny.images),
            "ort-x86",
            "round",
            str(tmp_path / "out"),
        )


def agreement(folder: Path, tiny, optimize: bool) -> float:
    return float((answers(folder / "model.onnx", tiny, optimize) == float_answers(tiny)).mean())


def float_answers(tiny) -> np.ndarray:
    return answers(tiny.model, tiny, False)


def answers(path: Path, tiny, optimize: bool) -> np.ndarray:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return np.array([session.run(None, {"images": batch([i], tiny.spec)})[0].argmax() for i in tiny.images])
