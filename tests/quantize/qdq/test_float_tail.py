"""Behind the last layer in INT8 nothing is rounded."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.graph.index import constants_of
from edgewright.quantize import schemes
from edgewright.quantize.calibration.statistics import Range
from edgewright.quantize.prepare import prepare
from edgewright.quantize.qdq import float_tail, onnxruntime


def net() -> onnx.ModelProto:
    """images -> Conv -> SiLU -> Conv "head" -> maps."""
    weights = np.random.default_rng(0).normal(0, 0.2, (8, 8, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["images", "w1"], ["c"], "body"),
        helper.make_node("Sigmoid", ["c"], ["gate"], "sigmoid"),
        helper.make_node("Mul", ["c", "gate"], ["m"], "mul"),
        helper.make_node("Conv", ["m", "w2"], ["maps"], "head"),
    ]
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("maps", TensorProto.FLOAT, [1, 8, 4, 4])],
        [numpy_helper.from_array(np.ascontiguousarray(v), n) for n, v in {"w1": weights[:, :3], "w2": weights}.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    prepare(model)
    return model


@pytest.mark.parametrize(
    ("scheme", "kept", "rounded"),
    [
        ("openvino-vnni", [], True),
        ("openvino-vnni", ["head"], False),
        ("ort-x86-vnni", ["head"], True),  # there a convolution runs in INT8 only between two pairs
    ],
)
def test_a_layer_in_float_reads_nothing_rounded_where_that_costs_no_other_layer(
    scheme: str, kept: list[str], rounded: bool
) -> None:
    ranges: dict[str, Range] = dict.fromkeys(("images", "c", "gate", "m", "maps"), (-1.0, 1.0))
    asked = schemes.get(scheme)
    placed = onnxruntime.place(net(), ranges, asked, kept)
    float_tail.take_out(placed, net(), asked.quantized_output)
    constants = constants_of(placed.graph)
    pairs = {n.input[0] for n in placed.graph.node if n.op_type == "QuantizeLinear" and n.input[0] not in constants}
    assert ("m" in pairs) == rounded
    assert "images" in pairs
