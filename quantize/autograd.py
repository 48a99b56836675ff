"""Run an ONNX graph in torch with gradients, to train the numbers in its Q/DQ pairs.

We implement the operators ourselves because onnx2torch 1.5.15 does not support opset 20, which our exporter writes.
Operators follow the ONNX specification for constant shapes and axes. An unsupported operator is an error with its name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from edgewright.core.errors import RuntimeFailed
from edgewright.graph.index import constants_of

if TYPE_CHECKING:
    import onnx

Attributes = dict[str, Any]
Operator = Callable[..., Any]
"""Called with the attributes of a node and its inputs. An omitted input is None."""


def constants(model: onnx.ModelProto) -> dict[str, torch.Tensor]:
    """The initializers and Constant nodes of `model`, as tensors by name."""
    from onnx import numpy_helper

    found = constants_of(model.graph)
    for node in model.graph.node:
        if node.op_type == "Constant":
            found[node.output[0]] = next(a.t for a in node.attribute if a.name == "value")
    return {name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for name, tensor in found.items()}


def run(
    model: onnx.ModelProto,
    values: Mapping[str, Any],
    outputs: Sequence[str],
    operators: Mapping[str, Operator] | None = None,
) -> list[Any]:
    """Compute the tensors `outputs` of `model` from the inputs and constants in `values`.

    `operators` take precedence over those in this module. A tensor is freed after its last use. Raises `RuntimeFailed`
    for an unsupported operator.
    """
    nodes = needed(model, outputs, values)
    table = {**OPERATORS, **(operators or {})}
    last = {name: index for index, node in enumerate(nodes) for name in node.input}
    kept = {*outputs, *values, ""}
    live: dict[str, Any] = {**values, "": None}
    for index, node in enumerate(nodes):
        if node.op_type not in table:
            raise RuntimeFailed(
                f"Training does not support the operator {node.op_type} ('{node.name}').",
                f"Supported operators: {', '.join(sorted(OPERATORS))}.",
                "Do not use distillation or training methods with this model.",
            )
        made = table[node.op_type](attributes(node), *(live[name] for name in node.input))
        live.update(zip(node.output, made if isinstance(made, tuple | list) else [made]))
        for name in {*node.input} - kept:
            if last[name] == index:
                del live[name]
    return [live[name] for name in outputs]


def needed(model: onnx.ModelProto, outputs: Sequence[str], given: Collection[str]) -> list[onnx.NodeProto]:
    """The nodes that `outputs` need, in order, when the tensors `given` are available."""
    wanted, found = {*outputs}, []
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output).difference(given):
            wanted.update(node.input)
            found.append(node)
    return found[::-1]


def attributes(node: onnx.NodeProto) -> Attributes:
    """The attributes of `node` as Python values."""
    from onnx.helper import get_attribute_value

    found = {a.name: get_attribute_value(a) for a in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}


def _padded(a: Attributes, x: torch.Tensor, kernel: Sequence[int], value: float = 0.0) -> torch.Tensor:
    """`x` with the padding of the node. ONNX pads each side separately; torch pads both sides equally."""
    pads = list(a.get("pads", [0] * 2 * len(kernel)))
    if a.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        pads = _same_pads(a, x, kernel)
    half = len(pads) // 2
    around = [pad for i in reversed(range(half)) for pad in (pads[i], pads[i + half])]
    return F.pad(x, around, value=value) if any(around) else x


def _same_pads(a: Attributes, x: torch.Tensor, kernel: Sequence[int]) -> list[int]:
    steps, dilations = a.get("strides", [1] * len(kernel)), a.get("dilations", [1] * len(kernel))
    totals = [
        max(0, (-(-size // step) - 1) * step + (k - 1) * dilation + 1 - size)
        for size, k, step, dilation in zip(x.shape[2:], kernel, steps, dilations)
    ]
    first = [t // 2 if a["auto_pad"] == "SAME_UPPER" else -(-t // 2) for t in totals]
    return first + [t - f for t, f in zip(totals, first)]


def _conv(a: Attributes, x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
    conv = (F.conv1d, F.conv2d, F.conv3d)[w.ndim - 3]
    ones = [1] * (w.ndim - 2)
    steps, dilations = a.get("strides", ones), a.get("dilations", ones)
    return conv(_padded(a, x, w.shape[2:]), w, b, steps, 0, dilations, a.get("group", 1))


def _conv_transpose(a: Attributes, x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
    conv = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[w.ndim - 3]
    rank = w.ndim - 2
    ones, pads = [1] * rank, a.get("pads", [0] * 2 * rank)
    if a.get("auto_pad", "NOTSET") != "NOTSET" or "output_shape" in a or pads[:rank] != pads[rank:]:
        raise RuntimeFailed("Training does not support ConvTranspose with uneven padding.", "", "Leave it out.")
    return conv(
        x, w, b, a.get("strides", ones), pads[:rank], a.get("output_padding", 0), a.get("group", 1),
        a.get("dilations", ones),
    )  # fmt: skip


def _gemm(a: Attributes, x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
    x, w = (x.T if a.get("transA") else x), (w.T if a.get("transB") else w)
    product = a.get("alpha", 1.0) * (x @ w)
    return product if b is None else product + a.get("beta", 1.0) * b


def _max_pool(a: Attributes, x: torch.Tensor) -> torch.Tensor:
    kernel = a["kernel_shape"]
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(kernel) - 1]
    x = _padded(a, x, kernel, -torch.inf)
    return pool(x, kernel, a.get("strides", [1] * len(kernel)), 0, a.get("dilations", 1), bool(a.get("ceil_mode", 0)))


def _average_pool(a: Attributes, x: torch.Tensor) -> torch.Tensor:
    kernel = a["kernel_shape"]
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(kernel) - 1]
    settings = kernel, a.get("strides", [1] * len(kernel)), 0, bool(a.get("ceil_mode", 0))
    summed = pool(_padded(a, x, kernel), *settings)
    if a.get("count_include_pad", 0):
        return summed
    return summed / pool(_padded(a, torch.ones_like(x[:1, :1]), kernel), *settings)


def _reduce(function: Callable[..., torch.Tensor]) -> Operator:
    def apply(a: Attributes, x: torch.Tensor, axes: torch.Tensor | None = None) -> torch.Tensor:
        chosen = axes.tolist() if axes is not None else list(a.get("axes", []))
        if not chosen and a.get("noop_with_empty_axes"):
            return x
        return function(x, dim=chosen or list(range(x.ndim)), keepdim=bool(a.get("keepdims", 1)))

    return apply


def _reshape(a: Attributes, x: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
    copy = not a.get("allowzero", 0)
    return x.reshape([x.shape[i] if side == 0 and copy else int(side) for i, side in enumerate(shape.tolist())])


def _slice(
    a: Attributes, x: torch.Tensor, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None
) -> torch.Tensor:
    begin = starts.tolist() if starts is not None else a["starts"]
    end = ends.tolist() if ends is not None else a["ends"]
    dims = axes.tolist() if axes is not None else a.get("axes", list(range(len(begin))))
    for first, stop, axis, step in zip(begin, end, dims, steps.tolist() if steps is not None else [1] * len(begin)):
        where = torch.tensor(range(*slice(first, stop, step).indices(x.shape[axis])), dtype=torch.long)
        x = x.index_select(axis, where.to(x.device))
    return x


def _gather(a: Attributes, x: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    axis = a.get("axis", 0) % x.ndim
    flat = indices.reshape(-1).long() % x.shape[axis]
    return x.index_select(axis, flat).reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


def _split(a: Attributes, x: torch.Tensor, sizes: torch.Tensor | None = None) -> Any:
    axis = a.get("axis", 0)
    if sizes is not None or "split" in a:
        return torch.split(x, sizes.tolist() if sizes is not None else list(a["split"]), axis)
    return torch.split(x, -(-x.shape[axis] // a["num_outputs"]), axis)


def _pad(a: Attributes, x: torch.Tensor, pads: Any = None, value: Any = None, axes: Any = None) -> torch.Tensor:
    around = pads.tolist() if pads is not None else list(a["pads"])
    dims = axes.tolist() if axes is not None else list(range(x.ndim))
    half, both = len(around) // 2, [0] * 2 * x.ndim
    for i, axis in enumerate(dims):
        place = 2 * (x.ndim - 1 - axis % x.ndim)
        both[place], both[place + 1] = around[i], around[i + half]
    mode = a.get("mode", "constant")
    if mode == "constant":
        return F.pad(x, both, value=float(value) if value is not None else a.get("value", 0.0))
    return F.pad(x, both[: 2 * (x.ndim - 2)], mode="replicate" if mode == "edge" else mode)


def _resize(a: Attributes, x: torch.Tensor, _roi: Any = None, scales: Any = None, sizes: Any = None) -> torch.Tensor:
    if sizes is not None and sizes.numel():
        size = [int(side) for side in sizes.tolist()[-2:]]
    else:
        size = [int(side * scale) for side, scale in zip(x.shape[-2:], scales.tolist()[-2:])]
    mode, where = a.get("mode", "nearest"), a.get("coordinate_transformation_mode", "half_pixel")
    if mode == "nearest" and all(new % old == 0 for new, old in zip(size, x.shape[-2:])):
        return F.interpolate(x, size, mode="nearest")  # All rounding rules agree for an integer factor.
    if mode == "linear" and where in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        return F.interpolate(x, size, mode="bilinear", align_corners=where == "align_corners")
    raise RuntimeFailed(f"Training does not support Resize '{mode}' with '{where}'.", "", "Leave it out.")


def _arg_max(a: Attributes, x: torch.Tensor) -> torch.Tensor:
    axis = a.get("axis", 0)
    if a.get("select_last_index", 0):
        found = x.shape[axis] - 1 - x.flip(axis).argmax(axis, keepdim=True)
    else:
        found = x.argmax(axis, keepdim=True)
    return found if a.get("keepdims", 1) else found.squeeze(axis)


def _gather_nd(a: Attributes, x: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    if a.get("batch_dims", 0):
        raise RuntimeFailed("Training does not support GatherND with batch_dims.", "", "Leave it out.")
    return x[tuple(indices.long().unbind(-1))]


def _div(a: Attributes, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    whole = not (x.is_floating_point() or y.is_floating_point())
    return torch.div(x, y, rounding_mode="trunc" if whole else None)


def _layer_norm(a: Attributes, x: torch.Tensor, scale: torch.Tensor, bias: Any = None) -> torch.Tensor:
    return F.layer_norm(x, x.shape[a.get("axis", -1) % x.ndim :], scale, bias, a.get("epsilon", 1e-5))


def _batch_norm(a: Attributes, x: torch.Tensor, *p: torch.Tensor) -> torch.Tensor:
    scale, bias, mean, variance = p
    return F.batch_norm(x, mean, variance, scale, bias, eps=a.get("epsilon", 1e-5))


def _clip(a: Attributes, x: torch.Tensor, low: Any = None, high: Any = None) -> torch.Tensor:
    low = low if low is not None else a.get("min")
    high = high if high is not None else a.get("max")
    return x if low is None and high is None else x.clamp(low, high)


def _squeeze(a: Attributes, x: torch.Tensor, axes: Any = None) -> torch.Tensor:
    chosen = axes.tolist() if axes is not None else a.get("axes")
    return x.squeeze() if chosen is None else x.squeeze(tuple(chosen))


def _unsqueeze(a: Attributes, x: torch.Tensor, axes: Any = None) -> torch.Tensor:
    chosen = axes.tolist() if axes is not None else a["axes"]
    rank = x.ndim + len(chosen)
    for axis in sorted(axis % rank for axis in chosen):
        x = x.unsqueeze(axis)
    return x


def _flatten(a: Attributes, x: torch.Tensor) -> torch.Tensor:
    axis = a.get("axis", 1)
    return x.reshape(int(torch.tensor(x.shape[:axis]).prod()) if axis else 1, -1)


def _cast(a: Attributes, x: torch.Tensor) -> torch.Tensor:
    from onnx.helper import tensor_dtype_to_np_dtype

    return x.to(getattr(torch, str(tensor_dtype_to_np_dtype(a["to"]))))


def _transpose(a: Attributes, x: torch.Tensor) -> torch.Tensor:
    return x.permute(a.get("perm") or list(range(x.ndim))[::-1])


def _prelu(_: Attributes, x: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    return torch.where(x > 0, x, x * slope)


def _plain(function: Callable[..., Any]) -> Operator:
    return lambda _, *inputs: function(*inputs)


OPERATORS: dict[str, Operator] = {
    **{
        name: _plain(function)
        for name, function in {
            "Abs": torch.abs, "Add": torch.add, "Cos": torch.cos, "Equal": torch.eq,
            "Erf": torch.erf, "Exp": torch.exp, "Floor": torch.floor, "Greater": torch.gt, "HardSwish": F.hardswish,
            "Identity": lambda x: x, "Less": torch.lt, "Log": torch.log, "MatMul": torch.matmul, "Max": torch.maximum,
            "Min": torch.minimum, "Mish": F.mish, "Mul": torch.mul, "Neg": torch.neg, "Pow": torch.pow,
            "Reciprocal": torch.reciprocal, "Relu": F.relu, "Sigmoid": torch.sigmoid, "Sin": torch.sin,
            "Softplus": F.softplus, "Sqrt": torch.sqrt, "Sub": torch.sub, "Tanh": torch.tanh, "Where": torch.where,
            "Expand": lambda x, shape: x.expand(torch.broadcast_shapes(x.shape, tuple(shape.tolist()))),
            "GlobalAveragePool": lambda x: x.mean(list(range(2, x.ndim)), keepdim=True),
            "Shape": lambda x: torch.tensor(x.shape), "Tile": lambda x, n: x.repeat(n.tolist()),
        }.items()
    },
    "ArgMax": _arg_max,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": lambda a, *xs: torch.cat(xs, a["axis"]),
    "Constant": lambda a: None,  # read as a constant
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Div": _div,
    "Elu": lambda a, x: F.elu(x, a.get("alpha", 1.0)),
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherND": _gather_nd,
    "Gelu": lambda a, x: F.gelu(x, approximate=a.get("approximate", "none")),
    "Gemm": _gemm,
    "HardSigmoid": lambda a, x: (a.get("alpha", 0.2) * x + a.get("beta", 0.5)).clamp(0, 1),
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda a, x: F.leaky_relu(x, a.get("alpha", 0.01)),
    "MaxPool": _max_pool,
    "PRelu": _prelu,
    "Pad": _pad,
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "ReduceMin": _reduce(torch.amin),
    "ReduceSum": _reduce(torch.sum),
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "Softmax": lambda a, x: F.softmax(x, a.get("axis", -1)),
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}  # fmt: skip
