"""Signed activations made unsigned hold the same values, per tensor and per channel."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.quantize.qdq import unsigned


@pytest.mark.parametrize("scale", [np.float32(0.02), np.array([0.01, 0.02, 0.05], np.float32)])
def test_the_answer_is_the_same_to_the_bit(scale: np.ndarray) -> None:
    zero = np.zeros(np.shape(scale), np.int8)
    weights = np.random.default_rng(0).integers(-64, 65, (4, 3, 3, 3)).astype(np.int8)
    nodes = [
        helper.make_node("QuantizeLinear", ["images", "scale", "zero"], ["q"], axis=1),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["x"], axis=1),
        helper.make_node("DequantizeLinear", ["w", "wscale", "wzero"], ["wf"]),
        helper.make_node("Conv", ["x", "wf"], ["answer"]),
    ]
    tensors = {
        "scale": scale, "zero": zero, "w": weights, "wscale": np.float32(0.01), "wzero": np.int8(0),
    }  # fmt: skip
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1, 4, 6, 6])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    images = np.random.default_rng(1).normal(0, 2, (1, 3, 8, 8)).astype(np.float32)

    def answer() -> np.ndarray:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"images": images})[0]

    before = answer()
    assert unsigned.apply(model)
    types = {t.name: t.data_type for t in model.graph.initializer}
    assert types[model.graph.node[0].input[2]] == types[model.graph.node[1].input[2]] == TensorProto.UINT8
    assert types[model.graph.node[2].input[0]] == TensorProto.INT8, "weights stay signed"
    onnx.checker.check_model(model, full_check=True)
    assert np.array_equal(answer(), before)
    assert not unsigned.apply(model)
