"""Q/DQ placement for TensorRT: explicit pairs on the inputs of the layers that run in INT8, and nowhere else.

The rules are NVIDIA's ("Working with Quantized Types", TensorRT developer guide): symmetric s8 with zero point 0, no
int32 bias, no pair on a layer's output, so that convolution, bias and activation fuse. In a residual addition only the
skip input gets a pair, so that the addition fuses into the convolution of the other input.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgewright.graph import clean, files
from edgewright.graph.index import constants_of, producers_of
from edgewright.graph.names import Names
from edgewright.quantize.calibration.statistics import Range
from edgewright.quantize.schemes import Scheme

if TYPE_CHECKING:
    import onnx

LAYERS = {"Conv": 0, "ConvTranspose": 1, "Gemm": 0, "MatMul": 1}
"""Operators that run in INT8, with the axis of the weights for output channels (Gemm: if transB is set)."""


FEWEST_CHANNELS = 16
"""Convolutions with fewer channels stay in float: TensorRT's INT8 kernels process 32 channels at a time, and FP16 is
faster."""


def place(model: onnx.ModelProto, ranges: dict[str, Range], scheme: Scheme, float_nodes: list[str]) -> onnx.ModelProto:
    """`model` with Q/DQ pairs for TensorRT, changed in place. `float_nodes` stay in float.

    A product of two activations (attention) stays in float: INT8 there breaks TensorRT's fused attention kernel.
    """
    assert scheme.symmetric and scheme.activations == "s8", scheme.name
    initial = constants_of(model.graph)
    skips = residuals(model)
    pairs = _Pairs(model, ranges)
    wanted: list[tuple[onnx.NodeProto, int]] = []
    layers: set[str] = set()
    for node in model.graph.node:
        if node.op_type not in LAYERS or node.name in float_nodes or node.input[1] not in initial:
            continue
        if node.op_type == "Conv" and min(channels(node, initial[node.input[1]].dims)) < FEWEST_CHANNELS:
            continue
        wanted.append((node, 0))
        pairs.weights(node)
        layers.update(node.output)
    by_name = {node.name: node for node in model.graph.node}
    # An addition fuses into a convolution in INT8. A convolution in float reads its skip input in float.
    wanted += [(by_name[name], skip) for name, skip in skips.items() if by_name[name].input[1 - skip] in layers]
    for node, index in wanted:
        node.input[index] = pairs.activation(node.input[index])
    pairs.insert()
    return model


def channels(node: onnx.NodeProto, shape: Sequence[int]) -> tuple[int, int]:
    """The input and output channels of the convolution `node`; `shape` is that of its weights."""
    groups = next((a.i for a in node.attribute if a.name == "group"), 1)
    return shape[1] * groups, shape[0]


def residuals(model: onnx.ModelProto) -> dict[str, int]:
    """The residual additions of a float graph: name of the Add node -> index of its skip input.

    An Add is residual if one input comes from a convolution that it can fuse with (only element-wise activations in
    between, with no other reader). If both do, the one on the longer path to the common ancestor is fused. An Add is
    not residual if the other input is a constant or a graph input, or if the convolution is itself the common ancestor
    (ConvNeXt's block, whose other branch starts after it).
    """
    producers = producers_of(model.graph)
    readers: dict[str, int] = {}
    for node in model.graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    found: dict[str, int] = {}
    for node in model.graph.node:
        if node.op_type != "Add" or any(name not in producers for name in node.input):
            continue
        fused = _fused_input(node, producers, readers, {value.name for value in model.graph.input})
        if fused is not None:
            found[node.name] = 1 - fused
    return found


def _fused_input(
    add: onnx.NodeProto, producers: dict[str, onnx.NodeProto], readers: dict[str, int], inputs: set[str]
) -> int | None:
    """The index of the input of `add` that comes from the convolution to fuse with; None if `add` is not residual."""
    depths = [_distances(name, producers, inputs) for name in add.input]
    common = set(depths[0]) & set(depths[1])
    if not common:
        return None
    ancestor = min(common, key=lambda name: depths[0][name] + depths[1][name])
    candidates = []
    for index, name in enumerate(add.input):
        node = producers[name]
        if node.op_type in ("Conv", "ConvTranspose") and readers[name] == 1 and name != ancestor:
            candidates.append((depths[index][ancestor], -index, index))
    return max(candidates)[2] if candidates else None


def _distances(name: str, producers: dict[str, onnx.NodeProto], inputs: set[str]) -> dict[str, int]:
    """Every tensor that `name` depends on, without constants -> the number of nodes on the shortest path to it."""
    found, queue = {name: 0}, deque([name])
    while queue:
        here = queue.popleft()
        node = producers.get(here)
        for source in node.input if node is not None else ():
            if source not in found and (source in producers or source in inputs):
                found[source] = found[here] + 1
                queue.append(source)
    return found


class _Pairs:
    """Collects Q/DQ pairs, one per tensor, and inserts them into the graph."""

    def __init__(self, model: onnx.ModelProto, ranges: dict[str, Range]) -> None:
        self._graph, self._ranges, self._names = model.graph, ranges, Names(model.graph)
        self._nodes: dict[str, list[onnx.NodeProto]] = {}
        self._weights: dict[str, str] = {}

    def activation(self, name: str) -> str:
        """A symmetric s8 pair after the tensor `name`; returns the tensor after the pair."""
        import onnx

        if name not in self._nodes:
            low, high = self._ranges[name]
            scale = self._constant(f"{name}_scale", np.float32(max(-low, high, 1e-8) / 127))
            zero = self._constant(f"{name}_zero", np.int8(0))
            integers, behind, first, second = (
                self._names.free(f"{name}_{what}") for what in ("q", "dq", "quantize", "dequantize")
            )
            self._nodes[name] = [
                onnx.helper.make_node("QuantizeLinear", [name, scale, zero], [integers], name=first),
                onnx.helper.make_node("DequantizeLinear", [integers, scale, zero], [behind], name=second),
            ]
        return str(self._nodes[name][-1].output[0])

    def weights(self, node: onnx.NodeProto) -> None:
        """Replace the float weights of `node` by s8 weights, per output channel, with a DequantizeLinear."""
        import onnx
        from onnx import numpy_helper

        name = node.input[1]
        if name not in self._weights:
            tensor = constants_of(self._graph)[name]
            value = numpy_helper.to_array(tensor)
            axis = weight_axis(node, value.ndim)
            others = tuple(a for a in range(value.ndim) if a != axis)
            scale = np.maximum(np.abs(value).max(axis=others), 1e-8).astype(np.float32) / np.float32(127)
            along = [1] * value.ndim
            along[axis] = -1
            rounded = np.clip(np.rint(value / scale.reshape(along)), -127, 127).astype(np.int8)
            inputs = [
                self._constant(f"{name}_{what}", array)
                for what, array in (("q", rounded), ("scale", scale), ("zero", np.zeros(len(scale), np.int8)))
            ]
            behind, label = self._names.free(f"{name}_dq"), self._names.free(f"{name}_dequantize")
            pair = onnx.helper.make_node("DequantizeLinear", inputs, [behind], name=label, axis=axis)
            self._nodes[name] = [pair]
            self._weights[name] = behind
        node.input[1] = self._weights[name]

    def insert(self) -> None:
        """Insert the collected nodes right after the nodes that write their tensors, and drop float weights without a
        reader."""
        ordered: list[onnx.NodeProto] = []
        produced = producers_of(self._graph)
        for name, nodes in self._nodes.items():
            if name not in produced:
                ordered += nodes
        for node in self._graph.node:
            ordered.append(node)
            for out in node.output:
                ordered += self._nodes.get(out, [])
        files.refill(self._graph.node, ordered)
        clean.drop_unread(self._graph)

    def _constant(self, wanted: str, value: np.ndarray | np.generic) -> str:
        from onnx import numpy_helper

        name = self._names.free(wanted)
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name


def weight_axis(node: onnx.NodeProto, rank: int) -> int:
    """The axis of the weights of `node` for output channels."""
    if node.op_type == "Gemm" and not any(a.name == "transB" and a.i for a in node.attribute):
        return 1
    return rank - 1 if node.op_type == "MatMul" else LAYERS[node.op_type]
