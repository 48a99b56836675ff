"""Centering: what comes out of a ReLU is moved down by half of its range, for grids that lie around zero.

TensorRT takes signed activations without a zero point, so behind a ReLU the lower half of the grid is never used: one
bit of eight. Here the layer before the ReLU has half the range taken from its bias, the ReLU becomes a Clip that ends
as far below zero (NVIDIA's list of fusions has both behind a convolution, the Clip for any values; how long it takes
was not measured), and the layers that read the tensor get what is missing into their biases: nothing changes in float.
It works where all readers weigh every value alike at every place, thus not for padded convolutions, whose padding
would have to be moved too, and not for additions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgewright.graph import files
from edgewright.graph.index import constants_of, producers_of, readers_of, reads_of
from edgewright.graph.names import Names
from edgewright.quantize.calibration import statistics
from edgewright.quantize.calibration.statistics import Statistics
from edgewright.quantize.state import FloatState
from edgewright.quantize.steps import Center

if TYPE_CHECKING:
    import onnx

_PASSES = frozenset({"MaxPool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "Concat", "Flatten", "Reshape",
                     "Squeeze", "Unsqueeze", "Transpose", "Identity"})  # fmt: skip
"""Operators through which a constant passes as it is."""

_LOW = "/low"
"""Behind a tensor's name: the constant at which a centered Clip ends, by which `compensate` knows it again. (A number
follows where that name was taken.)"""


class Movable(NamedTuple):
    """Tensors that can be moved as one: the layers that make them, the ReLUs behind those, and the layers that read.

    `low`: where the ReLUs cut off, zero or, where the tensors were moved, below.
    """

    makers: list[onnx.NodeProto]
    functions: list[onnx.NodeProto]
    tensors: list[str]
    readers: list[onnx.NodeProto]
    low: float


def apply(_step: Center, state: FloatState) -> int:
    """Center the float model, and what is known of its activations; returns how many places were centered.

    A tensor moves by half of the highest value that was seen, and none of its grids clips: the zeros, of which a ReLU
    makes most, then lie on the last step, where another range would round every one of them. (Half of a clipped range
    would keep them exact, too; measured on SqueezeNet it was worse.) Tensors move only where no reader's grid gets
    coarser than that of the range that the answers lose least by: of a tensor with outliers, less than half of what was
    seen. What is known of them moves too, so that nothing is collected again.
    """
    known = statistics.find(state.seen, "minmax", False)
    best = statistics.find(state.seen, "output", True) if len(state.seen.best) else known
    chosen: list[tuple[Movable, float]] = []
    for site in sites(state.model):
        read = [node.input[0] for node in site.readers]
        half = _half(max(known[name][1] for name in read))
        if site.low == 0 and 0 < half < min(best[name][1] for name in read):
            chosen.append((site, half))
    moved: dict[str, float] = {}
    for site, half in chosen:
        move(state.model, site, half)
        moved.update(dict.fromkeys((*site.tensors, *(maker.output[0] for maker in site.makers)), half))
    state.statistics = shifted(state.seen, moved) if chosen else state.seen
    return len(chosen)


def _half(highest: float) -> float:
    """At least half of `highest`, such that its 127th part, the scale, is exact in FP16: zeros stay on the grid there.

    Zero where it would be no number that FP16 has.
    """
    step = np.float16(highest / 254)
    if float(step) * 254 < highest:
        step = np.nextafter(step, np.float16(np.inf))
    return float(step) * 127 if np.finfo(np.float16).tiny <= step < np.inf else 0.0


def sites(model: onnx.ModelProto) -> list[Movable]:
    """All places of a float graph, in which every layer has a bias of its own, where tensors can be moved."""
    from onnx import numpy_helper

    graph = model.graph
    constants = constants_of(graph)
    makers = producers_of(graph)
    behind = readers_of(graph)
    reads = reads_of(graph)

    def is_ours(name: str) -> bool:
        """Whether nothing else reads it: no answer of the model, no nested graph."""
        return reads[name] == len(behind.get(name, []))

    def low(node: onnx.NodeProto) -> float | None:
        """Where a ReLU, or a Clip whose upper end is a constant, cuts off below; None for other nodes."""
        if node.op_type == "Relu":
            return 0.0
        if node.op_type != "Clip" or len(node.input) < 2 or any(n not in constants for n in node.input[1:] if n):
            return None
        end = constants.get(node.input[1])
        least = float(numpy_helper.to_array(end)) if end is not None else 1.0
        return least if least == 0 or (least < 0 and node.input[1].startswith(node.output[0] + _LOW)) else None

    found, seen = [], set()
    for first in graph.node:
        end = low(first)
        if end is None or first.output[0] in seen:
            continue
        site, waiting, moves = Movable([], [], [], [], end), [first.output[0]], True
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            site.tensors.append(name)
            moves = moves and is_ours(name)
            node = makers.get(name)
            if node is not None and node.op_type in _PASSES and name == node.output[0]:
                waiting += node.input if node.op_type == "Concat" else node.input[:1]
            elif node is not None and low(node) == end and _adds(makers.get(node.input[0]), constants):
                site.functions.append(node)
                site.makers.append(makers[node.input[0]])
                moves = moves and is_ours(node.input[0]) and len(behind[node.input[0]]) == 1
            else:
                moves = False
            for reader in behind.get(name, []):
                if reader.op_type in _PASSES and (reader.op_type == "Concat" or reader.input[0] == name):
                    waiting += reader.output[:1]
                elif _adds(reader, constants) and reader.input[0] == name and not files.pads(reader):
                    site.readers.append(reader)
                else:
                    moves = False
        if moves and site.readers:
            found.append(site)
    return found


def move(model: onnx.ModelProto, site: Movable, half: float) -> None:
    """Move the tensors of `site` down by `half`, in place."""
    from onnx import numpy_helper

    stored = constants_of(model.graph)
    names = Names(model.graph)

    def value(name: str) -> np.ndarray:
        return np.asarray(numpy_helper.to_array(stored[name]), np.float64)

    def add(node: onnx.NodeProto, amount: np.ndarray | float) -> None:
        bias = (value(node.input[2]) + amount).astype(np.float32)
        stored[node.input[2]].CopyFrom(numpy_helper.from_array(bias, node.input[2]))

    def constant(name: str, number: float) -> str:
        made = names.free(name)
        model.graph.initializer.append(numpy_helper.from_array(np.array(number, np.float32), made))
        return made

    for maker, function in zip(site.makers, site.functions):
        add(maker, -half)
        ends = [constant(function.output[0] + _LOW, -half)]
        if len(function.input) > 2 and function.input[2]:
            ends.append(constant(f"{function.output[0]}/high", float(value(function.input[2])) - half))
        function.op_type = "Clip"
        function.input[1:] = ends
    for node in site.readers:
        add(node, half * _sums(node, value(node.input[1])))


def compensate(quantized: onnx.ModelProto, model: onnx.ModelProto) -> None:
    """Give the layers of `quantized` what rounding their weights took from the sums that centering needs; in place.

    `model`: the float model it was made of, with the same names of nodes. Rounding errors of weights meet inputs that
    lie far below zero on average: a constant, which bias correction takes out, but what is decided before it (which
    ranges, which layers stay in float) would go by that constant. Layers without dequantized weights are left alone.
    """
    from onnx import numpy_helper

    moved = [(node.name, site.low) for site in sites(model) if site.low < 0 for node in site.readers]
    layers = {node.name: node for node in quantized.graph.node}
    exact = {node.name: node for node in model.graph.node}
    pairs = {n.output[0]: n for n in quantized.graph.node if n.op_type == "DequantizeLinear"}
    stored = constants_of(quantized.graph)
    originals = constants_of(model.graph)
    for name, low in moved:
        node = layers[name]
        pair = pairs.get(node.input[1])
        if pair is None or node.input[2] not in stored:
            continue
        weights = numpy_helper.to_array(originals[exact[name].input[1]]).astype(np.float64)
        axis = next((a.i for a in pair.attribute if a.name == "axis"), 1)
        scale = numpy_helper.to_array(stored[pair.input[1]]).astype(np.float64)
        along = [-1 if i == axis else 1 for i in range(weights.ndim)] if scale.ndim else []
        rounded = numpy_helper.to_array(stored[pair.input[0]]) * scale.reshape(along)
        bias = numpy_helper.to_array(stored[node.input[2]]) - low * _sums(node, rounded - weights)
        stored[node.input[2]].CopyFrom(numpy_helper.from_array(bias.astype(np.float32), node.input[2]))


def shifted(seen: Statistics, moved: dict[str, float]) -> Statistics:
    """`seen` with the tensors `moved` lower by these numbers, zero always inside as it was; histograms are left empty.

    (A ReLU's zeros, which histograms leave out, are no zeros any more.)
    """
    down = np.array([moved.get(name, 0.0) for name in seen.names])
    best = seen.best - down[None, :, None] if len(seen.best) else seen.best
    channels = seen.channels - np.repeat(down, seen.widths)
    return seen._replace(
        lows=np.minimum(seen.lows - down, 0), highs=np.maximum(seen.highs - down, 0),
        counts=np.where(down[:, None] > 0, 0, seen.counts),
        best=np.stack([np.minimum(best[..., 0], 0), np.maximum(best[..., 1], 0)], axis=-1),
        channels=np.stack([np.minimum(channels[0], 0), np.maximum(channels[1], 0)]),
    )  # fmt: skip


def _sums(node: onnx.NodeProto, weights: np.ndarray) -> np.ndarray:
    """The sum of all weights of each output of the Conv or Gemm `node`."""
    outputs = 1 if node.op_type == "Gemm" and not files.attributes(node).get("transB") else 0
    return np.asarray(weights.sum(axis=tuple(axis for axis in range(weights.ndim) if axis != outputs)))


def _adds(node: onnx.NodeProto | None, constants: dict[str, onnx.TensorProto]) -> bool:
    """Whether `node` is a layer with constant weights and a bias that is added as it is."""
    if node is None or node.op_type not in ("Conv", "Gemm") or len(node.input) < 3:
        return False
    told = files.attributes(node)
    scaled = told.get("alpha", 1.0) != 1.0 or told.get("beta", 1.0) != 1.0 or told.get("transA", 0)
    return not scaled and node.input[1] in constants and node.input[2] in constants
