"""No Q/DQ pair stands between a layer and the function that its runtime fuses with it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.quantize import schemes
from edgewright.quantize.calibration.statistics import Range
from edgewright.quantize.qdq import fused_activations, onnxruntime


def net(*middle: onnx.NodeProto) -> onnx.ModelProto:
    """images -> Conv -> `middle` (c to m) -> Conv -> answer."""
    weights = np.random.default_rng(0).normal(0, 0.2, (8, 8, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["images", "w1", "b1"], ["c"], "conv1", pads=[1, 1, 1, 1]),
        *middle,
        helper.make_node("Conv", ["m", "w2", "b2"], ["answer"], "conv2", pads=[1, 1, 1, 1]),
    ]
    values = {"w1": weights[:, :3], "w2": weights, "b1": np.ones(8, np.float32), "b2": np.ones(8, np.float32)}
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1, 8, 8, 8])],
        [numpy_helper.from_array(v, name) for name, v in values.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


SILU = (
    helper.make_node("Sigmoid", ["c"], ["gate"], "sigmoid"),
    helper.make_node("Mul", ["c", "gate"], ["m"], "mul"),
)
BRANCH = (
    helper.make_node("HardSwish", ["c"], ["h"], "hardswish"),
    helper.make_node("Add", ["c", "h"], ["m"], "add"),
)
SCALED = (
    helper.make_node("Sigmoid", ["c"], ["gate"], "sigmoid"),
    helper.make_node("Mul", ["images8", "gate"], ["m"], "mul"),
)


def quantized_tensors(model: onnx.ModelProto) -> set[str]:
    return {node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}


@pytest.mark.parametrize(
    ("middle", "inside"),
    [
        (SILU, {"c", "gate"}),
        ((helper.make_node("HardSwish", ["c"], ["m"], "hardswish"),), {"c"}),
        ((helper.make_node("Relu", ["c"], ["m"], "relu"),), set()),
        (BRANCH, set()),
    ],
)
def test_a_function_is_one_with_its_layer(middle: tuple[onnx.NodeProto, ...], inside: set[str]) -> None:
    model = net(*middle)
    assert fused_activations.inside(model) == inside
    every = [name for node in model.graph.node for name in (node.input[0], *node.output)]
    ranges: dict[str, Range] = dict.fromkeys(every, (-3.0, 3.0))
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    placed = onnxruntime.place(copy, ranges, schemes.get("openvino"), [])
    before = quantized_tensors(placed)
    assert fused_activations.apply(placed, model) == bool(inside & before)
    assert quantized_tensors(placed) == before - inside
    assert {"images", "m"} <= quantized_tensors(placed) or middle[0].op_type == "Relu"
    onnx.checker.check_model(placed, full_check=True)


def test_a_gate_from_elsewhere_is_no_silu() -> None:
    model = net(*SCALED)
    assert fused_activations.inside(model) == {"c"}, (
        "the product reads the gate beside another tensor: it stays quantized"
    )
