"""A small convolutional classifier as ONNX, in the shapes that foreign files come in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


def build(
    opset: int = 17, batch: int | str = 1, padding: int = 1, weights_as_inputs: bool = False, allowzero: int = 0
) -> Any:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    initial = {
        "w": random.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "b": random.standard_normal(4).astype(np.float32),
        "shape": np.array([1 if batch == 1 else -1, 4], np.int64),
        "fc": random.standard_normal((4, 5)).astype(np.float32),
        "unused": np.zeros(7, np.float32),
    }
    pads = [padding] * 4
    nodes = [
        helper.make_node("Conv", ["images", "w", "b"], ["c"], pads=pads, doc_string='File "/home/me/model.py"'),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Sigmoid", ["c"], ["dead"]),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]),
        helper.make_node("Reshape", ["g", "shape"], ["f"], **({"allowzero": 1} if allowzero else {})),
        helper.make_node("MatMul", ["f", "fc"], ["logits"]),
    ]
    inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, 8, 8])]
    if weights_as_inputs:
        kinds = {np.dtype("float32"): TensorProto.FLOAT, np.dtype("int64"): TensorProto.INT64}
        inputs += [helper.make_tensor_value_info(n, kinds[v.dtype], v.shape) for n, v in initial.items()]
    graph = helper.make_graph(
        nodes, "small", inputs, [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 5])],
        [numpy_helper.from_array(value, name) for name, value in initial.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    return model


@pytest.fixture(scope="session")
def small() -> Callable[..., Any]:
    return build
