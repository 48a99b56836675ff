"""FP16 is written only where it is proven on the images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.graph import half as halves
from edgewright.graph import metadata
from edgewright.quantize import fp16
from edgewright.quantize.calibration.images import Calibration
from edgewright.quantize.calibration.sessions import open_session
from edgewright.quantize.quantize import QuantizeRequest, quantize


def scaled(tiny, folder: Path, factor: float) -> Path:
    """The tiny model with activations `factor` times as large and a head that makes up for it: the same answers."""
    model = onnx.load(tiny.model)
    for tensor in model.graph.initializer:
        if tensor.name in ("w1", "b1", "w4"):
            by = factor if tensor.name != "w4" else 1 / factor
            tensor.CopyFrom(
                numpy_helper.from_array((numpy_helper.to_array(tensor) * by).astype(np.float32), tensor.name)
            )
        if tensor.name == "b2":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), tensor.name))
    onnx.save(model, folder / "scaled.onnx")
    return folder / "scaled.onnx"


def test_a_model_within_range_is_all_half(tiny, tmp_path: Path):
    found = fp16.convert(str(tiny.model), tiny.images, str(tmp_path))
    assert found.float_nodes == () and found.sqnr_db > 45
    assert metadata.get_spec(onnx.load(tmp_path / "model.onnx")) == tiny.spec
    assert json.loads((tmp_path / "half.json").read_bytes())["sqnr_db"] == found.sqnr_db


def test_what_overflows_on_the_images_stays_in_float32(tiny, tmp_path: Path):
    found = fp16.convert(str(scaled(tiny, tmp_path, 3e4)), tiny.images, str(tmp_path))
    assert {"conv1", "relu1"} <= set(found.float_nodes)
    assert found.sqnr_db > 30
    all_half = onnx.load(tmp_path / "scaled.onnx")
    halves.apply(all_half, ())
    with_all_half = halves.simulate(all_half)
    x = next(iter(Calibration(tiny.images, tiny.spec).batches()))
    assert not np.isfinite(open_session(with_all_half).run(None, x)[0]).all(), "without that it would overflow"


def test_a_pair_whose_activation_overflows_stays_in_float32(tiny, tmp_path: Path):
    request = QuantizeRequest(model=str(scaled(tiny, tmp_path, 3e4)), images=tiny.images)
    quantize(request, "tensorrt", "minmax", str(tmp_path))
    (tmp_path / "f16").mkdir()
    fp16.convert(str(tmp_path / "model.onnx"), tiny.images, str(tmp_path / "f16"))
    x = next(iter(Calibration(tiny.images, tiny.spec).batches()))
    answers = [
        open_session(onnx.load(path)).run(None, x)[0]
        for path in (tmp_path / "model.onnx", tmp_path / "f16" / "model.onnx", tmp_path / "f16" / "simulated.onnx")
    ]
    for found in answers[1:]:
        np.testing.assert_allclose(found, answers[0], atol=0.05 * np.abs(answers[0]).max())


def test_a_quantized_model_converts_and_answers_as_before(tiny, tmp_path: Path):
    quantize(QuantizeRequest(model=str(tiny.model), images=tiny.images), "tensorrt", "minmax", str(tmp_path))
    (tmp_path / "f16").mkdir()
    fp16.convert(str(tmp_path / "model.onnx"), tiny.images, str(tmp_path / "f16"))
    x = np.random.default_rng(0).normal(size=(1, 3, 16, 16)).astype(np.float32)
    answers = [
        open_session(onnx.load(path)).run(None, {"images": x})[0]
        for path in (tmp_path / "model.onnx", tmp_path / "f16" / "model.onnx", tmp_path / "f16" / "simulated.onnx")
    ]
    assert answers[0].argmax() == answers[1].argmax() == answers[2].argmax()
    np.testing.assert_allclose(answers[1], answers[2], atol=0.02 * np.abs(answers[0]).max())


def test_answers_that_fp16_loses_are_not_written(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fp16, "LEAST_DB", 200.0)
    with pytest.raises(RuntimeFailed, match="changes the outputs"):
        fp16.convert(str(tiny.model), tiny.images, str(tmp_path))
    assert not (tmp_path / "model.onnx").exists()


def test_too_few_images_prove_nothing(tiny, tmp_path: Path):
    with pytest.raises(InvalidInput, match="at least 32"):
        fp16.convert(str(tiny.model), tiny.images[:5], str(tmp_path))
