"""Graphs whose answers depend on the batch or on chance are refused, the same operators in inference mode are not."""

from __future__ import annotations

import onnx
import pytest
from onnx import parser

from edgewright.core.errors import InvalidInput
from edgewright.graph import inference

_NORM = "<float[3] s = {1, 1, 1}, float[3] b = {0, 0, 0}, float[3] m = {0, 0, 0}, float[3] v = {1, 1, 1}>"


def _model(opset: int, body: str, constants: str = "") -> onnx.ModelProto:
    head = f'<ir_version: 8, opset_import: ["" : {opset}]>'
    return parser.parse_model(f"{head} g (float[2,3,4,4] x) => (float[2,3,4,4] y) {constants} {{ {body} }}")


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (_model(15, "y, p, q = BatchNormalization <training_mode=1> (x, s, b, m, v)", _NORM), "BatchNormalization 'y'"),
        (_model(9, "y, rm, rv, sm, sv = BatchNormalization (x, s, b, m, v)", _NORM), "BatchNormalization 'y'"),
        (_model(6, "y = BatchNormalization (x, s, b, m, v)", _NORM), "BatchNormalization 'y'"),
        (_model(13, "y = Dropout (x, r, t)", "<float r = {0.5}, bool t = {1}>"), "Dropout 'y'"),
        (_model(13, "t = Constant <value = bool {1}> () y = Dropout (x, , t)"), "Dropout 'y'"),
        (_model(13, "n = RandomNormalLike (x) y = Add (x, n)"), "RandomNormalLike 'n' draws random numbers"),
        (_model(15, "n = Bernoulli (x) y = Add (x, n)"), "Bernoulli 'n' draws random numbers"),
    ],
)  # fmt: skip
def test_training_mode_and_chance_are_refused_by_the_operators_name(model: onnx.ModelProto, named: str) -> None:
    with pytest.raises(InvalidInput, match=f"m.onnx: {named}"):
        inference.require(model, "m.onnx")


@pytest.mark.parametrize(
    "model",
    [
        _model(15, "y = BatchNormalization (x, s, b, m, v)", _NORM),
        _model(9, "y = BatchNormalization (x, s, b, m, v)", _NORM),
        _model(6, "y = BatchNormalization <is_test = 1> (x, s, b, m, v)", _NORM),
        _model(13, "y = Dropout (x, r, t)", "<float r = {0.5}, bool t = {0}>"),
        _model(13, "y = Dropout (x, r, t)", "<float r = {0}, bool t = {1}>"),
        _model(10, "y, mask = Dropout (x)"),
    ],
)
def test_the_same_operators_in_inference_mode_are_taken(model: onnx.ModelProto) -> None:
    inference.require(model, "m.onnx")
