"""torch computes what ONNX Runtime computes, operator by operator: what is learned there holds in the file."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from edgewright.core.errors import RuntimeFailed
from edgewright.quantize import autograd
from edgewright.quantize.calibration.sessions import open_session

IMAGE = (2, 4, 9, 8)
CASES: dict[str, tuple[str, tuple[int, ...], list[Any], dict[str, Any]]] = {
    "conv, uneven padding": ("Conv", IMAGE, [("w", 6, 4, 3, 3), ("b", 6)], {"pads": [0, 1, 2, 1], "strides": [2, 2]}),
    "conv, depthwise, dilated": ("Conv", IMAGE, [("w", 4, 1, 3, 3)], {"group": 4, "dilations": [2, 2]}),
    "conv, same padding": ("Conv", IMAGE, [("w", 6, 4, 3, 3)], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "transposed conv": ("ConvTranspose", IMAGE, [("w", 4, 3, 2, 2), ("b", 3)], {"strides": [2, 2]}),
    "gemm": ("Gemm", (2, 5), [("w", 3, 5), ("b", 3)], {"transB": 1}),
    "max pool": ("MaxPool", IMAGE, [], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "average pool without padding": ("AveragePool", IMAGE, [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    "average pool, ceiling": ("AveragePool", IMAGE, [], {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    "mean": ("ReduceMean", IMAGE, [np.array([2, 3])], {"keepdims": 0}),
    "slice": ("Slice", IMAGE, [np.array([1, 7]), np.array([4, 0]), np.array([1, 3]), np.array([2, -3])], {}),
    "gather": ("Gather", IMAGE, [np.array([[0, -1], [2, 2]])], {"axis": 1}),
    "reshape": ("Reshape", IMAGE, [np.array([0, -1, 6])], {}),
    "pad": ("Pad", IMAGE, [np.array([0, 1, 0, 2, 0, 0, 3, 0])], {}),
    "reflect": ("Pad", IMAGE, [np.array([0, 0, 1, 2, 0, 0, 3, 0])], {"mode": "reflect"}),
    "nearest": ("Resize", IMAGE, [np.zeros(0, np.float32), np.array([1, 1, 2, 2], np.float32)], {"mode": "nearest"}),
    "bilinear": ("Resize", IMAGE, [np.zeros(0, np.float32), np.array([1, 1, 2, 2], np.float32)], {"mode": "linear"}),
    "layer norm": ("LayerNormalization", (2, 3, 8), [("w", 8), ("b", 8)], {"epsilon": 1e-3}),
    "gelu": ("Gelu", IMAGE, [], {}),
    "hard sigmoid": ("HardSigmoid", IMAGE, [], {}),
    "leaky": ("LeakyRelu", IMAGE, [], {"alpha": 0.1}),
    "clip": ("Clip", IMAGE, [np.float32(-0.5), np.float32(0.5)], {}),
    "softmax": ("Softmax", IMAGE, [], {"axis": 1}),
    "flatten": ("Flatten", IMAGE, [], {"axis": 2}),
    "split": ("Split", IMAGE, [np.array([1, 3])], {"axis": 1}),
    "transpose": ("Transpose", IMAGE, [], {"perm": [0, 2, 3, 1]}),
    "unsqueeze": ("Unsqueeze", IMAGE, [np.array([1, -1])], {}),
    "argmax": ("ArgMax", IMAGE, [], {"axis": 1, "keepdims": 0}),
    "gather nd": ("GatherND", IMAGE, [np.array([[0, 1, 2], [1, 3, 8]])], {}),
    "cast": ("Cast", IMAGE, [], {"to": onnx.TensorProto.FLOAT16}),
}


def graph(operator: str, shape: tuple[int, ...], inputs: list[Any], options: dict[str, Any]) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    names, initial = ["x"], []
    for i, value in enumerate(inputs):
        array = rng.normal(size=value[1:]).astype(np.float32) if isinstance(value, tuple) else np.asarray(value)
        names.append(f"i{i}")
        initial.append(numpy_helper.from_array(array, names[-1]))
    outputs = ["y0", "y1"] if operator == "Split" else ["y0"]
    node = helper.make_node(operator, names, outputs, "node", **options)
    return helper.make_model(
        helper.make_graph(
            [node], "one", [helper.make_tensor_value_info("x", 1, shape)],
            [onnx.ValueInfoProto(name=name) for name in outputs], initial,
        ),
        opset_imports=[helper.make_opsetid("", 20)], ir_version=10,
    )  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_operator_answers_as_in_onnx_runtime(name: str) -> None:
    model = graph(*CASES[name])
    x = np.random.default_rng(1).normal(size=CASES[name][1]).astype(np.float32)
    outputs = list(model.graph.node[0].output)
    right = open_session(model).run(outputs, {"x": x})
    found = autograd.run(model, {**autograd.constants(model), "x": torch.from_numpy(x)}, outputs)
    for a, b in zip(right, found):
        assert a.shape == tuple(b.shape)
        np.testing.assert_allclose(b.numpy(), a, rtol=1e-4, atol=1e-5)


def test_a_network_starts_where_a_tensor_is_given(tiny) -> None:
    model = onnx.load(tiny.model)
    x = torch.rand(1, 3, 16, 16)
    values = autograd.constants(model)
    middle, end = autograd.run(model, {**values, "images": x}, ["r1", "logits"])
    (again,) = autograd.run(model, {**values, "r1": middle}, ["logits"])
    torch.testing.assert_close(again, end)


def test_an_unknown_operator_is_named() -> None:
    model = graph("Det", (2, 2), [], {})
    with pytest.raises(RuntimeFailed, match=r"Det \('node'\)"):
        autograd.run(model, {"x": torch.eye(2)}, ["y0"])
