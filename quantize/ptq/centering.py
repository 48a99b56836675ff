"""Centering: shift the output of a ReLU down by half of its range, for grids that are symmetric around zero.

TensorRT uses signed activations without a zero point, so after a ReLU the lower half of the grid is never used: one bit
of eight is lost. Centering subtracts half the range from the bias of the layer before the ReLU, replaces the ReLU by a
Clip whose lower end is that far below zero, and adds the missing constant to the biases of the layers that read the
tensor. Nothing changes in float. (NVIDIA's list of fusions has ReLU and any Clip after a convolution. Its latency was
not measured.)

This needs readers that weight every value equally at every position. Padded convolutions do not, because their padding
would have to shift too, nor do additions.
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
"""Operators that pass a constant unchanged."""

_LOW = "/low"
"""Suffix of the name of the constant at which a centered Clip ends, so that `compensate` finds it. (A number follows if
the name was already used.)"""


class Movable(NamedTuple):
    """Tensors that must be shifted together: the layers that compute them, the ReLUs after those layers, and the
    readers.

    `low`: where the ReLUs cut off: zero, or below if the tensors were shifted.
    """

    makers: list[onnx.NodeProto]
    functions: list[onnx.NodeProto]
    tensors: list[str]
    readers: list[onnx.NodeProto]
    low: float


def apply(_step: Center, state: FloatState) -> int:
    """Center the float model and its activation statistics. Returns the number of centered places.

    A tensor is shifted by half of its highest observed value, and its grids do not clip. The zeros, most of a ReLU's
    output, are then exactly on the last step; any other range would round each of them. (Half of a clipped range would
    also keep them exact, but was worse on SqueezeNet.) A tensor is shifted only if no reader's grid gets coarser than
    the one for the range that changes the outputs least; with outliers that range is less than half of the observed
    one. The statistics are shifted too, so that nothing is collected again.
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
    """At least half of `highest`, and such that its 127th part, the scale, is exact in FP16: zeros stay on the grid
    there.

    Zero if FP16 cannot represent it.
    """
    step = np.float16(highest / 254)
    if float(step) * 254 < highest:
        step = np.nextafter(step, np.float16(np.inf))
    return float(step) * 127 if np.finfo(np.float16).tiny <= step < np.inf else 0.0


def sites(model: onnx.ModelProto) -> list[Movable]:
    """All places in a float graph, in which every layer has its own bias, where tensors can be shifted."""
    from onnx import numpy_helper

    graph = model.graph
    constants = constants_of(graph)
    makers = producers_of(graph)
    behind = readers_of(graph)
    reads = reads_of(graph)

    def is_ours(name: str) -> bool:
        """Whether it has no other reader: no output of the model, no nested graph."""
        return reads[name] == len(behind.get(name, []))

    def low(node: onnx.NodeProto) -> float | None:
        """The lower cut-off of a ReLU, or of a Clip with a constant upper end; None for other nodes."""
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
    """Shift the tensors of `site` down by `half`, in place."""
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
    """Add to the biases of `quantized` what rounding of the weights removed from the sums that centering needs, in
    place.

    `model`: the float model that it was quantized from, with the same node names. The inputs of these layers are far
    below zero on average, so rounding errors of weights add a constant. Bias correction removes it, but decisions made
    before it (ranges, layers in float) would depend on it. Layers without dequantized weights stay unchanged.
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
    """`seen` with the tensors `moved` lowered by these numbers, zero included as before. Their histograms are empty.

    (The zeros of a ReLU, which histograms leave out, are no longer zero.)
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
    """The sum of all weights for each output of the Conv or Gemm `node`."""
    outputs = 1 if node.op_type == "Gemm" and not files.attributes(node).get("transB") else 0
    return np.asarray(weights.sum(axis=tuple(axis for axis in range(weights.ndim) if axis != outputs)))


def _adds(node: onnx.NodeProto | None, constants: dict[str, onnx.TensorProto]) -> bool:
    """Whether `node` is a layer with constant weights and a bias that is added unchanged."""
    if node is None or node.op_type not in ("Conv", "Gemm") or len(node.input) < 3:
        return False
    told = files.attributes(node)
    scaled = told.get("alpha", 1.0) != 1.0 or told.get("beta", 1.0) != 1.0 or told.get("transA", 0)
    return not scaled and node.input[1] in constants and node.input[2] in constants
