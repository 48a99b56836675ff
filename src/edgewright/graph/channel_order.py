"""Convert a model that was trained on BGR images to RGB input, by reversing the channels of its first weights.

Reversing the channels of an image costs an embedded processor a pass over all pixels. Weights in another order cost
nothing, and give the same products.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import files
from .index import constants_of, producers_of, reads_of
from .names import Names

if TYPE_CHECKING:
    import onnx

PASSING = frozenset({"Cast", "QuantizeLinear", "DequantizeLinear"})
"""Operators that treat all channels the same, if their scale is one number."""


def reverse(model: onnx.ModelProto, images: str) -> bool:
    """Make `model` take the channels of the tensor `images` (N, C, H, W) in reverse order, in place.

    Changes the weights of the convolutions that read it, also behind Q/DQ pairs. Returns False, without a change, if
    another node reads it, or if the weights of a convolution cannot be reversed. They cannot if the convolution has
    groups, if they are not an initializer, if another node reads them behind a pair, or if they have a scale per input
    channel or per block.
    """
    from onnx import numpy_helper

    graph = model.graph
    constants = constants_of(graph)
    makers = producers_of(graph)
    read = reads_of(graph)
    reached, seen, sites = {images}, 0, []
    for node in graph.node:
        if reached.isdisjoint(node.input):
            continue
        seen += 1
        if node.input[0] not in reached or not reached.isdisjoint(node.input[1:]):
            return False
        if node.op_type in PASSING and all(_size(constants.get(name)) == 1 for name in node.input[1:]):
            reached.update(node.output)
        elif node.op_type == "Conv" and files.attributes(node).get("group", 1) == 1:
            sites.append(_weights(node, constants, makers, read))
        else:
            return False
    # All other reads are by a nested graph, or as an output of the graph.
    if None in sites or not sites or seen != sum(read[name] for name in reached):
        return False
    names = Names(model.graph)
    renamed: dict[str, str] = {}  # two convolutions may share their weights
    for node, place in filter(None, sites):
        old = node.input[place]
        if old not in renamed:
            renamed[old] = names.free(f"{old}_reversed")
            array = np.ascontiguousarray(numpy_helper.to_array(constants[old])[:, ::-1])
            graph.initializer.append(numpy_helper.from_array(array, renamed[old]))
        node.input[place] = renamed[old]
    return True


def _weights(
    conv: onnx.NodeProto,
    constants: dict[str, onnx.TensorProto],
    makers: dict[str, onnx.NodeProto],
    read: dict[str, int],
) -> tuple[onnx.NodeProto, int] | None:
    """The node and input index through which the constant weights of `conv` come; None if they cannot be reversed."""
    node, place = conv, 1
    while (name := node.input[place]) not in constants:
        maker = makers.get(name)
        if maker is None or maker.op_type not in PASSING or read[name] > 1 or not _by_outputs(maker, constants):
            return None
        node, place = maker, 0
    return node, place


def _by_outputs(pair: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> bool:
    """Whether `pair`, for the weights of a convolution, has one scale, or one per output channel."""
    scales = [_size(constants.get(name)) for name in pair.input[1:] if name]
    found = files.attributes(pair)
    return not found.get("block_size") and (found.get("axis", 1) in (0, -4) or all(size == 1 for size in scales))


def _size(tensor: onnx.TensorProto | None) -> int:
    """The number of elements of the constant `tensor`; 0 if it is None."""
    return int(np.prod(tensor.dims)) if tensor is not None else 0
