"""What a file is: in float or quantized already, and how much of it. Every command asks here."""

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
"""The share of the layers with weights from which on a model is called INT8."""

INTEGER = frozenset(
    {
        "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeLinear", "DynamicQuantizeMatMul",
        "DynamicQuantizeLSTM", "MatMulNBits", "MatMulBnb4", "MatMulFpQ4", "MatMulInteger16", "MulInteger", "QGemm",
        "QAttention", "QMoE", "QEmbedLayerNormalization", "GatherBlockQuantized", "ReduceSumInteger",
    }
)  # fmt: skip
"""Operators on integers, Q/DQ pairs and those whose names begin with one of `PREFIXES` aside."""

PREFIXES = ("QLinear", "QOrdered")


class Quantized(NamedTuple):
    """How many layers run in INT8 by what a graph asks, and how many have weights and so could."""

    int8: int
    layers: int

    @property
    def few(self) -> bool:
        """Whether so few are in INT8 that the whole is not called so."""
        return self.int8 == 0 or self.int8 < LEAST * self.layers

    def __str__(self) -> str:
        """E.g. "20 of 21 layers"."""
        return f"{self.int8} of {self.layers} layers"


def operators(model: onnx.ModelProto) -> dict[str, int]:
    """The quantization operators of `model` by type, with how often each occurs."""
    found = Counter(node.op_type for node in nodes(model.graph) if is_quantization(node.op_type))
    return dict(found.most_common())


def is_quantization(operator: str) -> bool:
    """Whether an operator makes, reads or computes with quantized numbers."""
    return operator in PAIR or operator in INTEGER or operator.startswith(PREFIXES)


def half(model: onnx.ModelProto) -> bool:
    """Whether `model` has tensors in FP16 or BF16."""
    import onnx

    kinds = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    casts = (a.i for n in nodes(model.graph) if n.op_type == "Cast" for a in n.attribute if a.name == "to")
    values = (value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output))
    return any(kind in kinds for kind in (*(t.data_type for t in model.graph.initializer), *casts, *values))


def quantized(model: onnx.ModelProto) -> Quantized:
    """The layers of `model` in INT8 (both of what they multiply comes out of a DequantizeLinear of 8 bits), and all
    with weights.

    Products of two activations (attention) count only where they are in INT8.
    """
    graph = model.graph
    constants = set(constants_of(graph))
    integers = dequantized(model)
    int8 = layers = 0
    for node in graph.node:
        if constants.issuperset(name for name in node.input if name):  # of constants alone
            constants.update(node.output)
        if node.op_type in LAYERS:
            is_int8 = integers.issuperset(node.input[:2])
            int8 += is_int8
            layers += is_int8 or not constants.isdisjoint(node.input[1:2])
    return Quantized(int8, layers)


def label(model: onnx.ModelProto) -> Literal["int8", "f16", "bf16", "f32"]:
    """The precision by which a model is called: of its layers, or where these are in float of most of its weights."""
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
    """The quantization operators of a file, and its layers; none of either for a float file."""

    operators: dict[str, int]
    quantized: Quantized


def read(path: Path) -> Found:
    """What the ONNX file at `path` is, which was checked before; a float file is not parsed."""
    import onnx

    content = path.read_bytes()
    if b"QuantizeLinear" not in content and b"DequantizeLinear" not in content:
        return Found({}, Quantized(0, 0))
    model = onnx.ModelProto()
    model.ParseFromString(content)
    return Found(operators(model), quantized(model))


def require_float(model: onnx.ModelProto, name: str) -> None:
    """Raise `InvalidInput` for a model that is quantized already; the message names the operators."""
    if found := operators(model):
        raise already(name, found)


def already(name: str, found: dict[str, int]) -> InvalidInput:
    """The error for a model with the quantization operators `found` where a float one is needed."""
    first = "QuantizeLinear" if "QuantizeLinear" in found else next(iter(found))
    return InvalidInput(
        f"{name} is quantized already: {found[first]} {first}.",
        "What is rounded once cannot be rounded again without loss: this needs the float model.",
        "Give the float model that it was made of; or take it as it is: edgewright optimize, compile, audit.",
    )
