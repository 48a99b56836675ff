"""Replace ONNX Runtime's fused operators (domain com.microsoft) by standard ones.

ONNX Runtime writes them when it saves an optimized model (`optimized_model_filepath`), and its transformer optimizer
does, too. No other runtime reads them, and no quantizer finds a layer in them.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from . import rewrite
from .files import attributes
from .rewrite import NodeBuilder, plain_attributes

if TYPE_CHECKING:
    import onnx

DOMAIN = "com.microsoft"

ACTIVATIONS: dict[str, tuple[str, ...]] = {
    "Relu": (), "Sigmoid": (), "Tanh": (), "Softplus": (), "Softsign": (), "HardSwish": (), "LeakyRelu": ("alpha",),
    "Elu": ("alpha",), "ThresholdedRelu": ("alpha",), "HardSigmoid": ("alpha", "beta"), "Clip": ("min", "max"),
}  # fmt: skip
"""Activations that a fused operator names in an attribute, and the names of their parameters, in order."""


def apply(model: onnx.ModelProto) -> dict[str, int]:
    """Replace the fused operators of `model` in place. Returns their numbers by type.

    An operator stays if no standard operator computes a part of it (a mask or a cache of an attention).
    """
    return rewrite.apply(model, _TABLE)


def layer_norms(model: onnx.ModelProto) -> dict[str, int]:
    """Replace LayerNormalization before operator set 17, and SimplifiedLayerNormalization, in place.

    ONNX Runtime writes both into the standard domain, where onnx.checker refuses them.
    """
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
    table: dict[rewrite.Key, rewrite.Expand] = {}
    for domain in ("", "ai.onnx"):
        table[domain, "SimplifiedLayerNormalization"] = _layer_normalization
        if opset < 17:
            table[domain, "LayerNormalization"] = _layer_normalization
    return rewrite.apply(model, table)


def _conv(node: onnx.NodeProto, builder: NodeBuilder) -> bool:
    """activation(Conv(X, W, B) + Z)."""
    attrs = plain_attributes(node, "activation", "activation_params")
    name, own = node.output[0], attributes(node)
    steps = [("Conv", list(node.input[:3]), attrs)]
    if len(node.input) > 3 and node.input[3]:
        steps.append(("Add", [node.input[3]], {}))
    return _chain(builder, steps, _activation(own.get("activation"), list(own.get("activation_params", ()))), name)


def _gemm(node: onnx.NodeProto, builder: NodeBuilder) -> bool:
    own = attributes(node)
    attrs = plain_attributes(node, "activation", "activation_alpha", "activation_beta", "activation_gamma")
    values = [own[key] for key in ("activation_alpha", "activation_beta", "activation_gamma") if key in own]
    return _chain(
        builder, [("Gemm", list(node.input), attrs)], _activation(own.get("activation"), values), node.output[0]
    )


def _mat_mul(node: onnx.NodeProto, builder: NodeBuilder) -> bool:
    """alpha * A' @ B', where ' is a transposition by the attributes: of the last two axes, or batch and rows."""
    own = attributes(node)
    reads = []
    for name, letter in zip(node.input, "AB"):
        read = _transposed(name, bool(own.get(f"trans{letter}")), bool(own.get(f"transBatch{letter}")), builder)
        if read is None:
            return False
        reads.append(read)
    steps: list[tuple[str, list[str], dict[str, Any]]] = [("MatMul", reads, {})]
    if own.get("alpha", 1.0) != 1.0:
        steps.append(("Mul", [builder.constant(np.float32(own["alpha"]), f"{node.output[0]}_alpha")], {}))
    values = [own[key] for key in ("activation_alpha", "activation_beta", "activation_gamma") if key in own]
    return _chain(builder, steps, _activation(own.get("activation"), values), node.output[0])


def _transposed(name: str, swap: bool, batch: bool, builder: NodeBuilder) -> str | None:
    """The tensor `name` as the product reads it; None if its rank is unknown."""
    rank = builder.rank(name) if swap or batch else 0
    if rank is None:
        return None
    axes = list(range(rank))
    if batch and rank > 2:
        axes = [*axes[1:-1], 0, axes[-1]]
    if swap and rank > 1:
        axes[-1], axes[-2] = axes[-2], axes[-1]
    if axes == list(range(rank)):
        return name
    value = builder.value(name)
    if value is not None:
        return builder.constant(np.ascontiguousarray(value.transpose(axes)), f"{name}_transposed")
    return builder.add("Transpose", [name], name, perm=axes)


def _gelu(node: onnx.NodeProto, builder: NodeBuilder) -> bool:
    """x / 2 * (1 + erf(x / sqrt(2))), with x = A + B for two inputs."""
    x, out = _sum(node.input, builder, node.output[0]), node.output[0]
    if builder.opset >= 20:
        builder.add("Gelu", [x], out, output=out)
        return True
    scaled = builder.add("Div", [x, builder.constant(np.float32(math.sqrt(2)), "gelu_root")], out)
    _half_of_one_plus(builder, x, builder.add("Erf", [scaled], out), out)
    return True


def _fast_gelu(node: onnx.NodeProto, builder: NodeBuilder) -> bool:
    """x / 2 * (1 + tanh(x * (sqrt(2 / pi) + 0.044715 * sqrt(2 / pi) * x * x)))."""
    x, out = _sum(node.input, builder, node.output[0]), node.output[0]
    if builder.opset >= 20:
        builder.add("Gelu", [x], out, output=out, approximate="tanh")
        return True
    root = math.sqrt(2 / math.pi)
    square = builder.add("Mul", [x, x], out)
    cubic = builder.add("Mul", [square, builder.constant(np.float32(0.044715 * root), "gelu_cubic")], out)
    inner = builder.add("Add", [cubic, builder.constant(np.float32(root), "gelu_linear")], out)
    _half_of_one_plus(builder, x, builder.add("Tanh", [builder.add("Mul", [x, inner], out)], out), out)
    return True


def _half_of_one_plus(builder: NodeBuilder, x: str, part: str, out: str) -> None:
    one = builder.add("Add", [part, builder.constant(np.float32(1), "gelu_one")], out)
    both = builder.add("Mul", [x, one], out)
    builder.add("Mul", [both, builder.constant(np.float32(0.5), "gelu_half")], out, output=out)


def _quick_gelu(node: onnx.NodeProto, builder: NodeBuilder) -> bool:
    """x * sigmoid(alpha * x); with alpha 1 it is SiLU."""
    x, out, alpha = node.input[0], node.output[0], attributes(node).get("alpha", 1.702)
    scaled = x if alpha == 1.0 else builder.add("Mul", [x, builder.constant(np.float32(alpha), f"{out}_alpha")], out)
    builder.add("Mul", [x, builder.add("Sigmoid", [scaled], out)], out, output=out)
    return True


def _bias_add(node: onnx.NodeProto, builder: NodeBuilder) -> bool:
    x, bias, skip = node.input
    builder.add("Add", [builder.add("Add", [x, bias], node.output[0]), skip], node.output[0], output=node.output[0])
    return True


def _bias_softmax(node: onnx.NodeProto, builder: NodeBuilder) -> bool:
    axis, rank = attributes(node).get("axis", 1), builder.rank(node.input[0])
    if axis not in (-1, None if rank is None else rank - 1):
        return False  # a softmax over several axes, as before operator set 13
    total = _sum(node.input, builder, node.output[0])
    builder.add("Softmax", [total], node.output[0], output=node.output[0], axis=axis)
    return True


def _skip_layer_norm(node: onnx.NodeProto, builder: NodeBuilder) -> bool:
    """A normalization of input + skip + bias; the sum may be an output, too."""
    simple, out = node.op_type.startswith("SkipSimplified"), node.output[0]
    reads = [*node.input, "", ""]
    gamma, beta, bias = (reads[2], "", reads[3]) if simple else (reads[2], reads[3], reads[4])
    sums = node.output[3] if len(node.output) > 3 else ""
    if any(node.output[1:3]):
        return False
    total = builder.add("Add", list(node.input[:2]), out, output=None if bias else sums or None)
    if bias:
        total = builder.add("Add", [total, bias], out, output=sums or None)
    _normalize(builder, (total, gamma, beta), attributes(node).get("epsilon", 1e-12), simple, out)
    return True


def _layer_normalization(node: onnx.NodeProto, builder: NodeBuilder) -> bool:
    own = attributes(node)
    rank = builder.rank(node.input[0]) if own.get("axis", -1) != -1 else None
    if any(node.output[1:]) or own.get("axis", -1) not in (-1, None if rank is None else rank - 1):
        return False
    reads = [*node.input, ""]
    simple = node.op_type.startswith("Simplified")
    _normalize(builder, (reads[0], reads[1], reads[2]), own.get("epsilon", 1e-5), simple, node.output[0])
    return True


def _normalize(builder: NodeBuilder, given: tuple[str, str, str], epsilon: float, simple: bool, out: str) -> None:
    """LayerNorm over the last axis of x, `given` as (x, gamma, beta); `simple`: without the mean (RMSNorm)."""
    x, gamma, beta = given
    if builder.opset >= 17 and not simple:
        reads = [x, gamma, beta] if beta else [x, gamma]
        builder.add("LayerNormalization", reads, out, output=out, axis=-1, epsilon=epsilon)
        return
    centred = x if simple else builder.add("Sub", [x, _mean(builder, x, out)], out)
    variance = _mean(builder, builder.add("Mul", [centred, centred], out), out)
    sound = builder.add("Add", [variance, builder.constant(np.float32(epsilon), f"{out}_epsilon")], out)
    scaled = builder.add("Div", [centred, builder.add("Sqrt", [sound], out)], out)
    builder.add("Mul", [scaled, gamma], out, output=None if beta else out)
    if beta:
        builder.add("Add", [builder.nodes[-1].output[0], beta], out, output=out)


def _mean(builder: NodeBuilder, x: str, out: str) -> str:
    if builder.opset < 18:
        return builder.add("ReduceMean", [x], out, axes=[-1], keepdims=1)
    return builder.add("ReduceMean", [x, builder.constant(np.array([-1]), f"{out}_axis")], out, keepdims=1)


def _attention(node: onnx.NodeProto, builder: NodeBuilder) -> bool:
    """Attention without mask and cache. Q, K and V come from one product, or (MultiHeadAttention) are the inputs."""
    own, out = attributes(node), node.output[0]
    heads, joint = own["num_heads"], node.op_type == "Attention"
    if any(node.input[3:]) or any(node.output[1:]) or own.get("unidirectional") or own.get("do_rotary"):
        return False
    if joint:
        weights = builder.value(node.input[1])
        sizes = [int(n) for n in own.get("qkv_hidden_sizes", ())]
        sizes = sizes or ([weights.shape[1] // 3] * 3 if weights is not None else [])
        if not sizes:
            return False
        product = builder.add("MatMul", list(node.input[:2]), out)
        product = (
            builder.add("Add", [product, node.input[2]], out) if len(node.input) > 2 and node.input[2] else product
        )
        starts = np.cumsum([0, *sizes])
        parts = [_cut(builder, product, int(a), int(b), out) for a, b in itertools.pairwise(starts)]
        size: int | None = sizes[0]
    else:
        parts, size = [name for name in node.input if name], None
        if len(parts) != 3 or any(builder.rank(name) != 3 for name in parts):
            return False
    return _attend(builder, parts, heads, own.get("scale", 0.0), size, out)


def _cut(builder: NodeBuilder, name: str, start: int, end: int, out: str) -> str:
    """A slice of the last of the three axes of `name`."""
    bounds = [builder.constant(np.array([n]), f"{out}_slice") for n in (start, end, 2)]
    return builder.add("Slice", [name, *bounds], out)


def _attend(builder: NodeBuilder, parts: list[str], heads: int, scale: float, size: int | None, out: str) -> bool:
    """softmax(Q K' * scale) V over `heads`, from [batch, tokens, `size`] each; `scale` 0: 1 / sqrt(size of a head)."""
    if not scale:
        if size is None:
            return False
        scale = 1 / math.sqrt(size // heads)
    split = builder.constant(np.array([0, 0, heads, -1]), f"{out}_heads")
    q, k, v = (builder.add("Reshape", [part, split], out) for part in parts)
    q, v = (builder.add("Transpose", [part], out, perm=[0, 2, 1, 3]) for part in (q, v))
    k = builder.add("Transpose", [k], out, perm=[0, 2, 3, 1])
    products = builder.add("MatMul", [q, k], out)
    scaled = builder.add("Mul", [products, builder.constant(np.float32(scale), f"{out}_scale")], out)
    found = builder.add("MatMul", [builder.add("Softmax", [scaled], out, axis=3), v], out)
    found = builder.add("Transpose", [found], out, perm=[0, 2, 1, 3])
    builder.add("Reshape", [found, builder.constant(np.array([0, 0, -1]), f"{out}_joined")], out, output=out)
    return True


def _standard(node: onnx.NodeProto, builder: NodeBuilder) -> bool:
    """Operators that later became standard with the same meaning."""
    since = {"Trilu": 14, "Pad": 11}[node.op_type]
    if builder.opset < since:
        return False
    builder.add(node.op_type, list(node.input), node.output[0], output=node.output[0], **attributes(node))
    return True


def _sum(reads: Any, builder: NodeBuilder, out: str) -> str:
    found = [name for name in reads if name]
    return found[0] if len(found) == 1 else builder.add("Add", found[:2], out)


def _activation(name: bytes | None, values: list[float]) -> list[tuple[str, list[str], dict[str, Any]]] | None:
    """The step of the activation `name`; None for an unknown one."""
    if not name:
        return []
    operator = name.decode()
    if operator not in ACTIVATIONS:
        return None
    return [(operator, [], dict(zip(ACTIVATIONS[operator], values)))]


def _chain(
    builder: NodeBuilder, steps: list[tuple[str, list[str], dict[str, Any]]],
    last: list[tuple[str, list[str], dict[str, Any]]] | None, out: str,
) -> bool:  # fmt: skip
    """Add a chain of steps: each reads the output of the one before, and its own inputs."""
    if last is None:
        return False
    steps, previous = [*steps, *last], ""
    for index, (operator, others, attrs) in enumerate(steps):
        reads = [previous, *others] if previous else others
        if operator == "HardSwish" and builder.opset < 14:
            return False
        if operator == "Clip" and builder.opset >= 11:
            limits = [builder.constant(np.float32(v), f"{out}_{k}") for k, v in attrs.items()]
            previous = builder.add(operator, [*reads, *limits], out, output=out if index == len(steps) - 1 else None)
        else:
            previous = builder.add(operator, reads, out, output=out if index == len(steps) - 1 else None, **attrs)
    return True


_TABLE: dict[rewrite.Key, rewrite.Expand] = {
    (DOMAIN, operator): expand
    for operator, expand in {
        "FusedConv": _conv, "FusedGemm": _gemm, "FusedMatMul": _mat_mul, "TransposeMatMul": _mat_mul,
        "FusedMatMulActivation": _mat_mul, "Gelu": _gelu, "BiasGelu": _gelu, "FastGelu": _fast_gelu,
        "QuickGelu": _quick_gelu, "BiasAdd": _bias_add, "BiasSoftmax": _bias_softmax,
        "SkipLayerNormalization": _skip_layer_norm, "SkipSimplifiedLayerNormalization": _skip_layer_norm,
        "Attention": _attention, "MultiHeadAttention": _attention, "Trilu": _standard, "Pad": _standard,
    }.items()
}  # fmt: skip
