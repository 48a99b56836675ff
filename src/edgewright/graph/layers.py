"""The layers of a float graph as shapes: everything that determines the latency of a layer, without its weights."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Literal

import msgspec

from edgewright.core.errors import InvalidInput

from .index import constants_of, producers_of, readers_of

if TYPE_CHECKING:
    import onnx

Kind = Literal["conv", "transposed", "linear"]
Activation = Literal["none", "relu", "clip", "leakyrelu", "sigmoid", "silu", "hardsigmoid", "hardswish"]

_FUNCTIONS: dict[str, Activation] = {
    "Relu": "relu", "Clip": "clip", "LeakyRelu": "leakyrelu", "Sigmoid": "sigmoid", "HardSigmoid": "hardsigmoid",
    "HardSwish": "hardswish",
}  # fmt: skip
_NOT_NEGATIVE = frozenset({"Relu", "Clip", "Sigmoid", "HardSigmoid", "Softmax"})
_PASSES = frozenset(
    {"MaxPool", "AveragePool", "GlobalAveragePool", "Concat", "Resize", "Flatten", "Reshape", "Transpose", "ReduceMean"}
)


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """One convolution or matrix product. Two layers with equal fields have the same latency on the same machine.

    `cin`, `cout`: channels. `height`, `width`: the input map before padding; for a linear layer the number of rows, and
    1. `pads`: top, left, bottom, right. `activation`: the following function, which runtimes fuse. `signed`: whether
    the input can be negative, so that it has a zero point in INT8.
    """

    kind: Kind
    cin: int
    cout: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    height: int = 1
    width: int = 1
    batch: int = 1
    activation: Activation = "none"
    signed: bool = False

    @property
    def is_depthwise(self) -> bool:
        """Whether each channel is its own group."""
        return self.groups > 1 and self.groups == self.cin


def narrowed(layer: Layer, cin: int, cout: int) -> Layer:
    """`layer` with other channel counts. For a depthwise layer the groups follow; `cout` is its multiple of `cin`.

    Raises `InvalidInput` for counts that its groups do not divide.
    """
    if layer.is_depthwise:
        return msgspec.structs.replace(layer, cin=cin, cout=cin * (layer.cout // layer.cin), groups=cin)
    if cin < 1 or cout < 1 or cin % layer.groups or cout % layer.groups:
        raise InvalidInput(
            f"A layer of {layer.groups} groups cannot have {cin} inputs and {cout} outputs.",
            "Each group has the same number of channels, at least one.",
            "Remove the same number of channels from each group.",
        )
    return msgspec.structs.replace(layer, cin=cin, cout=cout)


def layers(model: onnx.ModelProto, batch: int = 1) -> dict[str, Layer]:
    """Every convolution and matrix product with constant weights in the float `model`, by the name of its node.

    They are in the order of the graph. A dynamic batch counts as `batch`. The rows of a linear layer on tokens are
    tokens x batch. Raises `InvalidInput` if the shapes of the graph cannot be inferred.
    """
    import onnx

    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        value.name: [dim.dim_value if dim.dim_value > 0 else batch for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    weights = constants_of(graph)
    makers = producers_of(graph)
    readers = readers_of(graph)
    found = {}
    for node in graph.node:
        if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul") or node.input[1] not in weights:
            continue
        shape = shapes.get(node.input[0])
        if not shape:
            raise InvalidInput(
                f"The input shape of {node.name or node.output[0]} is unknown.",
                "The latency of a layer depends on it.",
                "Export the model with a fixed input size.",
            )
        attrs = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        layer = _of(node.op_type, shape, list(weights[node.input[1]].dims), attrs)
        found[node.name or node.output[0]] = msgspec.structs.replace(
            layer, activation=_activation(node, readers), signed=_may_be_negative(node.input[0], makers)
        )
    return found


def _of(operator: str, shape: list[int], weight: list[int], attrs: Mapping[str, object]) -> Layer:
    if operator in ("Gemm", "MatMul"):
        cin, cout = weight[::-1] if attrs.get("transB") else weight[-2:]
        return Layer(kind="linear", cin=cin, cout=cout, height=prod(shape[:-1]))
    sides = len(shape) - 2
    groups = int(attrs.get("group", 1))  # type: ignore[call-overload]
    kernel, stride, dilation = (
        _pair(attrs.get(name, default), sides)
        for name, default in (("kernel_shape", weight[2:]), ("strides", [1] * sides), ("dilations", [1] * sides))
    )
    pads: list[int] = list(attrs.get("pads", [0] * 2 * sides))  # type: ignore[call-overload]
    if attrs.get("auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER"):
        every = [max(k - s, 0) for k, s in zip(kernel, stride)]
        pads = [*(p // 2 for p in every), *(p - p // 2 for p in every)][: 2 * sides]
    if sides == 1:
        pads = [pads[0], 0, pads[1], 0]
    height, width = shape[2], shape[3] if sides > 1 else 1
    transposed = operator == "ConvTranspose"
    return Layer(
        kind="transposed" if transposed else "conv", cin=shape[1], cout=weight[1] * groups if transposed else weight[0],
        kernel=kernel, stride=stride, dilation=dilation, pads=(pads[0], pads[1], pads[2], pads[3]), groups=groups,
        height=height, width=width, batch=shape[0],
    )  # fmt: skip


def _pair(values: object, sides: int) -> tuple[int, int]:
    given = list(values)  # type: ignore[call-overload]
    return (given[0], given[1] if sides > 1 else 1)


def _activation(node: onnx.NodeProto, readers: Mapping[str, list[onnx.NodeProto]]) -> Activation:
    """The one function that reads the output of `node`; "none" if another node reads it, too."""
    behind = readers.get(node.output[0], [])
    functions = [reader for reader in behind if reader.op_type in _FUNCTIONS]
    if len(functions) != 1:
        return "none"
    found = _FUNCTIONS[functions[0].op_type]
    if len(behind) == 1:
        return found
    gates = readers.get(functions[0].output[0], [])
    others = [reader for reader in behind if reader is not functions[0]]
    is_product = len(others) == 1 and others[0].op_type == "Mul" and others == gates
    return "silu" if is_product and found == "sigmoid" else "none"


def _may_be_negative(name: str, makers: Mapping[str, onnx.NodeProto]) -> bool:
    """Whether the tensor can be negative, as far as the operators before it show."""
    waiting, seen = [name], set()
    while waiting:
        maker = makers.get(waiting.pop())
        if maker is None:
            return True
        if id(maker) in seen or maker.op_type in _NOT_NEGATIVE:
            continue
        seen.add(id(maker))
        if maker.op_type not in _PASSES and not _squashes(maker, makers):
            return True
        waiting += list(maker.input) if maker.op_type in ("Concat", "Mul") else [maker.input[0]]
    return False


def _squashes(node: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto]) -> bool:
    """Whether `node` scales by a gate between zero and one, as squeeze and excitation does."""
    own = [makers.get(name) for name in node.input]
    gates = [maker for maker in own if maker is not None and maker.op_type in ("Sigmoid", "HardSigmoid")]
    return node.op_type == "Mul" and len(gates) == 1 and gates[0].input[0] not in node.input
