"""2:4 sparsity in an ONNX file: of every four weights along a layer's inputs at most two are not zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .index import constants_of

if TYPE_CHECKING:
    import onnx


class Sparsity(NamedTuple):
    """Numbers of layers with the pattern, and of layers that could have it: no groups, inputs a multiple of four."""

    sparse: int
    layers: int


def has_pattern(weights: np.ndarray, axis: int) -> bool:
    """Whether at most two of every four neighbors along `axis` are not zero; False if it is not a multiple of four."""
    if not weights.size or weights.shape[axis] % 4:
        return False
    rows = np.moveaxis(weights != 0, axis, -1)
    return bool(rows.reshape(*rows.shape[:-1], -1, 4).sum(-1).max() <= 2)


def inputs_axis(node: onnx.NodeProto) -> int | None:
    """The axis of the weights over which a layer sums its inputs; None for a node that cannot be sparse."""
    options = {a.name: a.i for a in node.attribute}
    if node.op_type == "Conv":
        return 1 if options.get("group", 1) in (0, 1) else None
    if node.op_type == "Gemm":
        return 1 if options.get("transB") else 0
    return -2 if node.op_type == "MatMul" else None


def count(model: onnx.ModelProto) -> Sparsity:
    """The number of layers of `model` with the pattern, quantized or not."""
    from onnx import numpy_helper

    constants = constants_of(model.graph)
    behind = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    sparse = layers = 0
    for node in model.graph.node:
        axis = inputs_axis(node)
        if axis is None:
            continue
        tensor = constants.get(behind.get(node.input[1], node.input[1]))
        if tensor is None or len(tensor.dims) < 2 or tensor.dims[axis] % 4:
            continue
        layers += 1
        sparse += has_pattern(numpy_helper.to_array(tensor), axis)
    return Sparsity(sparse, layers)
