"""The range of each tensor is the one that the answers lose least by, not the one that rounds the tensor best."""

from __future__ import annotations

import onnx
import pytest
from onnx import numpy_helper

from edgewright.quantize.calibration import clipping, collect
from edgewright.quantize.calibration import statistics as ranges
from edgewright.quantize.calibration.images import Calibration
from edgewright.quantize.prepare import prepare


@pytest.fixture
def calibration(tiny) -> Calibration:
    return Calibration(tiny.images[:40], tiny.spec)


def prepared(tiny) -> onnx.ModelProto:
    model = onnx.load(tiny.model)
    prepare(model)
    return model


def test_a_channel_that_nothing_reads_does_not_widen_the_range(tiny, calibration) -> None:
    """One channel of r1 is made 100 times larger, and what reads it multiplies it by zero."""
    model = prepared(tiny)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}

    def change(name: str, index: tuple, factor: float) -> None:
        array = numpy_helper.to_array(stored[name]).copy()
        array[index] *= factor
        stored[name].CopyFrom(numpy_helper.from_array(array, name))

    change("w1", (3,), 100)
    change("b1", (3,), 100)
    change("w2", (3,), 0)
    change("w4", (slice(None), slice(12, 16)), 0)  # the skip's channel 3, behind 2 x 2 pools
    seen = collect.collect(model, calibration, lambda *_: None)
    chosen = ranges.find(clipping.choose(model, calibration, seen, lambda *_: None), "output", False)
    widest = ranges.find(seen, "minmax", False)
    assert chosen["r1"][1] < 0.6 * widest["r1"][1]


def test_it_predicts_what_the_answers_lose(tiny, calibration) -> None:
    """Of a wide, a fair and a far too narrow range the fair one."""
    model = prepared(tiny)
    seen = collect.collect(model, calibration, lambda *_: None)
    chosen = ranges.find(clipping.choose(model, calibration, seen, lambda *_: None), "output", False)
    widest = ranges.find(seen, "minmax", False)
    for name in ("r1", "r2", "r3"):
        assert 0.5 * widest[name][1] <= chosen[name][1] <= widest[name][1]


def test_statistics_survive_their_file(tiny, calibration, tmp_path) -> None:
    model = prepared(tiny)
    seen = clipping.choose(model, calibration, collect.collect(model, calibration, lambda *_: None), lambda *_: None)
    ranges.save(seen, tmp_path / "s.safetensors")
    again = ranges.read(tmp_path / "s.safetensors")
    assert again.names == seen.names
    for kind in ("minmax", "mean", "percentile", "entropy", "mse", "output"):
        assert ranges.find(again, kind, True) == ranges.find(seen, kind, True)


@pytest.mark.parametrize("centered", [True, False])
def test_rounding_is_that_of_quantize_linear(centered: bool) -> None:
    import torch

    x = torch.linspace(-3, 5, 999)
    y = clipping.rounded(x, -1.0, 2.0, centered)
    step = 2 / 127 if centered else 3 / 255
    assert len(y.unique()) <= 256
    assert (y.min(), y.max()) == (pytest.approx(-128 * step if centered else -1, abs=step), pytest.approx(2, abs=step))
    inside = (x > -0.99) & (x < 1.99)
    assert float((y - x)[inside].abs().max()) <= step / 2 + 1e-6


def test_what_cannot_be_done_stands_in_the_provenance(tiny, tmp_path, monkeypatch) -> None:
    from edgewright.quantize import autograd
    from edgewright.quantize.quantize import QuantizeRequest, quantize

    monkeypatch.delitem(autograd.OPERATORS, "AveragePool")
    told = quantize(QuantizeRequest(model=str(tiny.model), images=tiny.images[:40]), "ort-x86", "round", str(tmp_path))
    assert told.missing is not None and "AveragePool" in told.missing
    assert told.ranges in ("minmax", "mean")
