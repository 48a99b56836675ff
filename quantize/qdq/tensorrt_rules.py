"""TensorRT's rules for Q/DQ graphs, checked on the file. Each violation names its node and the rule.

The rules are NVIDIA's ("Working with Quantized Types", TensorRT developer guide, and the checks of its ONNX parser). On
an "error", the parser or builder refuses the graph or computes something else. A "warning" costs speed or accuracy: the
layer runs in float, or is not fused well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from edgewright.graph.index import constants_of, readers_of

from . import pairs
from .tensorrt import FEWEST_CHANNELS, LAYERS, channels, residuals, weight_axis

if TYPE_CHECKING:
    import onnx

RULES: dict[str, str] = {
    "opset": "Per-channel QuantizeLinear and DequantizeLinear need operator set 13, float16 scales 19.",
    "integer-operator": "Q/DQ pairs around float operators only: no QLinearConv, ConvInteger, DynamicQuantizeLinear.",
    "signed": "Quantized tensors are int8; TensorRT refuses uint8.",
    "symmetric": "Zero points are 0.",
    "int32-bias": "Biases stay in float: no DequantizeLinear of int32.",
    "constant-scale": "Scales are constant, finite and positive.",
    "activation-per-tensor": "An activation has one scale; per-channel scales are for weights.",
    "weight-axis": "Per-channel weights count output channels: axis 0 of Conv, 1 of ConvTranspose.",
    "pair": "A DequantizeLinear with the same scale follows each QuantizeLinear, and the reverse for activations.",
    "both-inputs": "A layer runs in INT8 only if both its activations and its weights are quantized.",
    "fused-output": "No pair between a layer and its bias, activation function or batch norm: it breaks their fusion.",
    "residual": "In a residual addition, quantize the skip input, not the branch that the addition fuses into.",
    "batch-norm": "Fold batch norms into their convolution first.",
    "float-function": "No pair before Sigmoid, Softmax, LayerNormalization or Erf, and none inside SiLU.",
    "concat-scale": "The inputs of a Concat share one scale; otherwise TensorRT requantizes each.",
    "attention": "Products of two activations stay in float, so that TensorRT can use its fused attention kernel.",
    "few-channels": "Convolutions with fewer than 16 channels are faster in FP16.",
}
"""The rules by name."""

WARNINGS = frozenset(
    {
        "both-inputs", "fused-output", "residual", "batch-norm", "float-function", "concat-scale", "attention",
        "few-channels",
    }
)  # fmt: skip
_INTEGER = frozenset(
    {
        "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "QLinearAdd",
        "QGemm", "QLinearConcat", "QLinearGlobalAveragePool", "QAttention",
    }
)  # fmt: skip
_FUNCTIONS = frozenset(
    {"Sigmoid", "HardSigmoid", "Softmax", "LayerNormalization", "Erf", "Gelu", "InstanceNormalization"}
)
_FUSED = frozenset(
    {"Relu", "Clip", "LeakyRelu", "HardSwish", "HardSigmoid", "Sigmoid", "BatchNormalization", "Elu", "Tanh"}
)


class Violation(msgspec.Struct, frozen=True):
    """A broken rule (a key of `RULES`) at a named node, and the violation.

    `level`: "error" if TensorRT refuses it, "warning" if it only costs speed or accuracy. `origin`: the layer that the
    node belongs to.
    """

    rule: str
    node: str
    text: str
    level: Literal["error", "warning"] = "error"
    origin: str = ""


def check(model: onnx.ModelProto) -> list[Violation]:
    """All violations in `model`, errors first, in graph order. A float graph has none.

    Violations name nodes, so each node must have a unique name (`graph.names.name_nodes`).
    """
    graph = _Graph(model)
    if not any(n.op_type in ("QuantizeLinear", "DequantizeLinear") or n.op_type in _INTEGER for n in model.graph.node):
        return []
    layers = origins(model)
    found = [
        msgspec.structs.replace(v, level="warning" if v.rule in WARNINGS else "error", origin=layers[v.node])
        for v in dict.fromkeys(v for rule in _CHECKS for v in rule(graph))
    ]
    return sorted(found, key=lambda violation: violation.level)


def origins(model: onnx.ModelProto) -> dict[str, str]:
    """The layer that each node inserted by a pass (Q/DQ, Cast) belongs to, that is, its reader. Other nodes map to
    themselves."""
    readers = readers_of(model.graph)
    found: dict[str, str] = {}
    for node in reversed(model.graph.node):
        behind = [reader for name in node.output for reader in readers.get(name, [])]
        through = node.op_type in ("QuantizeLinear", "DequantizeLinear", "Cast") and behind
        found[node.name] = found.get(behind[0].name, node.name) if through else node.name
    return found


class _Graph:
    """A model with lookups for the rules: writers and readers of tensors, and constants by name."""

    def __init__(self, model: onnx.ModelProto) -> None:
        from onnx import numpy_helper

        self.model = model
        self.nodes = list(model.graph.node)
        self.makers = {out: node for node in self.nodes for out in node.output}
        self.readers = readers_of(model.graph)
        self.constants: dict[str, Any] = constants_of(model.graph)
        for node in self.nodes:
            for attribute in node.attribute if node.op_type == "Constant" else ():
                if attribute.name == "value":
                    self.constants[node.output[0]] = attribute.t
        self._to_array = numpy_helper.to_array

    def constant(self, name: str) -> np.ndarray | None:
        """The value of a constant, or None for a computed tensor."""
        return self._to_array(self.constants[name]) if name in self.constants else None

    def of(self, *operators: str) -> list[onnx.NodeProto]:
        """The nodes of these operators, in order."""
        return [node for node in self.nodes if node.op_type in operators]

    def pair_at(self, name: str) -> onnx.NodeProto | None:
        """The DequantizeLinear that writes `name` from a quantized activation, directly or through a Cast."""
        node = self.makers.get(name)
        if node is not None and node.op_type == "Cast":
            node = self.makers.get(node.input[0])
        if node is None or node.op_type != "DequantizeLinear" or node.input[0] in self.constants:
            return None
        return node

    def weights_at(self, name: str) -> onnx.NodeProto | None:
        """The DequantizeLinear of constant weights that writes `name`."""
        node = self.makers.get(name)
        if node is None or node.op_type != "DequantizeLinear" or node.input[0] not in self.constants:
            return None
        return node


def _opset(graph: _Graph) -> Iterator[Violation]:
    version = next((o.version for o in graph.model.opset_import if o.domain in ("", "ai.onnx")), 0)
    for node in graph.of("QuantizeLinear", "DequantizeLinear"):
        scale = graph.constant(node.input[1])
        needed = 19 if scale is not None and scale.dtype == np.float16 else 13
        if version < needed:
            yield Violation("opset", node.name, f"The model has operator set {version}, {needed} is needed here.")
            return


def _integer(graph: _Graph) -> Iterator[Violation]:
    for node in graph.of(*_INTEGER):
        yield Violation("integer-operator", node.name, f"{node.op_type} computes on integers.")


def _types(graph: _Graph) -> Iterator[Violation]:
    import onnx

    names = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 10: "float16"}
    for node in graph.of("QuantizeLinear", "DequantizeLinear"):
        source = graph.constants.get(node.input[0])
        if node.op_type == "DequantizeLinear" and source is not None and source.data_type == onnx.TensorProto.INT32:
            yield Violation("int32-bias", node.name, f"{node.input[0]} is int32.")
            continue
        zero = graph.constants.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        kind = zero.data_type if zero is not None else source.data_type if source is not None else None
        if kind is None and node.op_type == "QuantizeLinear":
            stated = next((a.i for a in node.attribute if a.name == "output_dtype"), 0)
            kind = stated or onnx.TensorProto.UINT8  # ONNX: no zero point means this type
        if kind not in (None, onnx.TensorProto.INT8):
            yield Violation("signed", node.name, f"Its quantized type is {names.get(kind, kind)}.")
        value = graph.constant(node.input[2]) if zero is not None else None
        if value is not None and value.any():
            yield Violation("symmetric", node.name, f"Its zero point is {_few(value[value != 0])}.")


def _scales(graph: _Graph) -> Iterator[Violation]:
    for node in graph.of("QuantizeLinear", "DequantizeLinear"):
        scale = graph.constant(node.input[1])
        if scale is None:
            yield Violation("constant-scale", node.name, f"Its scale {node.input[1]} is computed.")
        elif not (np.isfinite(scale) & (scale > 0)).all():
            yield Violation(
                "constant-scale", node.name, f"Its scale holds {_few(scale[~(np.isfinite(scale) & (scale > 0))])}."
            )
        elif scale.size > 1 and node.input[0] not in graph.constants:
            yield Violation("activation-per-tensor", node.name, f"It has {scale.size} scales for an activation.")


def _weights(graph: _Graph) -> Iterator[Violation]:
    for node in graph.of(*LAYERS):
        pair = graph.weights_at(node.input[1])
        scale = graph.constant(pair.input[1]) if pair is not None else None
        if pair is None or scale is None or scale.size == 1:
            continue
        rank = len(graph.constants[pair.input[0]].dims)
        axis, wanted = next((a.i for a in pair.attribute if a.name == "axis"), 1) % rank, weight_axis(node, rank)
        if axis != wanted:
            text = f"The weights of {node.name} have a scale for each index of axis {axis}, not {wanted}."
            yield Violation("weight-axis", pair.name, text)


def _paired(graph: _Graph) -> Iterator[Violation]:
    for node in graph.of("QuantizeLinear"):
        scale = graph.constant(node.input[1])
        for reader in graph.readers.get(node.output[0], []):
            if reader.op_type in _INTEGER:
                continue
            if reader.op_type != "DequantizeLinear":
                yield Violation("pair", node.name, f"{reader.op_type} '{reader.name}' reads its integers.")
                continue
            other = graph.constant(reader.input[1])
            if scale is not None and other is not None and not np.array_equal(scale, other):
                yield Violation("pair", reader.name, f"Its scale {_few(other)} is not its quantizer's {_few(scale)}.")
    for node in graph.of("DequantizeLinear"):
        maker = graph.makers.get(node.input[0])
        known = maker is not None and maker.op_type in ("QuantizeLinear", *_INTEGER)
        if node.input[0] not in graph.constants and not known:
            yield Violation("pair", node.name, f"{node.input[0]} comes from no QuantizeLinear.")


def _layers(graph: _Graph) -> Iterator[Violation]:
    for node in graph.of(*LAYERS):
        if node.op_type == "MatMul" and _is_computed(graph, node.input[1]):
            if graph.pair_at(node.input[0]) is not None or graph.pair_at(node.input[1]) is not None:
                yield Violation("attention", node.name, "It multiplies two activations and has a pair.")
            continue
        activation, weights = graph.pair_at(node.input[0]), graph.weights_at(node.input[1])
        if (activation is None) != (weights is None):
            lacking = "activations" if activation is None else "weights"
            yield Violation("both-inputs", node.name, f"Its {lacking} have no pair: it runs in float.")
        if weights is not None and node.op_type == "Conv":
            read, written = channels(node, graph.constants[weights.input[0]].dims)
            if min(read, written) < FEWEST_CHANNELS:
                yield Violation("few-channels", node.name, f"It maps {read} channels to {written}.")


def _is_computed(graph: _Graph, name: str) -> bool:
    return name not in graph.constants and graph.weights_at(name) is None


def _fusions(graph: _Graph) -> Iterator[Violation]:
    for node in graph.of("BatchNormalization"):
        yield Violation("batch-norm", node.name, "It is a layer of its own.")
    for node in graph.of("QuantizeLinear"):
        maker = graph.makers.get(node.input[0])
        behind = [r for pair in graph.readers.get(node.output[0], []) for r in graph.readers.get(pair.output[0], [])]
        for reader in behind:
            if reader.op_type in _FUNCTIONS or (
                maker is not None and maker.op_type == "Sigmoid" and _is_gate(reader, node, graph)
            ):
                yield Violation("float-function", node.name, f"{reader.op_type} '{reader.name}' computes behind it.")
            elif (
                maker is not None
                and maker.op_type in LAYERS
                and (reader.op_type in _FUSED or (reader.op_type == "Add" and set(reader.input) & set(graph.constants)))
            ):
                text = f"It is between {maker.op_type} '{maker.name}' and its {reader.op_type}."
                yield Violation("fused-output", node.name, text)


def _is_gate(reader: onnx.NodeProto, quantizer: onnx.NodeProto, graph: _Graph) -> bool:
    """Whether `reader` is the product of a SiLU and `quantizer` is after its Sigmoid."""
    sigmoid = graph.makers[quantizer.input[0]]
    return reader.op_type == "Mul" and sigmoid.input[0] in reader.input


def _residual(graph: _Graph) -> Iterator[Violation]:
    bare = pairs.without(graph.model)
    originals = {node.name: node for node in graph.nodes}
    for name, skip in residuals(bare).items():
        node = originals[name]
        fused = next(n for n in bare.graph.node if n.name == name).input[1 - skip]
        layer = next(n for n in bare.graph.node if fused in n.output)
        if graph.weights_at(originals[layer.name].input[1]) is None:
            continue  # Its convolution runs in float: there is nothing to fuse into.
        if graph.pair_at(node.input[1 - skip]) is not None:
            yield Violation("residual", name, f"The branch of {layer.op_type} '{layer.name}' has a pair.")
        elif graph.pair_at(node.input[skip]) is None:
            yield Violation("residual", name, f"Its skip input {node.input[skip]} has no pair.")


def _concats(graph: _Graph) -> Iterator[Violation]:
    for node in graph.of("Concat"):
        sources = [graph.pair_at(name) for name in node.input]
        scales = {
            _few(scale) for pair in sources if pair is not None and (scale := graph.constant(pair.input[1])) is not None
        }
        if len(scales) > 1:
            yield Violation("concat-scale", node.name, f"Its inputs have scales {', '.join(sorted(scales))}.")


def _few(values: np.ndarray) -> str:
    flat = np.asarray(values).reshape(-1)
    return ", ".join(f"{value:.6g}" for value in flat[:3]) + (" ..." if flat.size > 3 else "")


_CHECKS = (_opset, _integer, _types, _scales, _weights, _paired, _layers, _fusions, _residual, _concats)
