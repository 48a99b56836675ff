"""Outputs that are chosen by name, inner tensors among them, and outputs that are no arrays."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import parser

from edgewright.core.errors import InvalidInput
from edgewright.graph import compare, files, outputs, upgrade

ZIPPED = """
<ir_version: 8, opset_import: ["" : 12, "ai.onnx.ml" : 2]>
zipped (float[N,3,4,4] x) => (string[N] classLabel, seq(map(string, float)) loss)
{
   pooled = GlobalAveragePool (x)
   flat = Flatten (pooled)
   probabilities = Softmax <axis = 1> (flat)
   best = ArgMax <axis = 1, keepdims = 0> (probabilities)
   classLabel = ai.onnx.ml.LabelEncoder <keys_int64s = [0, 1, 2], values_strings = ["a", "b", "c"]> (best)
   loss = ai.onnx.ml.ZipMap <classlabels_strings = ["a", "b", "c"]> (probabilities)
}
"""


@pytest.mark.parametrize(
    ("taken", "kind"), [("classLabel", "a text"), ("loss", r"a sequence of maps \(class name to score\)")]
)
def test_a_text_or_a_sequence_is_refused_and_the_array_before_it_named(taken: str, kind: str) -> None:
    model = parser.parse_model(ZIPPED)
    outputs.choose(model, [taken])
    with pytest.raises(InvalidInput, match=rf"(?s)'{taken}' is {kind}.*outputs = \[\"probabilities\"\]"):
        outputs.require_arrays(model)


@pytest.mark.parametrize(
    "ending", ["i = Cast <to = 2> (h) y = Identity (i)", "y = ArgMax <axis = 1> (h)", "y = QuantizeLinear (h, s, z)"]
)
def test_integers_are_refused_and_the_array_before_them_named(ending: str) -> None:
    kind = "int64" if "ArgMax" in ending else "uint8"
    model = parser.parse_model(f"""
    <ir_version: 8, opset_import: ["" : 17]> g (float[1,3] x) => ({kind}[1,N] y)
    <float s = {{0.1}}, uint8 z = {{0}}> {{ h = Relu (x) {ending} }}
    """)
    with pytest.raises(InvalidInput, match=r"(?s)'y' is an array of integers.*outputs = \[\"h\"\]"):
        outputs.require_arrays(model)


def test_an_inner_tensor_can_be_an_output_and_what_lies_behind_it_goes() -> None:
    model = parser.parse_model(ZIPPED)
    outputs.choose(model, ["probabilities"])
    outputs.require_arrays(model)
    assert {node.op_type for node in model.graph.node} == {"GlobalAveragePool", "Flatten", "Softmax"}
    assert {opset.domain for opset in model.opset_import} == {""}  # the converter refuses others
    upgrade.apply(model)
    files.check(model, "zipped.onnx")
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4), np.float32)
    (found,) = compare.run(model, x)
    exact = np.exp(x.mean((2, 3)))
    np.testing.assert_allclose(found, exact / exact.sum(1, keepdims=True), rtol=1e-5)


def test_an_unknown_tensor_is_refused_with_similar_names() -> None:
    model = parser.parse_model(ZIPPED)
    with pytest.raises(InvalidInput, match=r"(?s)no tensor 'probabilites'.*classLabel, loss.*names: probabilities"):
        outputs.choose(model, ["probabilites"])


@pytest.mark.parametrize("shape", ["N,5,1,1", "N,1,1,5", "N,1,5"])
def test_scores_with_further_sides_of_one_are_laid_flat_under_their_name(shape: str) -> None:
    sides = shape.replace("N", "2").split(",")
    target = ", ".join(sides)
    text = f"""
    <ir_version: 8, opset_import: ["" : 17]>
    g (float[{shape.split(",", maxsplit=1)[0]},5] x) => (float[{shape}] y)
    <int64[{len(sides)}] s = {{{target}}}> {{ r = Reshape (x, s) y = Identity (r) }}
    """
    model = parser.parse_model(text)
    assert outputs.flatten(model, "y")
    files.check(model, "m.onnx")
    x = np.arange(10, dtype=np.float32).reshape(2, 5)
    np.testing.assert_array_equal(compare._session(model).run(["y"], {"x": x})[0], x)


@pytest.mark.parametrize("shape", ["N,5", "N,5,7,7", "N,5,H,W"])
def test_other_outputs_stay_as_they_are(shape: str) -> None:
    text = f'<ir_version: 8, opset_import: ["" : 17]> g (float[{shape}] x) => (float[{shape}] y) {{ y = Relu (x) }}'
    model = parser.parse_model(text)
    before = model.SerializeToString()
    assert not outputs.flatten(model, "y")
    assert model.SerializeToString() == before


def test_a_flattened_output_that_is_read_inside_keeps_its_readers() -> None:
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    g (float[2,5,3,3] x) => (float[2,5,1,1] y, float[2,5,1,1] z) { y = GlobalAveragePool (x) z = Relu (y) }
    """
    model = parser.parse_model(text)
    assert outputs.flatten(model, "y")
    files.check(model, "m.onnx")
    x = np.random.default_rng(0).standard_normal((2, 5, 3, 3), np.float32)
    y, z = compare._session(model).run(["y", "z"], {"x": x})
    assert y.shape == (2, 5)
    np.testing.assert_array_equal(np.maximum(y, 0), z.reshape(2, 5))


def test_a_type_that_the_file_leaves_out_is_inferred() -> None:
    model = parser.parse_model(ZIPPED)
    outputs.choose(model, ["probabilities"])
    model.graph.output[0].ClearField("type")
    outputs.require_arrays(model)
    assert isinstance(model, onnx.ModelProto)
