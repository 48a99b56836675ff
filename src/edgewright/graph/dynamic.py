"""Convert dynamically quantized layers to float: weights keep the values of their integers, activations are not
rounded.

Such a file measures the range of each activation again for each image (DynamicQuantizeLinear), and only ONNX Runtime
has INT8 kernels for it. Without that rounding a float model remains. It is closer to the original than the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import rewrite
from .files import nodes
from .index import constants_of, producers_of, readers_of
from .rewrite import NodeBuilder

if TYPE_CHECKING:
    import onnx

INTEGER = {"ConvInteger": "Conv", "MatMulInteger": "MatMul"}
_KNOWN = frozenset({*INTEGER, "MatMulIntegerToFloat"})


def apply(model: onnx.ModelProto) -> dict[str, int]:
    """Convert dynamically quantized layers of `model` to float, in place. Returns their numbers by type.

    Changes nothing if another node than a known layer reads the integers of a DynamicQuantizeLinear.
    """
    measured = [n for n in nodes(model.graph) if n.op_type == "DynamicQuantizeLinear"]
    integers = {node.output[0] for node in measured}
    for node in nodes(model.graph):
        if not integers.isdisjoint(node.input) and (node.op_type not in _KNOWN or not _constant_weights(node, model)):
            return {}
    floats: list[str] = []

    def identity(node: onnx.NodeProto, builder: NodeBuilder) -> bool:
        values = (None, np.float32(1), np.uint8(0))
        for value, name in zip(values, node.output):
            if name:
                read = node.input[0] if value is None else builder.constant(value, f"{name}_fixed")
                builder.add("Identity", [read], name, output=name)
        return True

    def integer(node: onnx.NodeProto, builder: NodeBuilder) -> bool:
        weights = _read(builder, node, integers)
        if node.input[0] not in integers or weights is None:
            return False
        own = rewrite.plain_attributes(node)
        floats.append(node.output[0])
        builder.add(INTEGER[node.op_type], [node.input[0], weights], node.output[0], output=node.output[0], **own)
        return True

    def to_float(node: onnx.NodeProto, builder: NodeBuilder) -> bool:
        dynamic = node.op_type == "DynamicQuantizeMatMul"
        reads = [*node.input, "", "", ""]
        scale, zero, bias = (reads[2], reads[3], reads[4]) if dynamic else (reads[3], reads[5], reads[6])
        weights, factor = builder.value(reads[1]), builder.value(scale)
        if weights is None or factor is None or (not dynamic and reads[0] not in integers):
            return False
        minus = builder.value(zero) if zero else np.int8(0)
        if minus is None:
            return False
        value = (weights.astype(np.float32) - np.asarray(minus, np.float32)) * factor
        stored = builder.constant(value.astype(np.float32), f"{reads[1]}_float")
        product = builder.add("MatMul", [reads[0], stored], node.output[0], output=None if bias else node.output[0])
        if bias:
            builder.add("Add", [product, bias], node.output[0], output=node.output[0])
        return True

    table: dict[rewrite.Key, rewrite.Expand] = {
        ("", "DynamicQuantizeLinear"): identity, ("", "ConvInteger"): integer, ("", "MatMulInteger"): integer,
        ("com.microsoft", "MatMulIntegerToFloat"): to_float, ("com.microsoft", "DynamicQuantizeMatMul"): to_float,
    }  # fmt: skip
    found = rewrite.apply(model, table)
    if found:
        del model.graph.value_info[:]  # they describe the integers
        _scale_weights(model, floats)
    return found


def _constant_weights(node: onnx.NodeProto, model: onnx.ModelProto) -> bool:
    """Whether `node` reads integers only as its first input, and has constant weights."""
    constant = constants_of(model.graph)
    return node.input[1] in constant and (
        len(node.input) < 4 or node.op_type != "ConvInteger" or not node.input[3] or node.input[3] in constant
    )


def _read(builder: NodeBuilder, node: onnx.NodeProto, integers: set[str]) -> str | None:
    """The integer weights of `node` minus their zero point, as a float constant; one for all readers."""
    name, zero = node.input[1], node.input[3] if len(node.input) > 3 else ""
    value, minus = builder.value(name), builder.value(zero) if zero else np.int8(0)
    if value is None or minus is None or name in integers:
        return None
    if node.op_type == "ConvInteger" and minus.ndim == 1:  # one per output channel, which is the first axis
        minus = minus.reshape(-1, *[1] * (value.ndim - 1))
    if (name, zero) not in builder.memory:
        builder.memory[name, zero] = builder.constant(
            value.astype(np.float32) - np.asarray(minus, np.float32), f"{name}_float"
        )
    return builder.memory[name, zero]


def _scale_weights(model: onnx.ModelProto, floats: list[str]) -> None:
    """Multiply the scale after each layer with an output in `floats` into its weights, if nothing else reads these.

    An integer layer is followed by a Cast and a product with the scales of input (now 1) and weights.
    """
    from onnx import numpy_helper

    graph, builder = model.graph, NodeBuilder(model)
    makers = producers_of(graph)
    follow = readers_of(graph)
    for integers in floats:
        name, layer = integers, makers[integers]
        behind = follow.get(name, [])
        if len(behind) == 1 and behind[0].op_type == "Cast":
            cast, behind = behind[0], follow.get(behind[0].output[0], [])
            cast.op_type = "Identity"
            del cast.attribute[:]
            name = cast.output[0]
        if len(behind) != 1 or behind[0].op_type != "Mul" or len(follow[layer.input[1]]) != 1:
            continue
        product = behind[0]
        other = product.input[1 - list(product.input).index(name)]
        scale = _value(other, makers, builder)
        tensor = builder.constants[layer.input[1]]
        along = _along(layer, scale, tuple(tensor.dims)) if scale is not None else None
        if along is not None:
            value = (numpy_helper.to_array(tensor) * along).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
            product.op_type = "Identity"
            product.input[:] = [name]


def _value(name: str, makers: dict[str, Any], builder: NodeBuilder) -> np.ndarray | None:
    """The value of the tensor `name`, if products of constants compute it; else None."""
    found = builder.value(name)
    node = makers.get(name)
    if found is not None or node is None:
        return found
    parts = [_value(read, makers, builder) for read in node.input]
    if any(part is None for part in parts) or node.op_type not in ("Identity", "Mul", "Reshape"):
        return None
    if node.op_type == "Reshape":
        return np.reshape(parts[0], [int(n) for n in parts[1]])  # type: ignore[arg-type, union-attr]
    return parts[0] if node.op_type == "Identity" else np.asarray(parts[0] * parts[1])  # type: ignore[operator]


def _along(layer: onnx.NodeProto, scale: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """`scale` (one number, or one per output channel) in a shape that multiplies weights of `shape`; else None."""
    if scale.size == 1:
        return scale.reshape(())
    if layer.op_type == "MatMul":
        return scale.reshape(-1) if scale.shape[-1] == scale.size == shape[-1] else None
    axis = len(shape) - 2  # spatial axes come after the channels
    fits = scale.size == shape[0] and scale.ndim > axis and scale.shape[-1 - axis] == scale.size
    return scale.reshape(-1, *[1] * (len(shape) - 1)) if fits else None
