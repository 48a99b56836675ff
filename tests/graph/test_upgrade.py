"""Older operator sets compute the same after they are raised, those of image scaling above all."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.core.errors import InvalidInput
from edgewright.graph import compare, files, upgrade


def _scaling(opset: int, operator: str, mode: str, scales: tuple[float, float]) -> onnx.ModelProto:
    factors = [1.0, 1.0, *scales]
    if opset < 9:
        node, initial = helper.make_node(operator, ["x"], ["y"], mode=mode, scales=factors), []
    else:
        node = helper.make_node(operator, ["x", "s"], ["y"], mode=mode)
        initial = [numpy_helper.from_array(np.array(factors, np.float32), "s")]
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 12, 10])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, None, None])], initial,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)


ENLARGED = ((2.0, 2.0), (3.0, 1.5), (2.5, 2.0), (1.7, 1.0))
REDUCED = ((0.5, 0.5), (0.3, 0.4), (0.75, 0.6))
SCALINGS = [
    *((opset, "Upsample", scales) for opset in (7, 8, 9) for scales in ENLARGED),
    *((10, "Resize", scales) for scales in ENLARGED + REDUCED),
]


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(("opset", "operator", "scales"), SCALINGS)
def test_images_are_scaled_as_before_operator_set_11(
    opset: int, operator: str, scales: tuple[float, float], mode: str
) -> None:
    model = _scaling(opset, operator, mode, scales)
    x = np.random.default_rng(0).standard_normal((1, 3, 12, 10), np.float32)
    (wanted,) = compare.run(model, x)
    assert upgrade.apply(model)
    files.check(model, "m.onnx")
    (found,) = compare.run(model, x)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_scales_that_are_computed_are_those_of_the_shapes() -> None:
    """As torch exported interpolate(size=...): the scales are the new sizes by the old."""
    for target, nearest in (([1, 3, 24, 30], b"floor"), ([1, 3, 6, 5], b"ceil")):
        model = onnx.parser.parse_model(f"""
        <ir_version: 7, opset_import: ["" : 10]>
        g (float[1,3,12,10] x) => (float[1,3,{target[2]},{target[3]}] y)
        <float[4] new = {{{", ".join(map(str, target))}}}>
        {{ old = Shape (x) f = Cast <to = 1> (old) s = Div (new, f) y = Resize <mode = "nearest"> (x, s) }}
        """)
        x = np.random.default_rng(0).standard_normal((1, 3, 12, 10), np.float32)
        (wanted,) = compare.run(model, x)
        upgrade.apply(model)
        (node,) = (node for node in model.graph.node if node.op_type == "Resize")
        assert files.attributes(node)["nearest_mode"] == nearest
        np.testing.assert_array_equal(compare.run(model, x)[0], wanted)


def test_a_resize_to_both_sides_is_refused() -> None:
    with pytest.raises(InvalidInput, match="enlarges one side and reduces the other"):
        upgrade.apply(_scaling(10, "Resize", "nearest", (2.5, 0.6)))


def test_a_pad_that_mirrors_loses_its_value() -> None:
    text = """
    <ir_version: 7, opset_import: ["" : 9]> g (float[1,3,6,6] x) => (float[1,3,8,8] y)
    { y = Pad <mode = "reflect", pads = [0, 0, 1, 1, 0, 0, 1, 1], value = 0.0> (x) }
    """
    model = onnx.parser.parse_model(text)
    upgrade.apply(model)
    files.check(model, "m.onnx")


def test_a_scan_over_a_batch_is_refused() -> None:
    body = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["c"]), helper.make_node("Identity", ["c"], ["d"])], "body",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "ab"],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "cd"],
    )  # fmt: skip
    node = helper.make_node("Scan", ["", "i", "x"], ["o", "y"], body=body, num_scan_inputs=1)
    inputs = [helper.make_tensor_value_info("i", TensorProto.FLOAT, [1, 2])]
    inputs.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 2]))
    answers = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "oy"]
    model = helper.make_model(
        helper.make_graph([node], "g", inputs, answers), opset_imports=[helper.make_opsetid("", 8)]
    )
    with pytest.raises(InvalidInput, match="Scan of operator set 8"):
        upgrade.apply(model)
