"""Let a model that was trained on BGR images take RGB: its first convolutions read the channels the other way round.

Reversing an image's channels costs an embedded processor a pass over all its pixels; weights in another order cost
nothing, and each product stays what it was.
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
"""What does the same to each channel, where its scale is one number."""


def reverse(model: onnx.ModelProto, images: str) -> bool:
    """Make `model` take the channels of the tensor `images` (N, C, H, W) in reverse, in place.

    The new order goes into the weights of the convolutions that read it, also behind Q/DQ pairs. False, and nothing is
    changed, where something else reads it too, or where a convolution's weights cannot take it: it has groups, they are
    no initializer, something else reads them behind a pair, or they have a scale for each input or for blocks.
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
    # Every reading but the ones that were looked at is by a nested graph, or an output of this one.
    if None in sites or not sites or seen != sum(read[name] for name in reached):
        return False
    names = Names(model.graph)
    made: dict[str, str] = {}  # two convolutions may share their weights
    for node, place in filter(None, sites):
        old = node.input[place]
        if old not in made:
            made[old] = names.free(f"{old}_reversed")
            array = np.ascontiguousarray(numpy_helper.to_array(constants[old])[:, ::-1])
            graph.initializer.append(numpy_helper.from_array(array, made[old]))
        node.input[place] = made[old]
    return True


def _weights(
    conv: onnx.NodeProto,
    constants: dict[str, onnx.TensorProto],
    makers: dict[str, onnx.NodeProto],
    read: dict[str, int],
) -> tuple[onnx.NodeProto, int] | None:
    """The node, and its input, through which the constant weights of `conv` come; None where they cannot be turned."""
    node, place = conv, 1
    while (name := node.input[place]) not in constants:
        maker = makers.get(name)
        if maker is None or maker.op_type not in PASSING or read[name] > 1 or not _by_outputs(maker, constants):
            return None
        node, place = maker, 0
    return node, place


def _by_outputs(pair: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> bool:
    """Whether each scale of `pair`, which passes on the weights of a convolution, is one output channel's, or all's."""
    scales = [_size(constants.get(name)) for name in pair.input[1:] if name]
    found = files.attributes(pair)
    return not found.get("block_size") and (found.get("axis", 1) in (0, -4) or all(size == 1 for size in scales))


def _size(tensor: onnx.TensorProto | None) -> int:
    """How many numbers the constant `tensor` holds; 0 for one that is not constant."""
    return int(np.prod(tensor.dims)) if tensor is not None else 0
