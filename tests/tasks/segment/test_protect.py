"""What stays in float: the last layers before the maps, also those before a fusion of maps."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgewright.tasks.segment import protect


def graph(fused: bool) -> onnx.ModelProto:
    """Two convolutions, a resize of the maps, and with `fused` a small convolution over two scales of maps."""
    node, info = helper.make_node, helper.make_tensor_value_info
    nodes = [
        node("Conv", ["x", "a"], ["features"], "body", pads=[1, 1, 1, 1]),
        node("Conv", ["features", "b"], ["maps"], "side", pads=[1, 1, 1, 1]),
        node("Resize", ["maps", "", "scales"], ["large"], "resize", mode="linear"),
    ]
    if fused:
        nodes += [
            node("Concat", ["large", "large"], ["both"], "concat", axis=1),
            node("Conv", ["both", "c"], ["out"], "fuse"),
        ]
    random = np.random.default_rng(0)
    weights = {"a": (32, 3, 3, 3), "b": (1, 32, 3, 3), "c": (1, 2, 1, 1)}
    arrays = [numpy_helper.from_array(random.normal(size=s).astype(np.float32), k) for k, s in weights.items()]
    arrays.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"))
    output = info("out" if fused else "large", TensorProto.FLOAT, [1, 1, 16, 16])
    found = helper.make_graph(nodes, "m", [info("x", TensorProto.FLOAT, [1, 3, 8, 8])], [output], arrays)
    return helper.make_model(found, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def test_the_last_convolution_and_the_resize_of_the_maps_stay_in_float() -> None:
    assert protect.nodes(graph(fused=False)) == ["side", "resize"]


def test_maps_of_several_scales_stay_in_float_before_their_fusion() -> None:
    assert protect.nodes(graph(fused=True)) == ["side", "resize", "concat", "fuse"]
