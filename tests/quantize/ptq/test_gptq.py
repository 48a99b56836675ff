"""Weights rounded with the data in view act more like the float ones than weights rounded one by one."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from edgewright.quantize.ptq import gptq


def layer(rng: np.random.Generator, groups: int, outputs: int, inputs: int):
    """(weights, scale, second moment, inputs): correlated inputs, as behind a ReLU."""
    mixing = rng.normal(size=(groups, inputs, inputs)) + 1
    x = np.maximum(mixing @ rng.normal(size=(groups, inputs, 4000)), 0)
    weights = rng.normal(size=(groups, outputs, inputs)).astype(np.float32)
    scale = np.abs(weights).max(axis=2, keepdims=True) / 16
    return weights, scale, x @ x.transpose(0, 2, 1) / x.shape[2], x


@pytest.mark.parametrize(("groups", "outputs", "inputs"), [(1, 8, 300), (12, 1, 9)])
def test_the_error_of_the_outputs_falls(groups, outputs, inputs):
    weights, scale, moment, x = layer(np.random.default_rng(0), groups, outputs, inputs)
    q = gptq.round_weights(weights, scale, moment, -16, 16)
    assert np.array_equal(q, np.rint(q))
    assert np.abs(q).max() <= 16

    def error(integers: np.ndarray) -> float:
        return float((((integers * scale - weights) @ x) ** 2).mean())

    assert error(q) < 0.7 * error(np.rint(weights / scale))


def test_zeros_stay_zero():
    weights, scale, moment, _ = layer(np.random.default_rng(2), 2, 4, 40)
    weights[..., ::2] = 0
    q = gptq.round_weights(weights, scale, moment, -16, 16)
    assert not q[..., ::2].any()
    assert q[..., 1::2].any()


def test_blocks_change_nothing(monkeypatch):
    weights, scale, moment, _ = layer(np.random.default_rng(1), 1, 4, 50)
    whole = gptq.round_weights(weights, scale, moment, -16, 16)
    monkeypatch.setattr(gptq, "BLOCK", 7)
    np.testing.assert_array_equal(gptq.round_weights(weights, scale, moment, -16, 16), whole)


def test_uncorrelated_inputs_leave_ordinary_rounding():
    weights, scale, _, _ = layer(np.random.default_rng(2), 1, 4, 20)
    q = gptq.round_weights(weights, scale, np.eye(20)[None], -16, 16)
    np.testing.assert_array_equal(q, np.rint(weights / scale))


@pytest.mark.parametrize(
    ("groups", "options"),
    [
        (1, {"pads": [1, 0, 1, 2], "strides": [2, 1]}),
        (2, {"dilations": [2, 2], "pads": [2, 2, 2, 2]}),
        (4, {"strides": [1, 2]}),
    ],
)
def test_the_windows_are_those_of_the_convolution(groups, options):
    import torch

    rng = np.random.default_rng(3)
    x = rng.normal(size=(1, 4, 9, 8)).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=groups, **options)
    moment = gptq.second_moment(node, (3, 3), [x])
    top, left, bottom, right = options.get("pads", [0, 0, 0, 0])
    padded = torch.nn.functional.pad(torch.from_numpy(x), (left, right, top, bottom))
    columns = torch.nn.functional.unfold(
        padded, 3, dilation=options.get("dilations", 1), stride=options.get("strides", 1)
    )[0].numpy()
    split = columns.reshape(groups, -1, columns.shape[1])
    np.testing.assert_allclose(moment, split @ split.transpose(0, 2, 1) / columns.shape[1], rtol=1e-4, atol=1e-5)


def test_what_a_bias_makes_good_is_no_error():
    """Inputs far from zero: rounding keeps the outputs' variation as well as near zero, and leaves their mean."""
    rng = np.random.default_rng(4)
    weights, scale, _, x = layer(rng, 1, 8, 40)
    node = helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)

    def error(shift: float) -> float:
        moment = gptq.second_moment(node, (), [x[0].T.astype(np.float32) + np.float32(shift)])
        wrong = (gptq.round_weights(weights, scale, moment, -16, 16) * scale - weights) @ x
        return float(wrong.var(axis=2).mean())

    assert error(-1000) < 1.1 * error(0)
