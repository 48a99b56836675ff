"""What of a detector stays in float is found by what the graph is, whatever its nodes are called."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgewright.boxes import protect


def detector() -> onnx.ModelProto:
    """A trunk of two convolutions; a head of one convolution a branch: classes with a Sigmoid, sides with a DFL."""
    node = helper.make_node
    nodes = [
        node("Conv", ["images", "w3"], ["a"], "stem", pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["b"], "relu"),
        node("Conv", ["b", "w8"], ["c"], "neck", pads=[1, 1, 1, 1]),
        node("Conv", ["c", "w8"], ["d"], "classes", pads=[1, 1, 1, 1]),
        node("Sigmoid", ["d"], ["e"], "scores"),
        node("Conv", ["c", "w8"], ["f"], "sides", pads=[1, 1, 1, 1]),
        node("Softmax", ["f"], ["g"], "softmax", axis=1),
        node("Transpose", ["g"], ["h"], "turn", perm=[0, 1, 3, 2]),
        node("Conv", ["h", "bins"], ["boxes"], "mean"),
        node("Concat", ["boxes", "e"], ["answer"], "concat", axis=1),
    ]
    weights = {"w3": (8, 3, 3, 3), "w8": (8, 8, 3, 3), "bins": (1, 8, 1, 1)}
    graph = helper.make_graph(
        nodes, "detector",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1, 9, 8, 8])],
        [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in weights.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def test_the_last_layers_and_the_decoding_behind_them_are_protected() -> None:
    kept = protect.nodes(detector())
    assert set(kept) == {"classes", "scores", "sides", "softmax", "turn", "mean", "concat"}


def test_names_do_not_matter() -> None:
    model = detector()
    for number, node in enumerate(model.graph.node):
        node.name = f"n{number}"
    assert set(protect.nodes(model)) == {"n3", "n4", "n5", "n6", "n7", "n8", "n9"}
