"""Output rows of cells for a detector: transpose the maps before their cells are flattened, not after.

Heads (of YOLOX, NanoDet) flatten maps (N, C, H, W) to (N, C, H x W), often concatenate several, and transpose to (N,
cells, C). Runtimes with channels last in memory already have these rows: the original order makes them put channels
first, and last again. The outputs stay the same to the bit. Inside a network (patches of transformers) this gained
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from . import files
from .index import constants_of, producers_of, reads_of
from .names import Names

if TYPE_CHECKING:
    import onnx

_LAST_TWO = {3: [0, 2, 1], 2: [1, 0]}
"""By rank, the permutation with which a Transpose swaps channels and cells; rank 2 has no batch axis."""


def apply(model: onnx.ModelProto) -> bool:
    """Rewrite the end of `model` in place. Returns whether there was anything to change."""
    import onnx

    graph = model.graph
    makers = producers_of(graph)
    reads = reads_of(graph)
    constants = constants_of(graph)
    inferred = onnx.shape_inference.infer_shapes(model).graph
    maps = {
        value.name: shape
        for value in (*inferred.value_info, *inferred.input)
        if len(shape := [size.dim_value for size in value.type.tensor_type.shape.dim]) == 4 and all(shape[1:])
    }
    changed = False
    answers = {value.name for value in graph.output}
    for turn in [node for node in graph.node if node.op_type == "Transpose" and node.output[0] in answers]:
        order = files.attributes(turn).get("perm")
        rank = next((rank for rank, swapped in _LAST_TWO.items() if order == swapped), None)
        joined = makers.get(turn.input[0])
        if rank is None or joined is None or reads[turn.input[0]] > 1:
            continue
        joins = joined.op_type == "Concat" and files.attributes(joined)["axis"] % rank == rank - 1
        lines = [makers.get(name) for name in joined.input] if joins else [joined]
        if any(line is None or not _is_line(line, rank, maps, constants) for line in lines):
            continue
        if any(reads[line.output[0]] > 1 for line in lines if line):
            continue
        _swap(graph, turn, joined if joins else None, lines, rank, maps)
        changed = True
    return changed


def _is_line(node: Any, rank: int, maps: Mapping[str, list[int]], constants: Mapping[str, Any]) -> bool:
    """Whether `node` only flattens the cells of a map after each of its channels."""
    from onnx import numpy_helper

    if node.op_type != "Reshape" or node.input[0] not in maps or node.input[1] not in constants:
        return False
    images, channels, height, width = maps[node.input[0]]
    wanted = numpy_helper.to_array(constants[node.input[1]]).tolist()
    if rank == 2:
        return images == 1 and len(wanted) == 2 and wanted[0] == channels and wanted[1] in (-1, height * width)
    if len(wanted) != 3 or wanted[1] not in (0, channels) or files.attributes(node).get("allowzero"):
        return False
    return wanted[2] == height * width or (wanted[2] == -1 and wanted[0] in (0, images or -1))


def _swap(graph: Any, turn: Any, joined: Any, lines: list[Any], rank: int, maps: Mapping[str, list[int]]) -> None:
    """Make `lines` and their concatenation give rows of cells, and remove `turn`; the last node gets its output
    name."""
    from onnx import helper, numpy_helper

    names = Names(graph)
    for line in lines:
        source, name = line.input[0], line.output[0]
        last, rows = names.free(f"{name}/last"), names.free(f"{name}/rows")
        channels = maps[source][1]
        shape = [-1, channels] if rank == 2 else [0, -1, channels]
        graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), rows))
        ahead = helper.make_node("Transpose", [source], [last], name=last, perm=[0, 2, 3, 1])
        graph.node.insert(list(graph.node).index(line), ahead)
        line.input[:] = [last, rows]
    moved = {line.output[0] for line in lines} | set(joined.output if joined is not None else ())
    for value in [value for value in graph.value_info if value.name in moved]:
        graph.value_info.remove(value)  # it has the old shape
    if joined is not None:
        next(a for a in joined.attribute if a.name == "axis").i = rank - 2
    graph.node.remove(turn)
    (lines[0] if joined is None else joined).output[0] = turn.output[0]
