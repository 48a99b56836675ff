"""Older operator sets compute the same after they are raised, those of image scaling above all."""

from __future__ import annotations

import numpy as np
import onnx
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
