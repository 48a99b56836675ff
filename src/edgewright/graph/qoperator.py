"""Convert files of quantized operators ("QOperator": QLinearConv and similar) to Q/DQ pairs around float operators.

Both forms mean the same. Every runtime reads Q/DQ pairs, but only ONNX Runtime has all quantized operators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import rewrite
from .files import attributes, refill
from .rewrite import NodeBuilder, plain_attributes

if TYPE_CHECKING:
    import onnx

MINIMUM = 13
"""The first operator set in which DequantizeLinear has a scale per channel."""

PASS = frozenset(
    {
        "MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Slice", "Gather", "Expand",
        "Tile", "DepthToSpace", "SpaceToDepth", "Resize", "Split",
    }
)  # fmt: skip
"""Operators that only move values: they do the same to integers and to the numbers that these represent."""


class Grid(NamedTuple):
    """The names of a scale and of a zero point."""

    scale: str
    zero: str


def apply(model: onnx.ModelProto) -> dict[str, int]:
    """Rewrite the quantized operators of `model` as Q/DQ pairs around float ones, in place. Returns the number of each.

    Operators between them that only move integers get Q/DQ pairs, too. A file with an operator set below `MINIMUM` must
    be converted to it afterwards.
    """
    found = rewrite.apply(model, _TABLE)
    if sum(found.values()) - found.get("QuantizeLinear", 0) - found.get("DequantizeLinear", 0):
        _pass_on(model)
    return found


def _dequantized(builder: NodeBuilder, name: str, grid: Grid, axis: int | None = None) -> str:
    """The float tensor that the integers `name` represent; one DequantizeLinear for all readers."""
    key = (name, grid)
    if key not in builder.memory:
        attrs: dict[str, Any] = {}
        scale = builder.value(grid.scale)
        if axis is not None and scale is not None and scale.ndim == 1 and scale.size > 1:
            attrs = {"axis": axis}
        else:
            grid = _as_scalars(builder, grid)
        reads = [name, grid.scale] + ([grid.zero] if grid.zero else [])
        builder.memory[key] = builder.add("DequantizeLinear", reads, name, **attrs)
    return builder.memory[key]


def _as_scalars(builder: NodeBuilder, grid: Grid) -> Grid:
    """A scale and a zero point of shape [1] as scalars: with one element the axis would matter."""
    return Grid(_as_scalar(builder, grid.scale), _as_scalar(builder, grid.zero))


def _as_scalar(builder: NodeBuilder, name: str) -> str:
    value = builder.value(name) if name else None
    if value is None or value.ndim != 1 or value.size != 1:
        return name
    if ("scalar", name) not in builder.memory:
        builder.memory["scalar", name] = builder.constant(value.reshape(()), name)
    return builder.memory["scalar", name]


def _quantized(builder: NodeBuilder, name: str, grid: Grid, output: str, like: str = "") -> None:
    """Quantize the float tensor `name` to `output`. Without a zero point, its type is that of the zero `like`."""
    zero = grid.zero
    if not zero and like and (value := builder.value(like)) is not None:
        zero = builder.constant(np.zeros((), value.dtype), f"{output}_zero")
    grid = _as_scalars(builder, Grid(grid.scale, zero))
    builder.add("QuantizeLinear", [name, grid.scale] + ([grid.zero] if grid.zero else []), output, output=output)


def _bias(builder: NodeBuilder, name: str, scale: np.ndarray, out: str) -> str:
    """The float bias of the int32 constant (or tensor) `name`, through a DequantizeLinear."""
    scale = np.asarray(scale, np.float32)
    grid = Grid(builder.constant(scale if scale.size > 1 else scale.reshape(()), f"{out}_bias_scale"), "")
    return _dequantized(builder, name, grid, 0)


def _conv(node: onnx.NodeProto, builder: NodeBuilder) -> bool:
    x, xs, xz, w, ws, wz, ys, yz = node.input[:8]
    scales = [builder.value(name) for name in (xs, ws)]
    reads = [_dequantized(builder, x, Grid(xs, xz)), _dequantized(builder, w, Grid(ws, wz), 0)]
    if len(node.input) > 8 and node.input[8]:
        if scales[0] is None or scales[1] is None:
            return False
        reads.append(_bias(builder, node.input[8], scales[0].reshape(-1) * scales[1], node.output[0]))
    result = builder.add("Conv", reads, node.output[0], **plain_attributes(node, "channels_last"))
    _quantized(builder, result, Grid(ys, yz), node.output[0], xz)
    return True


def _mat_mul(node: onnx.NodeProto, builder: NodeBuilder) -> bool:
    a, a_s, az, b, bs, bz, ys, yz = node.input
    value, scales = builder.value(b), (builder.value(a_s), builder.value(bs))
    if scales[0] is None or scales[0].size != 1 or scales[1] is None or (value is None and scales[1].size != 1):
        return False  # a scale per row
    reads = [
        _dequantized(builder, a, Grid(a_s, az)),
        _dequantized(builder, b, Grid(bs, bz), None if value is None else value.ndim - 1),
    ]
    _quantized(builder, builder.add("MatMul", reads, node.output[0]), Grid(ys, yz), node.output[0], az)
    return True


def _gemm(node: onnx.NodeProto, builder: NodeBuilder) -> bool:
    reads = [*node.input, "", "", ""]
    a, a_s, az, b, bs, bz, c, ys, yz = reads[:9]
    own = attributes(node)
    scales = [builder.value(name) for name in (a_s, bs)]
    if scales[0] is None or scales[1] is None:
        return False
    floats = [
        _dequantized(builder, a, Grid(a_s, az)), _dequantized(builder, b, Grid(bs, bz), 0 if own.get("transB") else 1),
    ]  # fmt: skip
    if c:
        alpha = np.float32(own.get("alpha", 1.0))
        value = builder.value(c)
        if value is None:
            return False
        flat = value.reshape(-1) if value.ndim == 2 and value.shape[0] == 1 else value
        if flat is not value:
            c = builder.constant(flat, f"{c}_flat")
        scale = scales[0].reshape(-1) * scales[1].reshape(-1) * alpha
        if flat.ndim != 1 and scale.size > 1:
            return False
        floats.append(_bias(builder, c, scale, node.output[0]))
    result = builder.add("Gemm", floats, node.output[0], output=None if ys else node.output[0], **own)
    if ys:
        _quantized(builder, result, Grid(ys, yz), node.output[0], az)
    return True


def _binary(operator: str) -> rewrite.Expand:
    def expand(node: onnx.NodeProto, builder: NodeBuilder) -> bool:
        a, a_s, az, b, bs, bz, ys, yz = [*node.input, ""][:8]
        floats = [_dequantized(builder, a, Grid(a_s, az)), _dequantized(builder, b, Grid(bs, bz))]
        _quantized(builder, builder.add(operator, floats, node.output[0]), Grid(ys, yz), node.output[0], az or bz)
        return True

    return expand


def _unary(operator: str) -> rewrite.Expand:
    def expand(node: onnx.NodeProto, builder: NodeBuilder) -> bool:
        x, xs, xz, ys, yz = [*node.input, ""][:5]
        own = plain_attributes(node, "channels_last", "opset")
        last = bool(attributes(node).get("channels_last"))
        result = _dequantized(builder, x, Grid(xs, xz))
        if operator == "Softmax" and (attributes(node).get("opset", 13) < 13) != (builder.opset < 13):
            return False  # `axis` has another meaning
        if operator == "ReduceMean" and "axes" in own and builder.opset >= 18:
            axes = builder.constant(np.array(own.pop("axes"), np.int64), f"{node.output[0]}_axes")
            result = builder.add(operator, [result, axes], node.output[0], **own)
        elif last:
            result = builder.add("Transpose", [result], node.output[0], perm=[0, 3, 1, 2])
            result = builder.add(operator, [result], node.output[0], **own)
            result = builder.add("Transpose", [result], node.output[0], perm=[0, 2, 3, 1])
        else:
            result = builder.add(operator, [result], node.output[0], **own)
        _quantized(builder, result, Grid(ys, yz), node.output[0], xz)
        return True

    return expand


def _concat(node: onnx.NodeProto, builder: NodeBuilder) -> bool:
    triplets = [list(node.input[start : start + 3]) for start in range(2, len(node.input), 3)]
    floats = [_dequantized(builder, x, Grid(scale, zero)) for x, scale, zero in triplets]
    result = builder.add("Concat", floats, node.output[0], **attributes(node))
    _quantized(builder, result, Grid(node.input[0], node.input[1]), node.output[0])
    return True


def _where(node: onnx.NodeProto, builder: NodeBuilder) -> bool:
    condition, x, xs, xz, y, ys, yz, zs, zz = node.input
    floats = [_dequantized(builder, x, Grid(xs, xz)), _dequantized(builder, y, Grid(ys, yz))]
    _quantized(builder, builder.add("Where", [condition, *floats], node.output[0]), Grid(zs, zz), node.output[0])
    return True


def _standard(node: onnx.NodeProto, builder: NodeBuilder) -> bool:
    """ONNX Runtime's own QuantizeLinear and DequantizeLinear, if the standard ones support the type."""
    value = builder.value(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    eight = value is None or value.dtype in (np.int8, np.uint8)
    if not eight and builder.opset < 21:
        return False
    builder.add(node.op_type, list(node.input), node.output[0], output=node.output[0], **attributes(node))
    return True


_TABLE: dict[rewrite.Key, rewrite.Expand] = {("", "QLinearConv"): _conv, ("", "QLinearMatMul"): _mat_mul} | {
    ("com.microsoft", operator): expand
    for operator, expand in {
        "QGemm": _gemm, "QLinearAdd": _binary("Add"), "QLinearMul": _binary("Mul"), "QLinearConcat": _concat,
        "QLinearWhere": _where, "QLinearLeakyRelu": _unary("LeakyRelu"), "QLinearSigmoid": _unary("Sigmoid"),
        "QLinearSoftmax": _unary("Softmax"), "QLinearReduceMean": _unary("ReduceMean"),
        "QLinearAveragePool": _unary("AveragePool"), "QLinearGlobalAveragePool": _unary("GlobalAveragePool"),
        "QuantizeLinear": _standard, "DequantizeLinear": _standard, "QLinearConv": _conv,
    }.items()
}  # fmt: skip


def _pass_on(model: onnx.ModelProto) -> None:
    """Make operators that move integers move floats: add a DequantizeLinear before and a QuantizeLinear after."""
    graph, builder = model.graph, NodeBuilder(model)
    grids = {n.output[0]: Grid(*[*n.input[1:], ""][:2]) for n in graph.node if n.op_type == "QuantizeLinear"}
    for node in graph.node:
        grid = grids.get(node.input[0]) if node.input else None
        if grid is None or not _moves(node):
            builder.nodes.append(node)
            continue
        node.input[0] = _dequantized(builder, node.input[0], grid)
        outputs = [name for name in node.output if name]
        builder.nodes.append(node)
        for index, name in enumerate(outputs):
            grids[name] = grid
            node.output[index] = builder.free(f"{name}_float")
            _quantized(builder, node.output[index], grid, name)
    refill(graph.node, builder.nodes)
    del graph.value_info[:]  # they describe the integers


def _moves(node: onnx.NodeProto) -> bool:
    if node.op_type == "Resize":
        return bool(attributes(node).get("mode", b"nearest") == b"nearest")
    if node.op_type == "MaxPool" and len([name for name in node.output if name]) > 1:
        return False
    return node.op_type in PASS and node.domain in ("", "ai.onnx")
