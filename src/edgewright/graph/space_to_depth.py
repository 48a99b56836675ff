"""Replace a convolution on pixels that were sorted into channels ("Focus" of YOLOv5 and YOLOX) by a strided one.

The pattern has four strided slices of the image, concatenated as channels, and a 3 x 3 convolution on them. It equals a
6 x 6 convolution with stride 2 on the image: the products are the same. Slices are slow on every runtime (YOLOv5 6.0
made the same change).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import files
from .index import constants_of, producers_of, reads_of
from .names import free

if TYPE_CHECKING:
    import onnx


class _Piece(NamedTuple):
    """Every `step`-th row and column of the tensor `of`, starting at row `y` and column `x`."""

    of: str
    y: int
    x: int
    step: int


def apply(model: onnx.ModelProto) -> bool:
    """Replace each such pattern on an input of `model`, in place. Returns whether there was one."""
    from onnx import helper, numpy_helper

    graph = model.graph
    constants = constants_of(graph)
    makers = producers_of(graph)
    reads = reads_of(graph)
    sizes = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim[2:]]
        for value in graph.input
        if len(value.type.tensor_type.shape.dim) == 4
    }
    changed = False
    for conv in graph.node:
        concat = makers.get(conv.input[0]) if conv.op_type == "Conv" else None
        if concat is None or concat.op_type != "Concat" or conv.input[1] not in constants:
            continue
        if reads[concat.output[0]] > 1 or files.attributes(concat).get("axis") != 1:
            continue
        pieces = [_piece(name, makers, constants) for name in concat.input]
        first = pieces[0]
        if first is None or first.of not in sizes or any(p is None or p[::3] != first[::3] for p in pieces):
            continue
        known = [piece for piece in pieces if piece]
        if {(p.y, p.x) for p in known} != set(np.ndindex(first.step, first.step)) or len(known) != first.step**2:
            continue  # with fewer pieces the new convolution would multiply by zeros
        attrs = files.attributes(conv)
        if not all(size and size % first.step == 0 for size in sizes[first.of]) or not _is_plain(attrs):
            continue
        weights = numpy_helper.to_array(constants[conv.input[1]])
        step, pads = first.step, attrs.get("pads", [0, 0, 0, 0])
        new = _spread(weights, known)
        name = free(graph, f"{conv.output[0]}/strided")
        graph.initializer.append(numpy_helper.from_array(new, name))
        conv.input[0], conv.input[1] = first.of, name
        changes = {"kernel_shape": new.shape[2:], "strides": [step, step], "pads": [step * pad for pad in pads]}
        kept = [a for a in conv.attribute if a.name not in changes]
        del conv.attribute[:]
        conv.attribute.extend([*kept, *(helper.make_attribute(key, list(value)) for key, value in changes.items())])
        changed = True
    return changed


def _spread(weights: np.ndarray, pieces: list[_Piece]) -> np.ndarray:
    """The weights (outputs, pieces x channels, rows, columns) of a convolution on `pieces`, for the whole image."""
    outputs, inputs, rows, columns = weights.shape
    channels, step = inputs // len(pieces), pieces[0].step
    found = np.zeros((outputs, channels, rows * step, columns * step), weights.dtype)
    for number, piece in enumerate(pieces):
        found[:, :, piece.y :: step, piece.x :: step] += weights[:, number * channels : (number + 1) * channels]
    return found


def _piece(name: str, makers: Mapping[str, Any], constants: Mapping[str, Any]) -> _Piece | None:
    """The piece of another tensor that slices alone give as the tensor `name`; else None."""
    from onnx import numpy_helper

    start, steps = {2: 0, 3: 0}, {2: 1, 3: 1}
    while (node := makers.get(name)) is not None:
        if node.op_type != "Slice" or len(node.input) != 5 or any(n not in constants for n in node.input[1:]):
            return None
        begins, ends, axes, by = (numpy_helper.to_array(constants[n]).tolist() for n in node.input[1:])
        for begin, end, axis, step in zip(begins, ends, axes, by):
            if axis not in start or not 0 <= begin < step or end < 2**31 - 1 or steps[axis] != 1:
                return None
            start[axis], steps[axis] = begin, step
        name = node.input[0]
    return _Piece(name, start[2], start[3], steps[2]) if steps[2] == steps[3] > 1 else None


def _is_plain(attrs: Mapping[str, Any]) -> bool:
    """Whether a convolution has no groups, strides and dilations, and explicit padding."""
    ones = all(value == 1 for key in ("strides", "dilations") for value in attrs.get(key, ()))
    return ones and attrs.get("group", 1) == 1 and attrs.get("auto_pad", b"NOTSET") == b"NOTSET"
