"""Emulate x86 processors without VNNI: their INT8 kernels add pairs of products in 16 bits, which saturates.

VPMADDUBSW multiplies unsigned activations by signed weights and adds two neighboring products with signed saturation
(Intel's manual, volume 2). ONNX Runtime's kernels (MLAS) and OpenVINO's (oneDNN) for AVX2 and AVX-512 without VNNI use
it. The pairs follow the reduced axis: for a convolution, position by position of its window, channels innermost.

For each pair that can exceed 16 bits, plain ONNX operators compute the excess and subtract it. The model then gives the
same outputs on any processor.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgewright.graph import files, metadata
from edgewright.graph.index import constants_of, producers_of, readers_of
from edgewright.graph.names import Names, name_nodes
from edgewright.runtimes import registry
from edgewright.runtimes.traits import Saturation

if TYPE_CHECKING:
    import onnx

LOWEST, HIGHEST = -32768.0, 32767.0
LEAST = 129
"""Two weights of the same sign whose magnitudes sum to this exceed 16 bits at the largest activation: 255 x 129 =
32895."""

TYPES = {"u8": np.dtype(np.uint8), "s8": np.dtype(np.int8)}
THROUGH = frozenset({"Relu", "Clip"})
"""Operators allowed between a layer and the quantizer of its output: runtimes fuse them into the layer."""


class Pairs(NamedTuple):
    """Pairs of a layer's weights that can saturate.

    `output`: the output channel of each pair (P,). `places`: the index of its first weight on the reduced axis (P,);
    the second weight is the next one. `weights`: both weights (P, 2).
    """

    output: np.ndarray
    places: np.ndarray
    weights: np.ndarray


def find(weights: np.ndarray) -> Pairs:
    """The pairs that can saturate in int8 `weights` (outputs, stretches, length). No pair spans two stretches."""
    length = weights.shape[2]
    wide = np.pad(weights.astype(np.int32), ((0, 0), (0, 0), (0, length % 2)))
    both = wide.reshape(*wide.shape[:2], -1, 2)
    output, stretch, pair = np.nonzero((np.abs(both.sum(3)) >= LEAST) & (both.prod(3) > 0))
    return Pairs(output, stretch * length + 2 * pair, both[output, stretch, pair])


def apply(model: onnx.ModelProto, kernels: Saturation) -> dict[str, int]:
    """Change the Q/DQ `model` in place to give the outputs of these `kernels` without VNNI; return each layer's pairs.

    Changes convolutions and matrix products with 8-bit activations and constant int8 weights that run in INT8. The
    result is keyed by node name (`name_nodes`). Depthwise convolutions widen to 16 bits before they multiply and stay
    unchanged. Run the result without optimization (`sessions.open_session`).
    """
    graph = _Graph(model, kernels)
    found: dict[str, int] = {}
    for node in list(model.graph.node):
        layer = graph.layer(node)
        if layer is None:
            continue
        pairs = find(_along(node, layer, kernels))
        found[node.name] = len(pairs.output)
        if len(pairs.output):
            correct = _convolution if node.op_type == "Conv" else _product
            nought = Pairs(*(np.concatenate([part, np.zeros_like(part[:1])]) for part in pairs))
            correct(graph, node, layer, nought)
    graph.finish()
    return found


def convert(model: str, runtime: str, out: str) -> None:
    """Write ``model.onnx`` into the folder `out`: the file `model`, changed by `apply` for `runtime`."""
    kernels = registry.traits(runtime).saturation
    assert kernels is not None
    graph = files.load(Path(model))
    spec = metadata.get_spec(graph)
    name_nodes(graph)
    apply(graph, kernels)
    if spec is not None:
        metadata.set_spec(graph, spec)
    files.save(graph, Path(out, "model.onnx"))


class _Layer(NamedTuple):
    """A layer's quantized input, its zero point as the kernels see it (unsigned), scales (outputs,), and weights."""

    quantized: str
    zero_point: str
    unsigned_zero: int
    scale: np.ndarray
    weights: np.ndarray


class _Graph:
    """A model with lookups, and the nodes to insert after others."""

    def __init__(self, model: onnx.ModelProto, kernels: Saturation) -> None:
        self.model, self.kernels = model, kernels
        self.constants = constants_of(model.graph)
        self.makers = producers_of(model.graph)
        self.readers = readers_of(model.graph)
        self.names = Names(model.graph)
        self.behind: dict[str, list[onnx.NodeProto]] = {}

    def value(self, name: str) -> np.ndarray:
        from onnx import numpy_helper

        return np.asarray(numpy_helper.to_array(self.constants[name]))

    def constant(self, name: str, value: Any) -> str:
        from onnx import numpy_helper

        made = self.names.free(name)
        self.model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), made))
        return made

    def layer(self, node: onnx.NodeProto) -> _Layer | None:
        """`node` as a layer whose pairs can saturate; None if it does not run in INT8 or is depthwise."""
        if node.op_type not in ("Conv", "Gemm", "MatMul"):
            return None
        if node.op_type == "Conv" and self.kernels.fused and not self._is_quantized(node.output[0]):
            return None
        image, weights = (self.makers.get(name) for name in node.input[:2])
        if image is None or weights is None or {image.op_type, weights.op_type} != {"DequantizeLinear"}:
            return None
        needed = (*image.input[1:], *weights.input)
        if len(image.input) < 3 or image.input[0] in self.constants or not set(needed) <= set(self.constants):
            return None
        integers, zero = self.value(weights.input[0]), self.value(image.input[2])
        if integers.dtype != np.int8 or zero.size != 1 or (node.op_type != "Conv" and integers.ndim != 2):
            return None
        if zero.dtype not in [TYPES[name] for name in self.kernels.activations]:
            return None
        attributes = {a.name: a.i or a.f for a in node.attribute}
        depthwise = node.op_type == "Conv" and attributes.get("group", 1) == len(integers) > 1
        if depthwise or attributes.get("transA") or attributes.get("alpha", 1) != 1:
            return None
        outputs = len(integers) if node.op_type == "Conv" or attributes.get("transB") else integers.shape[-1]
        scale = np.broadcast_to(self.value(weights.input[1]).reshape(-1) * self.value(image.input[1]), (outputs,))
        # These kernels shift signed activations up by 128 first.
        unsigned = int(zero.reshape(())) + (128 if zero.dtype == np.int8 else 0)
        return _Layer(image.input[0], image.input[2], unsigned, scale.astype(np.float32), integers)

    def _is_quantized(self, name: str) -> bool:
        readers = self.readers.get(name, [])
        if len(readers) == 1 and readers[0].op_type in THROUGH:
            return self._is_quantized(readers[0].output[0])
        return bool(readers) and all(reader.op_type == "QuantizeLinear" for reader in readers)

    def add(self, node: onnx.NodeProto, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Insert a node of `operator` after `node`; return the name of its output."""
        from onnx import helper

        name = self.names.free(f"{node.name}_{output}")
        self.behind.setdefault(node.name, []).append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def subtract(self, node: onnx.NodeProto, products: str, layer: _Layer, pairs: Pairs) -> None:
        """Subtract from the output of `node` the part of `products` that exceeds 16 bits."""
        low, high = (self.constant(f"{node.name}_{bound:.0f}", np.float32(bound)) for bound in (LOWEST, HIGHEST))
        kept = self.add(node, "Clip", [products, low, high], "kept")
        excess = self.add(node, "Sub", [products, kept], "excess")
        # One row of pairs per output, then their sum. A matrix product would need gigabytes in large models.
        window = layer.weights.ndim - 2 if node.op_type == "Conv" else 0
        table = self.constant(f"{node.name}_table", _table(pairs, len(layer.scale)))
        each = self.add(node, "Gather", [excess, table], "each", axis=-1 - window)
        axis = self.constant(f"{node.name}_axis", np.array([-1 - window], np.int64))
        total = self.add(node, "ReduceSum", [each, axis], "total", keepdims=0)
        scale = self.constant(f"{node.name}_scale", layer.scale.reshape(-1, *(1,) * window))
        scaled = self.add(node, "Mul", [total, scale], "scaled")
        exact, output = self.names.free(f"{node.output[0]}_exact"), node.output[0]
        node.output[0] = exact
        self.add(node, "Sub", [exact, scaled], "saturated")
        self.behind[node.name][-1].output[0] = output

    def finish(self) -> None:
        """Insert the new nodes."""
        nodes = [part for node in self.model.graph.node for part in (node, *self.behind.get(node.name, []))]
        files.refill(self.model.graph.node, nodes)


def _along(node: onnx.NodeProto, layer: _Layer, kernels: Saturation) -> np.ndarray:
    """The weights as (outputs, stretches, length), in the order in which the kernels read the reduced axis."""
    if node.op_type != "Conv":
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        return np.asarray(layer.weights if transposed else layer.weights.T)[:, None]
    outputs, channels, *window = layer.weights.shape
    length = channels if kernels.padded else channels * int(np.prod(window))
    return np.asarray(np.moveaxis(layer.weights, 1, -1).reshape(outputs, -1, length))


def _raw(graph: _Graph, node: onnx.NodeProto, layer: _Layer) -> str:
    """The quantized input as numbers, minus its zero point."""
    one = graph.constant(f"{node.name}_one", np.float32(1))
    return graph.add(node, "DequantizeLinear", [layer.quantized, one, layer.zero_point], "integers")


def _sums(layer: _Layer, pairs: Pairs) -> np.ndarray:
    """The contribution of the zero point to each pair: the kernels multiply the integers as stored."""
    return np.asarray(layer.unsigned_zero * pairs.weights.sum(1), np.float32)


def _table(pairs: Pairs, outputs: int) -> np.ndarray:
    """(outputs, largest number of pairs): the pairs of each output, padded with its last pair, whose effect is zero."""
    last = len(pairs.output) - 1
    counts = np.bincount(pairs.output[:last], minlength=outputs)
    table = np.full((outputs, max(1, int(counts.max()))), last, np.int64)
    inside = np.arange(last) - np.repeat(np.cumsum(counts) - counts, counts)
    table[pairs.output[:last], inside] = np.arange(last)
    return table


def _convolution(graph: _Graph, node: onnx.NodeProto, layer: _Layer, pairs: Pairs) -> None:
    count, inner = len(pairs.output), layer.weights.shape[1]
    window = layer.weights.shape[2:]
    group = next((a.i for a in node.attribute if a.name == "group"), 1)
    first = pairs.output // (len(layer.weights) // group) * inner  # where the channels of its group start
    channels = np.zeros((count, 2), np.int64)
    kernels = np.zeros((count, 2, int(np.prod(window))), np.float32)
    for side in (0, 1):
        place = pairs.places + side
        channels[:, side] = first + place % inner
        kernels[np.arange(count), side, place // inner] = pairs.weights[:, side]
    chosen = graph.constant(f"{node.name}_channels", channels.reshape(-1))
    gathered = graph.add(node, "Gather", [_raw(graph, node, layer), chosen], "gathered", axis=1)
    weights = graph.constant(f"{node.name}_pairs", kernels.reshape(count, 2, *window))
    start = graph.constant(f"{node.name}_sums", _sums(layer, pairs))
    products = graph.add(node, "Conv", [gathered, weights, start], "products", group=count)
    same = [a for a in node.attribute if a.name != "group"]
    graph.behind[node.name][-1].attribute.extend(same)
    graph.subtract(node, products, layer, pairs)


def _product(graph: _Graph, node: onnx.NodeProto, layer: _Layer, pairs: Pairs) -> None:
    raw, parts = _raw(graph, node, layer), []
    for side in (0, 1):
        chosen = graph.constant(f"{node.name}_places{side}", pairs.places + side)
        weights = graph.constant(f"{node.name}_weights{side}", pairs.weights[:, side].astype(np.float32))
        gathered = graph.add(node, "Gather", [raw, chosen], f"gathered{side}", axis=-1)
        parts.append(graph.add(node, "Mul", [gathered, weights], f"weighted{side}"))
    both = graph.add(node, "Add", parts, "both")
    products = graph.add(node, "Add", [both, graph.constant(f"{node.name}_sums", _sums(layer, pairs))], "products")
    graph.subtract(node, products, layer, pairs)
