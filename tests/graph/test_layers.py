"""The layers of a graph as shapes: what decides their time is read, and widths change as pruning changes them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgewright.core.errors import InvalidInput
from edgewright.graph import layers as shapes
from edgewright.graph.layers import Layer, narrowed


def net(height: int | str = 17) -> onnx.ModelProto:
    weights = {
        "w1": (8, 3, 3, 3),
        "w2": (8, 1, 5, 5),
        "w3": (16, 8, 1, 1),
        "w4": (16, 4, 2, 2),
        "w5": (6, 4),
        "w6": (4, 5),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], "stem", strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["a"], ["gate"], "gate"),
        helper.make_node("Mul", ["a", "gate"], ["silu"], "silu"),
        helper.make_node("Conv", ["silu", "w2"], ["b"], "depthwise", group=8, pads=[2, 2, 2, 2]),
        helper.make_node("Relu", ["b"], ["r"], "relu"),
        helper.make_node("MaxPool", ["r"], ["pooled"], "pool", kernel_shape=[3, 3], strides=[3, 3]),
        helper.make_node("Conv", ["pooled", "w3"], ["c"], "pointwise"),
        helper.make_node("Relu", ["c"], ["rc"], "relu2"),
        helper.make_node("Add", ["c", "rc"], ["sum"], "read_twice"),
        helper.make_node("ConvTranspose", ["sum", "w4"], ["up"], "up", strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["up"], ["mean"], "mean"),
        helper.make_node("Flatten", ["mean"], ["flat"], "flat"),
        helper.make_node("Gemm", ["flat", "w5"], ["scores"], "head", transB=1),
        helper.make_node("Reshape", ["silu", "tokens"], ["rows"], "to_tokens"),
        helper.make_node("MatMul", ["rows", "w6"], ["y"], "tokens"),
    ]
    made = [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in weights.items()]
    made.append(numpy_helper.from_array(np.array([1, 162, 4]), "tokens"))
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", kind, [1, 3, height, 17])],
        [helper.make_tensor_value_info("scores", kind, [1, 6]), helper.make_tensor_value_info("y", kind, [1, 162, 5])],
        made,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_layers_of_a_graph() -> None:
    found = shapes.layers(net())
    assert list(found) == ["stem", "depthwise", "pointwise", "up", "head", "tokens"]
    assert found["stem"] == Layer(
        kind="conv", cin=3, cout=8, kernel=(3, 3), stride=(2, 2), pads=(1, 1, 1, 1), height=17, width=17,
        activation="silu", signed=True,
    )  # fmt: skip
    assert found["depthwise"] == Layer(
        kind="conv", cin=8, cout=8, kernel=(5, 5), pads=(2, 2, 2, 2), groups=8, height=9, width=9, activation="relu",
        signed=True,
    )  # fmt: skip
    assert found["pointwise"] == Layer(kind="conv", cin=8, cout=16, height=3, width=3)
    assert found["up"] == Layer(
        kind="transposed", cin=16, cout=4, kernel=(2, 2), stride=(2, 2), height=3, width=3, signed=True
    )
    assert found["head"] == Layer(kind="linear", cin=4, cout=6, signed=True)
    assert found["tokens"] == Layer(kind="linear", cin=4, cout=5, height=162, signed=True)


def test_an_open_batch_counts_as_what_is_said() -> None:
    model = net()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    assert shapes.layers(model, batch=4)["stem"].batch == 4


def test_widths_change_as_pruning_changes_them() -> None:
    found = shapes.layers(net())
    assert narrowed(found["pointwise"], 4, 8) == Layer(kind="conv", cin=4, cout=8, height=3, width=3)
    depthwise = narrowed(found["depthwise"], 4, 4)
    assert (depthwise.cin, depthwise.cout, depthwise.groups) == (4, 4, 4)
    grouped = Layer(kind="conv", cin=8, cout=8, groups=2)
    assert narrowed(grouped, 4, 6).groups == 2
    with pytest.raises(InvalidInput, match="2 groups cannot have 3 inputs"):
        narrowed(grouped, 3, 6)


def test_a_shape_that_is_not_known_is_told() -> None:
    model = net()
    model.opset_import.append(helper.make_opsetid("me", 1))
    model.graph.node.append(helper.make_node("OfNobody", ["x"], ["z"], "custom", domain="me"))
    model.graph.node.append(helper.make_node("MatMul", ["z", "w6"], ["last"], "last"))
    with pytest.raises(InvalidInput, match="input shape of last is unknown"):
        shapes.layers(model)
