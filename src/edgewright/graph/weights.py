"""Convert weights stored as integers ("weight-only" quantization, activations in float) to the floats they
represent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import rewrite
from .files import attributes, nodes
from .index import constants_of
from .rewrite import NodeBuilder

if TYPE_CHECKING:
    import onnx

PAIR = frozenset({"QuantizeLinear", "DequantizeLinear"})


def apply(model: onnx.ModelProto) -> dict[str, int]:
    """Store the weights of `model` in float, in place. Returns the number of converted ones, by their operator.

    A model that quantizes an activation, too, is left unchanged: its Q/DQ pairs request INT8.
    """
    found = rewrite.apply(model, {("com.microsoft", "MatMulNBits"): _bits})
    constants = set(constants_of(model.graph))
    constants |= {node.output[0] for node in model.graph.node if node.op_type == "Constant"}
    pairs = [node for node in nodes(model.graph) if node.op_type in PAIR]
    for node in model.graph.node:  # a weight may pass through both
        if node.op_type in PAIR and node.input[0] in constants:
            constants.update(node.output)
    if not pairs or any(node.input[0] not in constants for node in pairs):
        return found
    table: dict[rewrite.Key, rewrite.Expand] = {
        ("", "QuantizeLinear"): _quantize,
        ("", "DequantizeLinear"): _dequantize,
    }
    return found | rewrite.apply(model, table)


def dequantize(value: np.ndarray, scale: np.ndarray, zero: np.ndarray | None, axis: int, block: int = 0) -> np.ndarray:
    """(value - zero) * scale in float32, with one scale for all, one per index of `axis`, or one per `block` of
    them."""
    scale, shift = (_spread(part, value.shape, axis, block) for part in (scale, 0 if zero is None else zero))
    return np.asarray((value.astype(np.float32) - shift) * scale, np.float32)


def _spread(part: np.ndarray | int, shape: tuple[int, ...], axis: int, block: int) -> np.ndarray:
    part = np.asarray(part).astype(np.float32)
    if part.size == 1:
        return part.reshape(())
    if block:
        return np.repeat(part, block, axis=axis).take(range(shape[axis]), axis=axis)
    along = [1] * len(shape)
    along[axis] = -1
    return part.reshape(along)


def _dequantize(node: onnx.NodeProto, builder: NodeBuilder) -> bool:
    own = attributes(node)
    values = [builder.value(name) if name else None for name in (*node.input, "")][:3]
    if values[0] is None or values[1] is None:
        return False
    found = dequantize(values[0], values[1], values[2], own.get("axis", 1), own.get("block_size", 0))
    _store(builder, node.output[0], found)
    return True


def _quantize(node: onnx.NodeProto, builder: NodeBuilder) -> bool:
    own = attributes(node)
    values = [builder.value(name) if name else None for name in (*node.input, "")][:3]
    if values[0] is None or values[1] is None or own.get("block_size"):
        return False
    zero = np.zeros((), np.uint8) if values[2] is None else values[2]
    if zero.dtype not in (np.int8, np.uint8):
        return False
    axis, limits = own.get("axis", 1), np.iinfo(zero.dtype)
    steps = np.rint(values[0] / _spread(values[1], values[0].shape, axis, 0)) + _spread(zero, values[0].shape, axis, 0)
    _store(builder, node.output[0], np.clip(steps, limits.min, limits.max).astype(zero.dtype))
    return True


def _store(builder: NodeBuilder, name: str, value: np.ndarray) -> None:
    """Make the tensor `name` a constant, through an Identity, since other graphs may use the name."""
    result = builder.constant(value, f"{name}_stored")
    builder.constants[name] = builder.constants[result]
    builder.add("Identity", [result], name, output=name)


def _bits(node: onnx.NodeProto, builder: NodeBuilder) -> bool:
    """A @ B' with B [N, K] stored in blocks along K, as integers of 4 or 8 bits, the lowest bits first."""
    own, reads = attributes(node), [*node.input, "", "", ""]
    packed, scale = builder.value(reads[1]), builder.value(reads[2])
    rows, columns, bits, block = own["N"], own["K"], own.get("bits", 4), own["block_size"]
    if packed is None or scale is None or bits not in (4, 8) or reads[4]:
        return False
    blocks = -(-columns // block)
    zeros = np.full((rows, blocks), 1 << (bits - 1), np.float32)
    if reads[3]:
        stored = builder.value(reads[3])
        if stored is None:
            return False
        zeros = stored.astype(np.float32).reshape(rows, blocks) if stored.dtype.kind == "f" else zeros
        if stored.dtype == np.uint8:
            zeros = _unpacked(stored.reshape(rows, -1), bits)[:, :blocks].astype(np.float32)
    value = _unpacked(packed.reshape(rows, blocks, -1), bits)[..., :block].astype(np.float32)
    value = (value - zeros[..., None]) * scale.astype(np.float32).reshape(rows, blocks, 1)
    weights = builder.constant(
        np.ascontiguousarray(value.reshape(rows, -1)[:, :columns].T).astype(scale.dtype), f"{reads[1]}_float"
    )
    out = node.output[0]
    result = builder.add("MatMul", [reads[0], weights], out, output=None if reads[5] else out)
    if reads[5]:
        builder.add("Add", [result, reads[5]], out, output=out)
    return True


def _unpacked(packed: np.ndarray, bits: int) -> np.ndarray:
    if bits == 8:
        return packed
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], -1)
