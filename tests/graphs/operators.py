"""What networks are generated of: each function adds some operators to a network, as drawn. Loaded by path.

A step takes a map (1, channels, rows, columns) and gives one; a head takes a map and gives class scores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

Pick = Callable[[Sequence[Any]], Any]
Step = Callable[[Any, Any, Pick], Any]
STEPS: dict[str, tuple[int, Step]] = {}
"""By name: the first operator set that has it, and what adds it."""
HEADS: dict[str, tuple[int, Step]] = {}


def _add(table: dict[str, tuple[int, Step]], since: int = 7) -> Callable[[Step], Step]:
    def register(step: Step) -> Step:
        table[step.__name__] = (since, step)
        return step

    return register


@_add(STEPS)
def conv(net: Any, x: Any, pick: Pick) -> Any:
    group = pick((1, 1, 1, 2)) if x.channels % 2 == 0 else 1
    kernel, stride, dilation = pick(((3, 1, 1), (1, 1, 1), (3, 2, 1), (3, 1, 2), (5, 1, 1), (2, 2, 1)))
    auto = pick(("", "", "SAME_UPPER", "SAME_LOWER", "VALID"))
    if (auto == "VALID" and min(x.shape[2:]) < 6) or (auto.startswith("SAME") and dilation > 1):
        auto = ""
    return net.conv(x, pick((16, 20, 24)), kernel, stride if min(x.shape[2:]) > 4 else 1, dilation, group,
                    pick((True, False)), auto, pick((True, False)), pick((False, False, True)))  # fmt: skip


@_add(STEPS)
def depthwise(net: Any, x: Any, pick: Pick) -> Any:
    return net.relu(net.conv(x, x.channels * pick((1, 2)), 3, group=x.channels, bias=pick((True, False))))


@_add(STEPS)
def conv_and_norm(net: Any, x: Any, pick: Pick) -> Any:
    return net.relu(net.batch_norm(net.conv(x, 16, pick((1, 3)), bias=pick((True, False)))))


@_add(STEPS)
def norm_first(net: Any, x: Any, pick: Pick) -> Any:
    return net.conv(net.relu(net.batch_norm(x)), 16, 3)


@_add(STEPS)
def transposed(net: Any, x: Any, pick: Pick) -> Any:
    group = pick((1, 2)) if x.channels % 2 == 0 else 1
    per, (_, channels, rows, columns) = 16 // group, x.shape
    read = [x.name, net.weights(channels, per, 2, 2, fan=channels // group)]
    if pick((True, False)):
        read.append(net.bias(16))
    form = pick(("plain", "output_padding", "output_shape", "dilations", "auto_pad", "stride1"))
    told: dict[str, Any] = {"group": group, "strides": [2, 2]}
    out = (rows * 2, columns * 2)
    if form == "output_padding":
        told["output_padding"], out = [1, 1], (rows * 2 + 1, columns * 2 + 1)
    elif form == "output_shape":
        told["output_shape"] = list(out)
    elif form == "dilations":
        told["dilations"], out = [2, 2], (rows * 2 + 1, columns * 2 + 1)
    elif form == "auto_pad":
        told["auto_pad"] = pick(("SAME_UPPER", "SAME_LOWER"))
    elif form == "stride1":
        told["strides"], out = [1, 1], (rows + 1, columns + 1)
    made = net.node("ConvTranspose", read, (1, 16, *out), **told)
    return made if max(out) < 20 else net.pool(made, "MaxPool", 2, 2)


@_add(STEPS)
def clipped(net: Any, x: Any, pick: Pick) -> Any:
    low, high = pick(((0, 6), (None, 2), (-1, None), (-0.5, 1.5), (0, 1)))
    return net.clip(net.conv(x, 16, 3), low, high, pick((True, False)))


@_add(STEPS)
def activation(net: Any, x: Any, pick: Pick) -> Any:
    made = net.conv(x, 16, 3) if pick((True, True, False)) else x
    kinds: list[tuple[str, dict[str, float]]] = [
        ("Relu", {}), ("LeakyRelu", {"alpha": 0.1}), ("Elu", {"alpha": 0.7}), ("Sigmoid", {}), ("Tanh", {}),
        ("Selu", {}), ("HardSigmoid", {"alpha": 0.2, "beta": 0.5}), ("Softplus", {}), ("Softsign", {}),
        ("ThresholdedRelu", {"alpha": 0.2}),
    ]  # fmt: skip
    kinds += [("Celu", {})] * (net.opset >= 12) + [("HardSwish", {})] * (net.opset >= 14)
    kinds += [("Mish", {})] * (net.opset >= 18) + [("Gelu", {})] * (net.opset >= 20)
    kinds = [kind for kind in kinds if kind[0] != "ThresholdedRelu" or net.opset >= 10]
    operator, told = pick(kinds)
    return net.node(operator, [made], made.shape, **told)


@_add(STEPS)
def prelu(net: Any, x: Any, pick: Pick) -> Any:
    made = net.conv(x, 16, 1)
    shape = pick(((16, 1, 1), (1,), (1, 1, 1)))
    return net.node("PRelu", [made, net.constant(np.full(shape, 0.2))], made.shape)


@_add(STEPS)
def gated(net: Any, x: Any, pick: Pick) -> Any:
    made = net.conv(x, 16, 3)
    gate = net.node(pick(("Sigmoid", "HardSigmoid", "Tanh")), [made], made.shape)
    return net.node("Mul", [made, gate] if pick((True, False)) else [gate, made], made.shape)


@_add(STEPS)
def squeeze_and_excite(net: Any, x: Any, pick: Pick) -> Any:
    x = net.relu(net.conv(x, 16, 3))
    pool = pick(("GlobalAveragePool", "GlobalMaxPool", "ReduceMean"))
    one = net.reduce(pool, x, 2, 3) if pool == "ReduceMean" else net.node(pool, [x], (1, 16, 1, 1))
    gate = net.conv(net.relu(net.conv(one, 16, 1)), 16, 1)
    return net.node("Mul", [x, net.node(pick(("Sigmoid", "HardSigmoid")), [gate], gate.shape)], x.shape)


@_add(STEPS)
def max_pool(net: Any, x: Any, pick: Pick) -> Any:
    if min(x.shape[2:]) < 4:
        return net.relu(x)
    told = {"ceil_mode": 1} if net.opset >= 10 and pick((True, False)) else {}
    kernel, stride, pads = pick(((2, 2, 0), (3, 2, 1), (3, 1, 1)))
    return net.pool(x, "MaxPool", kernel, stride, pads, **told)


@_add(STEPS)
def average_pool(net: Any, x: Any, pick: Pick) -> Any:
    if min(x.shape[2:]) < 4:
        return x
    told: dict[str, int] = {"ceil_mode": 1} if net.opset >= 10 and pick((True, False)) else {}
    kernel, stride, pads = pick(((2, 2, 0), (3, 2, 1), (3, 1, 1)))
    return net.pool(x, "AveragePool", kernel, stride, pads, count_include_pad=pick((0, 1)), **told)


@_add(STEPS)
def residual(net: Any, x: Any, pick: Pick) -> Any:
    inner = net.conv(net.relu(net.conv(x, 16, 3)), x.channels, pick((1, 3)))
    both = [inner, x] if pick((True, False)) else [x, inner]
    return net.relu(net.node(pick(("Add", "Add", "Sum")), both, x.shape))


@_add(STEPS)
def joined(net: Any, x: Any, pick: Pick) -> Any:
    parts = [net.conv(x, 16, 3), x if pick((True, False)) else net.relu(net.conv(x, 16, 1))]
    if pick((True, False)):
        fixed = (1, 2, *x.shape[2:])
        parts.insert(1, type(x)(net.constant(net.random.uniform(0, 1, fixed), node=pick((True, False))), fixed))
    return net.node(
        "Concat", parts, (1, sum(p.channels for p in parts), *x.shape[2:]), axis=pick((1, -3)) if net.opset >= 11 else 1
    )


@_add(STEPS)
def divided(net: Any, x: Any, pick: Pick) -> Any:
    x = net.conv(x, 16, 1)
    first, second = net.split(x, pick((8, 4)))
    again = net.conv(second, 16, 3)
    return net.node("Concat", [first, again], (1, first.channels + 16, *x.shape[2:]), axis=1)


@_add(STEPS)
def sliced(net: Any, x: Any, pick: Pick) -> Any:
    axis, step = pick((2, 3, 1)), pick((1, -1, 2))
    if step == -1 and net.opset >= 10:
        return net.conv(net.slice(x, axis, -1, -(2**31), -1), 16, 3)
    if x.shape[axis] < 4:
        return x
    return net.conv(net.slice(x, axis, pick((0, 1)), pick((2**31 - 1, -1)), abs(step)), 16, 3)


@_add(STEPS)
def padded(net: Any, x: Any, pick: Pick) -> Any:
    mode = pick(("constant", "reflect", "edge", "constant"))
    if min(x.shape[2:]) < 3 or max(x.shape[2:]) > 16:
        return x
    return net.conv(net.pad(x, mode, 1, pick((0.0, 0.5)) if mode == "constant" else 0.0), 16, 3, auto_pad="VALID")


@_add(STEPS)
def resized(net: Any, x: Any, pick: Pick) -> Any:
    mode = pick(("nearest", "linear", "cubic")) if net.opset >= 11 else pick(("nearest", "linear"))
    modes = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"] + ["half_pixel_symmetric"] * (
        net.opset >= 19
    )
    coordinates, nearest = pick(modes), pick(("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"))
    larger = max(x.shape[2:]) <= 10
    if not larger and (min(x.shape[2:]) < 4 or net.opset == 9 or net.opset < 9):
        return x
    even = all(side % 2 == 0 for side in x.shape[2:])
    made = net.resize(x, mode, coordinates, nearest, 2.0 if larger else 0.5, pick((True, False)) and (larger or even))
    return net.conv(made, 16, pick((1, 3)))


@_add(STEPS)
def depth_to_space(net: Any, x: Any, pick: Pick) -> Any:
    if max(x.shape[2:]) > 10:
        if any(side % 2 for side in x.shape[2:]):
            return x
        rows, columns = (side // 2 for side in x.shape[2:])
        return net.conv(net.node("SpaceToDepth", [x], (1, 4 * x.channels, rows, columns), blocksize=2), 16, 3)
    x = net.conv(x, 16 * 4, 1)
    told = {"mode": pick(("DCR", "CRD"))} if net.opset >= 11 else {}
    return net.node("DepthToSpace", [x], (1, 16, 2 * x.shape[2], 2 * x.shape[3]), blocksize=2, **told)


@_add(STEPS)
def shuffled(net: Any, x: Any, pick: Pick) -> Any:
    x = net.conv(x, 16, 1)
    _, _, rows, columns = x.shape
    turned = net.transpose(net.reshape(x, 1, 2, 8, rows, columns), 0, 2, 1, 3, 4)
    return net.conv(net.reshape(turned, 1, 16, rows, columns), 16, 3, group=pick((1, 2)))


@_add(STEPS)
def instance_norm(net: Any, x: Any, pick: Pick) -> Any:
    x = net.conv(x, 16, 3)
    return net.node("InstanceNormalization", [x, net.constant(np.ones(16)), net.bias(16)], x.shape)


@_add(STEPS)
def local_response(net: Any, x: Any, pick: Pick) -> Any:
    return net.conv(net.node("LRN", [x], x.shape, size=3), 16, 3)


@_add(STEPS)
def per_channel(net: Any, x: Any, pick: Pick) -> Any:
    operator, n = pick(("Mul", "Add", "Sub", "Div")), x.channels
    value = net.constant(
        net.random.uniform(0.5, 1.5, pick(((1, n, 1, 1), (n, 1, 1), (1,), ()))), node=pick((True, False))
    )
    return net.conv(
        net.node(operator, [x, value] if operator == "Div" or pick((True, False)) else [value, x], x.shape), 16, 3
    )


@_add(STEPS)
def elementwise(net: Any, x: Any, pick: Pick) -> Any:
    x = net.conv(x, 16, 3)
    operator = pick(("Abs", "Neg", "Exp", "Sqrt", "Identity", "Dropout", "Min", "Max", "Pow", "Erf", "Floor"))
    if operator == "Erf" and net.opset < 9:
        operator = "Abs"
    if operator in ("Min", "Max"):
        return net.node(operator, [x, net.conv(x, 16, 1)], x.shape)
    if operator == "Pow":
        return net.node(operator, [net.clip(x, 0, 3), net.constant(1.5)], x.shape)
    if operator in ("Sqrt", "Exp"):
        x = net.clip(x, 0, 2)
    if operator == "Floor":  # which no grid of ranges can follow: what it makes is only gently mixed in
        return net.node(
            "Add", [x, net.node("Mul", [net.node("Floor", [x], x.shape), net.constant(0.05)], x.shape)], x.shape
        )
    return net.node(operator, [x], x.shape)


@_add(STEPS, 9)
def chosen(net: Any, x: Any, pick: Pick) -> Any:
    mask = net.constant(net.random.random((1, 1, *x.shape[2:])) > 0.2, np.bool_)
    return net.conv(net.node("Where", [mask, x, net.constant(0.0)], x.shape), 16, 3)


@_add(STEPS, 8)
def expanded(net: Any, x: Any, pick: Pick) -> Any:
    one = net.node("GlobalAveragePool", [x], (*x.shape[:2], 1, 1))
    wide = net.node("Expand", [one, net.ints(*x.shape)], x.shape)
    return net.conv(net.node("Add", [wide, x], x.shape), 16, 1)


@_add(STEPS)
def gathered(net: Any, x: Any, pick: Pick) -> Any:
    places = [int(i) for i in net.random.permutation(x.channels)]
    return net.conv(net.node("Gather", [x, net.ints(*places)], x.shape, axis=1), 16, 3)


@_add(STEPS)
def line_conv(net: Any, x: Any, pick: Pick) -> Any:
    """A 1-D convolution over all places, one behind the other."""
    _, channels, rows, columns = x.shape
    made = net.conv(net.reshape(x, 1, channels, rows * columns), 16, 3, bias=pick((True, False)))
    return net.reshape(net.relu(made), 1, 16, rows, columns)


@_add(STEPS)
def volume_conv(net: Any, x: Any, pick: Pick) -> Any:
    """A 3-D convolution over a volume of one slice."""
    made = net.conv(net.unsqueeze(x, 2), 16, pick((1, 3)))
    return net.squeeze(net.relu(made), 2)


@_add(STEPS)
def channels_last(net: Any, x: Any, pick: Pick) -> Any:
    """A matrix product with the channels, as TensorFlow's Dense and transformers have it."""
    _, channels, rows, columns = x.shape
    rowwise = net.transpose(x, 0, 2, 3, 1)
    made = net.node("MatMul", [rowwise, net.weights(channels, 16, fan=channels)], (1, rows, columns, 16))
    if pick((True, False)):
        bias = net.bias(*pick(((16,), (1, 16), (1, 1, 1, 16))))
        made = net.node("Add", [made, bias] if pick((True, False)) else [bias, made], made.shape)
    return net.transpose(net.relu(made), 0, 3, 1, 2)


@_add(STEPS, 17)
def layer_norm(net: Any, x: Any, pick: Pick) -> Any:
    _, channels, rows, columns = x.shape
    tokens = net.transpose(net.reshape(x, 1, channels, rows * columns), 0, 2, 1)
    normal = net.node(
        "LayerNormalization", [tokens, net.constant(np.ones(channels)), net.bias(channels)], tokens.shape, axis=-1
    )
    made = net.node("MatMul", [normal, net.weights(channels, 16, fan=channels)], (1, rows * columns, 16))
    return net.reshape(net.transpose(net.node("Add", [made, net.bias(16)], made.shape), 0, 2, 1), 1, 16, rows, columns)


@_add(STEPS)
def attention(net: Any, x: Any, pick: Pick) -> Any:
    """Products of two activations, with a residual around them."""
    x = net.conv(x, 16, 1)
    _, channels, rows, columns = x.shape
    places = rows * columns
    flat = net.reshape(x, 1, channels, places)
    tokens = net.transpose(flat, 0, 2, 1)
    query = net.node("MatMul", [tokens, net.weights(channels, channels, fan=4 * channels)], tokens.shape)
    found = net.softmax(net.node("MatMul", [query, flat], (1, places, places)), -1 if net.opset >= 13 else 2)
    mixed = net.node("MatMul", [found, tokens], tokens.shape)
    return net.reshape(net.transpose(net.node("Add", [mixed, tokens], tokens.shape), 0, 2, 1), 1, 16, rows, columns)


@_add(STEPS)
def normalized(net: Any, x: Any, pick: Pick) -> Any:
    """Less its mean, by its deviation: as exporters write out what they know no operator for."""
    x = net.conv(x, 16, 3)
    rest = net.node("Sub", [x, net.reduce("ReduceMean", x, 2, 3)], x.shape)
    square = net.reduce("ReduceMean", net.node("Mul", [rest, rest], x.shape), 2, 3)
    deviation = net.node("Sqrt", [net.node("Add", [square, net.constant(1e-2)], square.shape)], square.shape)
    return net.node("Div", [rest, deviation], x.shape)


@_add(STEPS)
def twice(net: Any, x: Any, pick: Pick) -> Any:
    """Two layers with the same weights, the same bias, or both."""
    x = net.conv(x, 16, 1)
    what = pick(("weights", "bias", "both"))
    weights = net.weights(16, 16, 3, 3) if what != "bias" else ""
    bias = net.bias(16) if what != "weights" else ""
    first = net.relu(net.conv(x, 16, 3, weights=weights, c=bias))
    return net.conv(first, 16, 3, weights=weights, c=bias)


@_add(STEPS)
def passed_weights(net: Any, x: Any, pick: Pick) -> Any:
    """Weights behind an Identity, a Reshape or a Transpose."""
    how = pick(("Identity", "Reshape", "Transpose"))
    c = x.channels
    if how == "Identity":
        weights = net.node("Identity", [net.weights(16, c, 3, 3)], (16, c, 3, 3)).name
    elif how == "Reshape":
        weights = net.node("Reshape", [net.weights(16, c * 9), net.ints(16, c, 3, 3)], (16, c, 3, 3)).name
    else:
        weights = net.node("Transpose", [net.weights(3, 3, c, 16, fan=9 * c)], (16, c, 3, 3), perm=[3, 2, 0, 1]).name
    return net.conv(x, 16, 3, weights=weights)


@_add(STEPS)
def made_weights(net: Any, x: Any, pick: Pick) -> Any:
    """Weights that depend on the image: a layer that no scheme has in INT8."""
    x = net.conv(net.relu(net.conv(x, 16, 3)), 16, 3)
    one = net.node("GlobalAveragePool", [x], (1, 16, 1, 1))
    scaled = net.node("Mul", [net.weights(16, 16, 1, 1), net.node("Sigmoid", [one], one.shape)], (16, 16, 1, 1))
    return net.node("Conv", [x, scaled], x.shape, kernel_shape=[1, 1])


@_add(STEPS, 11)
def branched(net: Any, x: Any, pick: Pick) -> Any:
    """An If by the image, with a layer and constants in its graphs."""
    mean = net.reduce("ReduceMean", x, *range(4), keep=0)
    dark = net.node("Less", [mean, net.constant(0.1)], ())
    shape, graphs = x.shape, {}
    for name, factor in (("then_branch", 1.0), ("else_branch", 1.02)):
        kind = helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, shape)
        by = onnx.numpy_helper.from_array(np.array(factor, np.float32), f"{name}_by")
        node = helper.make_node("Mul", [x.name, f"{name}_by"], [f"{name}_out"], f"{name}_mul")
        graphs[name] = helper.make_graph([node], name, [], [kind], [by])
    return net.conv(net.node("If", [dark], shape, **graphs), 16, 3)


@_add(STEPS)
def cast(net: Any, x: Any, pick: Pick) -> Any:
    x = net.conv(x, 16, 3)
    return net.node("Cast", [net.node("Cast", [x], x.shape, to=TensorProto.DOUBLE)], x.shape, to=TensorProto.FLOAT)


@_add(STEPS, 18)
def group_norm(net: Any, x: Any, pick: Pick) -> Any:
    x = net.conv(x, 16, 3)
    if net.opset < 21:  # whose scales are of groups; opset 21 made them of channels
        return x
    return net.node("GroupNormalization", [x, net.constant(np.ones(16)), net.bias(16)], x.shape, num_groups=4)


@_add(HEADS)
def gemm_head(net: Any, x: Any, pick: Pick) -> Any:
    x = net.relu(net.conv(x, 16, 3))
    form = pick(("[N]", "[1,N]", "[1]", "[1,1]", "scalar", ""))
    return net.gemm(net.pooled(x), 5, form, pick((1, 0)), *pick(((1.0, 1.0), (1.0, 1.0), (0.5, 2.0))))


@_add(HEADS)
def product_head(net: Any, x: Any, pick: Pick) -> Any:
    x = net.relu(net.conv(x, 16, 3))
    pooled = net.reduce("ReduceMean", x, 2, 3, keep=0)
    made = net.node("MatMul", [pooled, net.weights(16, 5, fan=16)], (1, 5))
    bias = net.bias(*pick(((5,), (1, 5), (1,), ())))
    return (
        net.node("Add", [made, bias] if pick((True, False)) else [bias, made], (1, 5)) if pick((True, False)) else made
    )


@_add(HEADS)
def conv_head(net: Any, x: Any, pick: Pick) -> Any:
    x = net.conv(net.relu(net.conv(x, 16, 3)), 5, 1)
    if pick((True, False)):
        return net.pooled(x)
    return net.squeeze(net.reduce("ReduceMean", x, 2, 3), 2, 3)


@_add(HEADS)
def flat_head(net: Any, x: Any, pick: Pick) -> Any:
    x = net.relu(net.conv(x, 16, 3, stride=2))
    n = int(np.prod(x.shape))
    flat = net.reshape(x, 1, n) if pick((True, False)) else net.node("Flatten", [x], (1, n))
    hidden = net.relu(net.gemm(flat, 16, pick(("[N]", "[1,N]"))))
    return net.gemm(hidden, 5)


@_add(HEADS)
def sure_head(net: Any, x: Any, pick: Pick) -> Any:
    """Probabilities: a Softmax or a Sigmoid at the end."""
    logits = net.gemm(net.pooled(net.relu(net.conv(x, 16, 3))), 5)
    return net.softmax(logits) if pick((True, False)) else net.node("Sigmoid", [logits], logits.shape)


@_add(HEADS)
def places_head(net: Any, x: Any, pick: Pick) -> Any:
    """Scores (1, classes, 1, 1)."""
    x = net.relu(net.conv(x, 16, 3))
    return net.conv(net.node("GlobalAveragePool", [x], (1, 16, 1, 1)), 5, 1)
