"""One shared grid for operators that only move values: the outputs of a Concat, Gather or pool use the grid of the
inputs.

If a Concat joins tensors on different grids, every input is rounded a second time: in OpenVINO one more operation in a
convolution (SqueezeNet: 8 of 26) or a separate kernel (FastestDet 14, YOLOX-nano 24), in ONNX Runtime a slower Concat.
NNCF shares these grids too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgewright.graph import clean
from edgewright.graph.census import MOVERS
from edgewright.graph.index import constants_of, producers_of, readers_of
from edgewright.graph.names import Names

from .pairs import rewire

if TYPE_CHECKING:
    import onnx

    from edgewright.quantize.calibration.statistics import Range

BIASED = frozenset({"Conv", "ConvTranspose", "Gemm"})
NARROW = 2.0
"""How many times wider a Concat may range than an input that other operators read too and that then shares its grid."""


def apply(
    model: onnx.ModelProto, reference: onnx.ModelProto, ranges: dict[str, Range], keep: bool = True
) -> set[str]:  # fmt: skip
    """Give the pairs of `model` on tensors that movers connect one grid, in place.

    The grid spans the `ranges` of the tensors that no mover writes, because these are all values. Tensors keep their
    own grids if one of the pairs does the work of a function that ONNX Runtime's quantizer dropped (the function is in
    the float model `reference`) and a wider grid would not. `keep` False: remove the pair after a mover whose inputs
    are all on that grid. (ONNX Runtime moves integers only between two pairs. OpenVINO rounds again for a pair with a
    zero point.) Returns the tensors that movers write from quantized ones.
    """
    graph = model.graph
    constants = constants_of(graph)
    quantized = {
        node.input[0]: node.output[0]
        for node in graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] in ranges and node.input[0] not in constants
    }
    parents, made, apart = _joined(graph, quantized, ranges)
    groups: dict[str, list[str]] = {}
    for name in quantized:
        groups.setdefault(_root(parents, name), []).append(name)
    clipping = _clipping(graph, reference.graph)
    changed = {}
    for names in groups.values():
        ends = [ranges[name] for name in names if name not in made]
        if len(names) == 1 or not ends:
            continue
        shared = min(low for low, _ in ends), max(high for _, high in ends)
        if any(_is_lost(clipping.get(name, ""), ranges[name], shared) for name in names):
            made.difference_update(names)
        else:
            changed.update({quantized[name]: shared for name in names})
    _set(graph, changed)
    if not keep:
        _take_out(graph, {quantized[name]: name for name in made - apart})
    return made


def _clipping(graph: onnx.GraphProto, reference: onnx.GraphProto) -> dict[str, str]:
    """The tensors that another node writes than in `reference`, because their pair does its work, and that node's
    operator."""
    originals = {name: node for node in reference.node for name in node.output}
    return {
        name: originals[name].op_type
        for node in graph.node
        for name in node.output
        if name in originals and originals[name].name != node.name
    }


def _is_lost(function: str, own: Range, shared: Range) -> bool:
    """Whether a grid that spans `shared` does not do the work of `function`, and one that spans `own` does."""
    return bool(function) and (shared[0] < own[0] or (function != "Relu" and shared[1] > own[1]))


def _take_out(graph: onnx.GraphProto, tensors: dict[str, str]) -> None:
    """Remove the pairs of these integer tensors from `graph`, in place: readers of the pair read the named tensor."""
    pairs = [node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in tensors]
    gone = [*pairs, *(node for node in graph.node if node.op_type == "QuantizeLinear" and node.output[0] in tensors)]
    rewire(graph, {pair.output[0]: tensors[pair.input[0]] for pair in pairs}, gone)
    clean.drop_unread(graph)


def _joined(
    graph: onnx.GraphProto, quantized: dict[str, str], ranges: dict[str, Range]
) -> tuple[dict[str, str], set[str], set[str]]:
    """The quantized tensors that share a grid, as a forest (child -> parent), and the tensors that movers write.

    Also those of the latter that do not share their grid with some input.
    """
    readers = readers_of(graph)
    tensors = {integers: name for name, integers in quantized.items()}
    behind = {
        name: [reader for pair in readers.get(integers, []) for reader in readers.get(pair.output[0], [])]
        for name, integers in quantized.items()
    }
    grids: dict[str, str] = {}  # tensor -> the quantized tensor whose grid it uses
    parents: dict[str, str] = {}
    made: set[str] = set()
    apart: set[str] = set()

    def may_widen(name: str, joined: str) -> bool:
        widths = [float(np.ptp(ranges[which])) for which in (name, joined)]
        return widths[1] <= NARROW * widths[0] or all(reader.op_type in MOVERS for reader in behind[name])

    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in tensors:
            grids[node.output[0]] = tensors[node.input[0]]
        data = list(node.input if node.op_type == "Concat" else node.input[:1])
        outputs = [name for name in node.output if name]
        if node.op_type not in MOVERS or any(name not in grids for name in data):
            continue
        if node.op_type == "Concat" and outputs[0] not in quantized:
            continue
        made.update(name for name in outputs if name in quantized)
        for name in outputs:
            grids[name] = name if name in quantized else grids[data[0]]
            for source in {grids[part] for part in data}:
                if node.op_type != "Concat" or may_widen(source, name):
                    parents[_root(parents, source)] = _root(parents, grids[name])
                else:
                    apart.add(name)
    return {child: parent for child, parent in parents.items() if child != parent}, made, apart


def _root(parents: dict[str, str], name: str) -> str:
    while parents.get(name, name) != name:
        name = parents[name]
    return name


def _set(graph: onnx.GraphProto, ends: dict[str, Range]) -> None:
    """Give the quantized tensors in `ends` grids that span these ends, of their present type."""
    from onnx import numpy_helper

    constants, names = constants_of(graph), Names(graph)
    grids: dict[tuple[Range, str], tuple[str, str]] = {}
    for node in graph.node:
        integers = node.output[0] if node.op_type == "QuantizeLinear" else node.input[0]
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or integers not in ends:
            continue
        kind = numpy_helper.to_array(constants[node.input[2]]).dtype
        key = ends[integers], kind.name
        if key not in grids:
            low, high = ends[integers]
            scale = np.float32(max(high - low, 1e-8) / 255)
            least = int(np.iinfo(kind).min)
            zero = np.clip(np.rint(-low / scale), 0, 255) + least
            grids[key] = names.free(f"{integers}_shared_scale"), names.free(f"{integers}_shared_zero_point")
            for name, value in zip(grids[key], (np.asarray(scale), np.asarray(zero, kind))):
                graph.initializer.append(numpy_helper.from_array(value, name))
        node.input[1:] = grids[key]
    _round_biases(graph)


def _round_biases(graph: onnx.GraphProto) -> None:
    """Give int32 biases the scale that integer kernels assume: input scale times weight scale."""
    from onnx import numpy_helper

    constants, makers = constants_of(graph), producers_of(graph)

    def value(name: str) -> np.ndarray:
        return np.asarray(numpy_helper.to_array(constants[name]))

    for node in graph.node:
        pairs = [makers.get(name) for name in node.input[:3]]
        known = [p for p in pairs if p is not None and p.op_type == "DequantizeLinear" and p.input[1] in constants]
        if node.op_type not in BIASED or len(known) < 3 or known[2].input[0] not in constants:
            continue
        read, weights, bias = known
        old, step = value(bias.input[1]), value(read.input[1]).reshape(-1) * value(weights.input[1]).reshape(-1)
        if np.allclose(old.reshape(-1), step, rtol=1e-6):
            continue
        new = step.astype(np.float32).reshape(old.shape)
        stored = np.rint(value(bias.input[0]).astype(np.float64) * old / new)
        for name, array in ((bias.input[0], stored.astype(np.int32)), (bias.input[1], new)):
            constants[name].CopyFrom(numpy_helper.from_array(array, name))
