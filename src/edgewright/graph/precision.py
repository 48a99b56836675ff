"""Whether a file is in float or quantized, and to what extent. Every command uses this module."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from edgewright.core.errors import InvalidInput

from .census import LAYERS, dequantized
from .files import nodes
from .index import constants_of
from .weights import PAIR

if TYPE_CHECKING:
    import onnx

LEAST = 0.25
"""The share of the layers with weights that must be in INT8 for a model to be called INT8."""

INTEGER = frozenset(
    {
        "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeLinear", "DynamicQuantizeMatMul",
        "DynamicQuantizeLSTM", "MatMulNBits", "MatMulBnb4", "MatMulFpQ4", "MatMulInteger16", "MulInteger", "QGemm",
        "QAttention", "QMoE", "QEmbedLayerNormalization", "GatherBlockQuantized", "ReduceSumInteger",
    }
)  # fmt: skip
"""Operators on integers, in addition to Q/DQ pairs and operators with a prefix in `PREFIXES`."""

PREFIXES = ("QLinear", "QOrdered")


class Quantized(NamedTuple):
    """The number of layers that the graph requests in INT8, and of layers with weights, which could be in INT8."""

    int8: int
    layers: int

    @property
    def few(self) -> bool:
        """Whether too few are in INT8 to call the model INT8."""
        return self.int8 == 0 or self.int8 < LEAST * self.layers

    def __str__(self) -> str:
        """E.g. "20 of 21 layers"."""
        return f"{self.int8} of {self.layers} layers"


def operators(model: onnx.ModelProto) -> dict[str, int]:
    """The quantization operators of `model`: the number of each type."""
    found = Counter(node.op_type for node in nodes(model.graph) if is_quantization(node.op_type))
    return dict(found.most_common())


def is_quantization(operator: str) -> bool:
    """Whether an operator reads, computes or gives quantized numbers."""
    return operator in PAIR or operator in INTEGER or operator.startswith(PREFIXES)


def half(model: onnx.ModelProto) -> bool:
    """Whether `model` has tensors in FP16 or BF16."""
    import onnx

    kinds = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    casts = (a.i for n in nodes(model.graph) if n.op_type == "Cast" for a in n.attribute if a.name == "to")
    values = (value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output))
    return any(kind in kinds for kind in (*(t.data_type for t in model.graph.initializer), *casts, *values))


def quantized(model: onnx.ModelProto) -> Quantized:
    """The layers of `model` in INT8 (both factors come from a DequantizeLinear of 8 bits), and all layers with weights.

    Products of two activations (attention) count only if they are in INT8.
    """
    graph = model.graph
    constants = set(constants_of(graph))
    integers = dequantized(model)
    int8 = layers = 0
    for node in graph.node:
        if constants.issuperset(name for name in node.input if name):  # a product of constants
            constants.update(node.output)
        if node.op_type in LAYERS:
            is_int8 = integers.issuperset(node.input[:2])
            int8 += is_int8
            layers += is_int8 or not constants.isdisjoint(node.input[1:2])
    return Quantized(int8, layers)


def label(model: onnx.ModelProto) -> Literal["int8", "f16", "bf16", "f32"]:
    """The precision that a model is called by: of its layers, or, if these are in float, of most of its weights."""
    import onnx

    if not quantized(model).few:
        return "int8"
    names: dict[int, Literal["f16", "bf16", "f32"]] = {
        onnx.TensorProto.FLOAT16: "f16", onnx.TensorProto.BFLOAT16: "bf16", onnx.TensorProto.FLOAT: "f32",
    }  # fmt: skip
    sizes: Counter[int] = Counter()
    for tensor in model.graph.initializer:
        if tensor.data_type in names:
            sizes[tensor.data_type] += len(tensor.raw_data) or 1
    return names[sizes.most_common(1)[0][0]] if sizes else "f32"


class Found(NamedTuple):
    """The quantization operators of a file, and its layers; none of both for a float file."""

    operators: dict[str, int]
    quantized: Quantized


def read(path: Path) -> Found:
    """The precision of the ONNX file at `path`, which was checked before; a float file is not parsed."""
    import onnx

    content = path.read_bytes()
    if b"QuantizeLinear" not in content and b"DequantizeLinear" not in content:
        return Found({}, Quantized(0, 0))
    model = onnx.ModelProto()
    model.ParseFromString(content)
    return Found(operators(model), quantized(model))


def require_float(model: onnx.ModelProto, name: str) -> None:
    """Raise `InvalidInput` for a model that is already quantized; the message names the operators."""
    if found := operators(model):
        raise already(name, found)


def already(name: str, found: dict[str, int]) -> InvalidInput:
    """The error for a model with the quantization operators `found`, if a float model is needed."""
    first = "QuantizeLinear" if "QuantizeLinear" in found else next(iter(found))
    return InvalidInput(
        f"{name} is already quantized: it has {found[first]} {first}.",
        "This step needs a float model: rounding twice loses accuracy.",
        "Give the original float model. Or use the file as it is with edgewright optimize, compile or audit.",
    )
