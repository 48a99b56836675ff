"""OpenVINO's graph of a foreign model, converted to ONNX for the operators of vision models.

OpenVINO's readers have parsed the file, checked every shape and moved the convolutions to channels first. So one table,
`_OPERATORS`, converts what several formats contain. Constants that only change type or shape are computed here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.core.errors import InvalidInput

if TYPE_CHECKING:
    import onnx

OPSET, _IR = 20, 10
_BINARY = {
    "Add": "Add", "Subtract": "Sub", "Multiply": "Mul", "Divide": "Div", "Maximum": "Max", "Minimum": "Min",
    "Power": "Pow", "FloorMod": "Mod", "Greater": "Greater", "GreaterEqual": "GreaterOrEqual", "Less": "Less",
    "LessEqual": "LessOrEqual", "Equal": "Equal", "LogicalAnd": "And", "LogicalOr": "Or",
}  # fmt: skip
_UNARY = {
    "Relu": "Relu", "Sigmoid": "Sigmoid", "Tanh": "Tanh", "HSwish": "HardSwish", "Exp": "Exp", "Log": "Log",
    "Sqrt": "Sqrt", "Abs": "Abs", "Negative": "Neg", "Floor": "Floor", "Ceiling": "Ceil", "Erf": "Erf", "Sin": "Sin",
    "Cos": "Cos", "SoftPlus": "Softplus", "LogicalNot": "Not", "Mish": "Mish",
}  # fmt: skip
_REDUCE = {
    "ReduceMean": "ReduceMean", "ReduceSum": "ReduceSum", "ReduceMax": "ReduceMax", "ReduceMin": "ReduceMin",
    "ReduceProd": "ReduceProd", "ReduceL2": "ReduceL2",
}  # fmt: skip
_FOLDED = frozenset({"Convert", "Reshape", "Transpose", "Unsqueeze", "Squeeze"})
_RESIZE = {"linear_onnx": "linear", "linear": "linear", "nearest": "nearest", "cubic": "cubic"}


class Graph:
    """An ONNX graph under construction from the operators of one OpenVINO model."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._names: Counter[str] = Counter()
        self._tensors: dict[tuple[str, int], str] = {}
        self._constants: dict[tuple[str, int], np.ndarray] = {}
        self._stored: dict[tuple[str, int], str] = {}

    def fresh(self, wanted: str) -> str:
        """A name for a tensor or node that no other has, derived from `wanted`."""
        self._names[wanted] += 1
        return wanted if self._names[wanted] == 1 else self.fresh(f"{wanted}_{self._names[wanted] - 1}")

    def keep(self, output: Any, value: np.ndarray) -> None:
        """Note that the tensor `output` is the constant `value`."""
        self._constants[_key(output)] = value

    def constant(self, source: Any) -> np.ndarray | None:
        """The constant that `source`, an output of an operator, holds; None if it is computed."""
        return self._constants.get(_key(source))

    def name(self, source: Any) -> str:
        """The name of the tensor `source`; a constant becomes an initializer."""
        key = _key(source)
        if key in self._tensors:
            return self._tensors[key]
        if key not in self._stored:
            value = self._constants[key]
            self._stored[key] = self.store(value.astype(np.float32) if value.dtype == np.float16 else value, key[0])
        return self._stored[key]

    def store(self, value: np.ndarray, wanted: str) -> str:
        """The name of a new initializer."""
        from onnx import numpy_helper

        name = self.fresh(wanted)
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def integers(self, values: Sequence[int] | np.ndarray, wanted: str) -> str:
        """The name of a new initializer of whole numbers, such as axes."""
        return self.store(np.asarray(values, np.int64).reshape(-1), wanted)

    def bind(self, output: Any, name: str) -> None:
        """Note that the tensor `output` has this name."""
        self._tensors[_key(output)] = name

    def add(self, kind: str, inputs: Sequence[str], wanted: str, **attributes: Any) -> str:
        """Add an operator with one output. Returns the name of the output."""
        from onnx import helper

        name = self.fresh(wanted)
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=f"{name}/{kind}", **attributes))
        return name


def to_onnx(model: Any, name: str) -> onnx.ModelProto:
    """The OpenVINO `model` as ONNX, with its names of inputs and outputs. `name`: the file, for messages.

    Raises `InvalidInput`, which names the operators that have no counterpart here.
    """
    from onnx import helper

    graph, operators = Graph(), model.get_ordered_ops()
    unknown = Counter(op.get_type_name() for op in operators) - Counter(dict.fromkeys(_known(), 1 << 30))
    if unknown:
        raise unsupported(name, sorted(unknown))
    inputs = []
    for value in model.inputs:
        own = graph.fresh(value.get_any_name())
        graph.bind(value, own)
        inputs.append(helper.make_tensor_value_info(own, _type(value), _dims(value)))
    wanted = [(value.get_node().input_value(0), value.get_any_name()) for value in model.outputs]
    for op in operators:
        _convert(graph, op, name)
    outputs = []
    for source, called in wanted:
        final = graph.add("Identity", [graph.name(source)], called)
        outputs.append(helper.make_tensor_value_info(final, _type(source), _dims(source)))
    _fuse_biases(graph)
    made = helper.make_graph(graph.nodes, "model", inputs, outputs, graph.initializers)
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(made, opset_imports=opsets, ir_version=_IR, producer_name="edgewright")


def unsupported(name: str, operators: Sequence[str]) -> InvalidInput:
    """The error about `operators` of the file `name` that cannot be converted."""
    return InvalidInput(
        f"{name} has operators that edgewright cannot convert to ONNX: {', '.join(operators)}.",
        "All steps of edgewright work on ONNX.",
        "Convert the file with another tool (tf2onnx --tflite, in an environment with TensorFlow) and pass the .onnx.",
    )


def _known() -> frozenset[str]:
    return frozenset({"Constant", "Parameter", "Result", *_BINARY, *_UNARY, *_REDUCE, *_OPERATORS})


def _convert(graph: Graph, op: Any, name: str) -> None:
    kind = op.get_type_name()
    if kind in ("Parameter", "Result"):
        return
    if kind == "Constant":
        graph.keep(op.output(0), np.array(op.get_data()))
        return
    if kind in _FOLDED and _fold(graph, op, kind):
        return
    wanted = op.get_friendly_name()
    if kind in _BINARY:
        made = graph.add(_BINARY[kind], _named(graph, op), wanted)
    elif kind in _UNARY:
        made = graph.add(_UNARY[kind], _named(graph, op)[:1], wanted)
    elif kind in _REDUCE:
        axes = graph.integers(_fixed(graph, op, 1, name), f"{wanted}/axes")
        keep = int(op.get_attributes()["keep_dims"])
        made = graph.add(_REDUCE[kind], [graph.name(op.input_value(0)), axes], wanted, keepdims=keep)
    else:
        found = _OPERATORS[kind](graph, op, name)
        if found is None:
            return
        made = found
    graph.bind(op.output(0), made)


def _named(graph: Graph, op: Any) -> list[str]:
    return [graph.name(op.input_value(index)) for index in range(op.get_input_size())]


def _fixed(graph: Graph, op: Any, index: int, name: str) -> np.ndarray:
    """Input `index` of `op`, which must be constant."""
    value = graph.constant(op.input_value(index))
    if value is None:
        raise unsupported(name, [f"{op.get_type_name()} with a computed shape"])
    return value


def _fold(graph: Graph, op: Any, kind: str) -> bool:
    """Compute `op` if all its inputs are constant. Returns whether it did."""
    values = [graph.constant(op.input_value(index)) for index in range(op.get_input_size())]
    if any(value is None for value in values):
        return False
    x = values[0]
    assert x is not None
    if kind == "Convert":
        x = x.astype(_NUMPY.get(op.get_output_element_type(0).get_type_name(), x.dtype))
    elif kind == "Transpose":
        order = values[1] if len(values) > 1 else None
        x = np.transpose(x, [int(axis) for axis in order] if order is not None and order.size else None)
    else:
        x = x.reshape([int(side) for side in op.get_output_shape(0)])
    graph.keep(op.output(0), x)
    return True


def _spatial(op: Any, kernel: Sequence[int], into: Any, out: Any) -> list[int]:
    """The padding of a convolution or pool, (begins, ends), with OpenVINO's "same" resolved. `into`, `out`: its sizes
    before and after."""
    a = op.get_attributes()
    if a["auto_pad"] not in ("same_upper", "same_lower"):
        explicit = a["auto_pad"] == "explicit"
        return [int(p) for p in (*a["pads_begin"], *a["pads_end"])] if explicit else [0] * 2 * len(kernel)
    dilations = a.get("dilations", [1] * len(kernel))
    begins, ends = [], []
    for size, result, stride, dilation, side in zip(into, out, a["strides"], dilations, kernel):
        total = max((result - 1) * stride + (side - 1) * dilation + 1 - size, 0)
        first = total // 2 if a["auto_pad"] == "same_upper" else total - total // 2
        begins.append(int(first))
        ends.append(int(total - first))
    return begins + ends


def _sides(value: Any) -> list[int]:
    """Height and width of a tensor (N, C, height, width)."""
    return [int(side.get_length()) for side in list(value.get_partial_shape())[2:]]


def _convolution(graph: Graph, op: Any, name: str) -> str:
    a, wanted, grouped = op.get_attributes(), op.get_friendly_name(), op.get_type_name() == "GroupConvolution"
    weights = graph.constant(op.input_value(1))
    if weights is None:
        raise unsupported(name, ["Convolution with computed weights"])
    group = weights.shape[0] if grouped else 1
    if grouped:
        weights = weights.reshape(-1, *weights.shape[2:])
    kernel = [int(side) for side in weights.shape[2:]]
    stored = graph.store(weights.astype(np.float32), f"{wanted}/weights")
    pads = _spatial(op, kernel, _sides(op.input_value(0)), _sides(op.output(0)))
    return graph.add(
        "Conv", [graph.name(op.input_value(0)), stored], wanted, group=int(group), kernel_shape=kernel, pads=pads,
        strides=[int(s) for s in a["strides"]], dilations=[int(d) for d in a["dilations"]],
    )  # fmt: skip


def _transposed_convolution(graph: Graph, op: Any, name: str) -> str:
    a, wanted = op.get_attributes(), op.get_friendly_name()
    weights = _fixed(graph, op, 1, name)
    kernel = [int(side) for side in weights.shape[2:]]
    into, out = _sides(op.input_value(0)), _sides(op.output(0))
    begins, ends, more = [], [], []
    for size, result, stride, dilation, side in zip(into, out, a["strides"], a["dilations"], kernel):
        total = stride * (size - 1) + (side - 1) * dilation + 1 - result
        cut = max(total, 0)
        begins.append(int(cut // 2 if a["auto_pad"] != "same_lower" else cut - cut // 2))
        ends.append(int(cut - begins[-1]))
        more.append(int(max(-total, 0)))
    if a["auto_pad"] == "explicit":
        begins, ends = [int(p) for p in a["pads_begin"]], [int(p) for p in a["pads_end"]]
        more = [int(p) for p in a["output_padding"]]
    stored = graph.store(weights.astype(np.float32), f"{wanted}/weights")
    return graph.add(
        "ConvTranspose", [graph.name(op.input_value(0)), stored], wanted, kernel_shape=kernel, pads=begins + ends,
        output_padding=more, strides=[int(s) for s in a["strides"]], dilations=[int(d) for d in a["dilations"]],
    )  # fmt: skip


def _pool(graph: Graph, op: Any, name: str) -> str:
    a, average = op.get_attributes(), op.get_type_name() == "AvgPool"
    kernel = [int(side) for side in a["kernel"]]
    more: dict[str, Any] = {"ceil_mode": int("ceil" in a["rounding_type"])}
    if average:
        more["count_include_pad"] = int(not a["exclude-pad"])
    else:
        more["dilations"] = [int(d) for d in a.get("dilations", [1] * len(kernel))]
    pads = _spatial(op, kernel, _sides(op.input_value(0)), _sides(op.output(0)))
    return graph.add(
        "AveragePool" if average else "MaxPool", [graph.name(op.input_value(0))], op.get_friendly_name(),
        kernel_shape=kernel, strides=[int(s) for s in a["strides"]], pads=pads, **more,
    )  # fmt: skip


def _product(graph: Graph, op: Any, name: str) -> str:
    a, wanted, names = op.get_attributes(), op.get_friendly_name(), []
    for index, flipped in enumerate((a["transpose_a"], a["transpose_b"])):
        source = op.input_value(index)
        value = graph.constant(source)
        rank = len(source.get_partial_shape())
        order = [*range(rank - 2), rank - 1, rank - 2]
        if not flipped or rank < 2:
            names.append(graph.name(source))
        elif value is not None:
            names.append(graph.store(np.transpose(value, order).astype(np.float32), f"{wanted}/weights"))
        else:
            names.append(graph.add("Transpose", [graph.name(source)], f"{wanted}/transposed", perm=order))
    return graph.add("MatMul", names, wanted)


def _reshape(graph: Graph, op: Any, name: str) -> str:
    shape = graph.constant(op.input_value(1))
    if shape is not None:
        target = graph.integers(shape, f"{op.get_friendly_name()}/shape")
    else:
        target = graph.add("Cast", [graph.name(op.input_value(1))], f"{op.get_friendly_name()}/shape", to=7)
    return graph.add("Reshape", [graph.name(op.input_value(0)), target], op.get_friendly_name())


def _transpose(graph: Graph, op: Any, name: str) -> str:
    order = [int(axis) for axis in _fixed(graph, op, 1, name)]
    return graph.add("Transpose", [graph.name(op.input_value(0))], op.get_friendly_name(), perm=order)


def _axes(kind: str) -> Callable[[Graph, Any, str], str]:
    def convert(graph: Graph, op: Any, name: str) -> str:
        inputs = [graph.name(op.input_value(0))]
        if op.get_input_size() > 1:
            inputs.append(graph.integers(_fixed(graph, op, 1, name), f"{op.get_friendly_name()}/axes"))
        return graph.add(kind, inputs, op.get_friendly_name())

    return convert


def _pad(graph: Graph, op: Any, name: str) -> str:
    wanted, mode = op.get_friendly_name(), str(op.get_attributes().get("pad_mode", "constant")).lower()
    if mode not in ("constant", "reflect", "edge"):
        raise unsupported(name, [f"Pad ({mode})"])
    pads = np.concatenate([_fixed(graph, op, 1, name), _fixed(graph, op, 2, name)])
    inputs = [graph.name(op.input_value(0)), graph.integers(pads, f"{wanted}/pads")]
    if mode == "constant" and op.get_input_size() > 3:
        value = _fixed(graph, op, 3, name)
        inputs.append(graph.store(value.reshape(()).astype(np.float32), f"{wanted}/value"))
    return graph.add("Pad", inputs, wanted, mode=mode)


def _clamp(graph: Graph, op: Any, name: str) -> str:
    a, wanted = op.get_attributes(), op.get_friendly_name()
    ends = [graph.store(np.asarray(a[end], np.float32), f"{wanted}/{end}") for end in ("min", "max")]
    return graph.add("Clip", [graph.name(op.input_value(0)), *ends], wanted)


def _prelu(graph: Graph, op: Any, name: str) -> str:
    slope = _fixed(graph, op, 1, name).astype(np.float32)
    rank = len(op.input_value(0).get_partial_shape())
    if slope.ndim == 1 and slope.size > 1 and rank > 2:
        slope = slope.reshape(-1, *[1] * (rank - 2))
    stored = graph.store(slope, f"{op.get_friendly_name()}/slope")
    return graph.add("PRelu", [graph.name(op.input_value(0)), stored], op.get_friendly_name())


def _swish(graph: Graph, op: Any, name: str) -> str:
    x, wanted = graph.name(op.input_value(0)), op.get_friendly_name()
    return graph.add("Mul", [x, graph.add("Sigmoid", [x], f"{wanted}/sigmoid")], wanted)


def _elu(graph: Graph, op: Any, name: str) -> str:
    alpha = float(op.get_attributes()["alpha"])
    return graph.add("Elu", [graph.name(op.input_value(0))], op.get_friendly_name(), alpha=alpha)


def _gelu(graph: Graph, op: Any, name: str) -> str:
    mode = "tanh" if str(op.get_attributes().get("approximation_mode", "ERF")).upper() == "TANH" else "none"
    return graph.add("Gelu", [graph.name(op.input_value(0))], op.get_friendly_name(), approximate=mode)


def _squared_difference(graph: Graph, op: Any, name: str) -> str:
    gap = graph.add("Sub", _named(graph, op), f"{op.get_friendly_name()}/difference")
    return graph.add("Mul", [gap, gap], op.get_friendly_name())


def _softmax(graph: Graph, op: Any, name: str) -> str:
    axis = int(op.get_attributes()["axis"])
    kind = "LogSoftmax" if op.get_type_name() == "LogSoftmax" else "Softmax"
    return graph.add(kind, [graph.name(op.input_value(0))], op.get_friendly_name(), axis=axis)


def _concat(graph: Graph, op: Any, name: str) -> str:
    return graph.add("Concat", _named(graph, op), op.get_friendly_name(), axis=int(op.get_attributes()["axis"]))


def _split(graph: Graph, op: Any, name: str) -> None:
    from onnx import helper

    wanted, axis = op.get_friendly_name(), int(_fixed(graph, op, 1, name).reshape(-1)[0])
    results = [graph.fresh(f"{wanted}/{index}") for index in range(op.get_output_size())]
    inputs = [graph.name(op.input_value(0))]
    sizes = [int(output.get_partial_shape()[axis].get_length()) for output in op.outputs()]
    inputs.append(graph.integers(sizes, f"{wanted}/sizes"))
    graph.nodes.append(helper.make_node("Split", inputs, results, name=wanted, axis=axis))
    for index, made in enumerate(results):
        graph.bind(op.output(index), made)


def _strided_slice(graph: Graph, op: Any, name: str) -> str:
    a, wanted = op.get_attributes(), op.get_friendly_name()
    if any(a.get("ellipsis_mask", [])) or any(a.get("new_axis_mask", [])):
        raise unsupported(name, ["StridedSlice with an ellipsis or a new axis"])
    begin, end = _fixed(graph, op, 1, name).astype(np.int64), _fixed(graph, op, 2, name).astype(np.int64)
    steps = _fixed(graph, op, 3, name).astype(np.int64) if op.get_input_size() > 3 else np.ones_like(begin)
    far = np.iinfo(np.int64).max
    for axis in range(len(begin)):
        if axis < len(a["begin_mask"]) and a["begin_mask"][axis]:
            begin[axis] = 0 if steps[axis] > 0 else far
        if axis < len(a["end_mask"]) and a["end_mask"][axis]:
            end[axis] = far if steps[axis] > 0 else -far
    shrunk = [axis for axis, gone in enumerate(a.get("shrink_axis_mask", [])) if gone]
    for axis in shrunk:
        end[axis], steps[axis] = (begin[axis] + 1 if begin[axis] != -1 else far), 1
    parts = [(begin, "starts"), (end, "ends"), (np.arange(len(begin)), "axes"), (steps, "steps")]
    inputs = [graph.name(op.input_value(0)), *(graph.integers(value, f"{wanted}/{part}") for value, part in parts)]
    found = graph.add("Slice", inputs, f"{wanted}/whole" if shrunk else wanted)
    return graph.add("Squeeze", [found, graph.integers(shrunk, f"{wanted}/gone")], wanted) if shrunk else found


def _slice(graph: Graph, op: Any, name: str) -> str:
    wanted = op.get_friendly_name()
    begin, end, steps = (_fixed(graph, op, index, name) for index in (1, 2, 3))
    axes = _fixed(graph, op, 4, name) if op.get_input_size() > 4 else np.arange(len(begin))
    parts = [(begin, "starts"), (end, "ends"), (axes, "axes"), (steps, "steps")]
    inputs = [graph.name(op.input_value(0)), *(graph.integers(value, f"{wanted}/{part}") for value, part in parts)]
    return graph.add("Slice", inputs, wanted)


def _gather(graph: Graph, op: Any, name: str) -> str:
    axis = int(_fixed(graph, op, 2, name).reshape(-1)[0])
    return graph.add("Gather", _named(graph, op)[:2], op.get_friendly_name(), axis=axis)


def _cast(graph: Graph, op: Any, name: str) -> str:
    if _type(op.input_value(0)) == _type(op.output(0)):
        return graph.name(op.input_value(0))
    return graph.add("Cast", [graph.name(op.input_value(0))], op.get_friendly_name(), to=_type(op.output(0)))


def _shape(graph: Graph, op: Any, name: str) -> str:
    found = graph.add("Shape", [graph.name(op.input_value(0))], f"{op.get_friendly_name()}/wide")
    return graph.add("Cast", [found], op.get_friendly_name(), to=_type(op.output(0)))


def _resize(graph: Graph, op: Any, name: str) -> str:
    a, wanted = op.get_attributes(), op.get_friendly_name()
    mode, how = _RESIZE.get(a["mode"]), str(a["coordinate_transformation_mode"])
    padded = any(a.get("pads_begin", [])) or any(a.get("pads_end", []))
    if mode is None or padded or a.get("antialias") or how not in ("half_pixel", "align_corners", "asymmetric"):
        raise unsupported(name, [f"Interpolate ({a['mode']}, {how})"])
    into, out = list(op.input_value(0).get_partial_shape()), list(op.output(0).get_partial_shape())
    axes = [int(axis) for axis in _fixed(graph, op, 2, name)] if op.get_input_size() > 2 else [*range(len(into))]
    scales = [1.0] * len(into)
    for axis in axes:
        if into[axis].is_static and out[axis].is_static:
            scales[axis] = _scale(int(into[axis].get_length()), int(out[axis].get_length()))
    more: dict[str, Any] = {"nearest_mode": a["nearest_mode"]} if mode == "nearest" else {}
    if mode == "cubic":
        more["cubic_coeff_a"] = float(a["cube_coeff"])
    stored = graph.store(np.asarray(scales, np.float32), f"{wanted}/scales")
    inputs = [graph.name(op.input_value(0)), "", stored]
    return graph.add("Resize", inputs, wanted, mode=mode, coordinate_transformation_mode=how, **more)


def _scale(size: int, result: int) -> float:
    """The float32 by which ONNX computes `result` from `size`: the floor of their product."""
    scale = np.float32(result / size)
    return float(scale if int(np.float32(size) * scale) == result else np.nextafter(scale, np.float32(np.inf)))


def _depth_to_space(graph: Graph, op: Any, name: str) -> str:
    a = op.get_attributes()
    mode = "DCR" if a["mode"] == "blocks_first" else "CRD"
    x, block = graph.name(op.input_value(0)), int(a["block_size"])
    return graph.add("DepthToSpace", [x], op.get_friendly_name(), blocksize=block, mode=mode)


def _space_to_depth(graph: Graph, op: Any, name: str) -> str:
    a = op.get_attributes()
    if a["mode"] != "blocks_first":
        raise unsupported(name, [f"SpaceToDepth ({a['mode']})"])
    x, block = graph.name(op.input_value(0)), int(a["block_size"])
    return graph.add("SpaceToDepth", [x], op.get_friendly_name(), blocksize=block)


def _whole(kind: str) -> Callable[[Graph, Any, str], str]:
    """Tile and Broadcast, whose second input is a shape."""

    def convert(graph: Graph, op: Any, name: str) -> str:
        sizes = graph.integers(_fixed(graph, op, 1, name), f"{op.get_friendly_name()}/sizes")
        return graph.add(kind, [graph.name(op.input_value(0)), sizes], op.get_friendly_name())

    return convert


def _select(graph: Graph, op: Any, name: str) -> str:
    return graph.add("Where", _named(graph, op), op.get_friendly_name())


_OPERATORS: dict[str, Callable[[Graph, Any, str], str | None]] = {
    "Convolution": _convolution, "GroupConvolution": _convolution, "ConvolutionBackpropData": _transposed_convolution,
    "MaxPool": _pool, "AvgPool": _pool, "MatMul": _product, "Reshape": _reshape, "Transpose": _transpose,
    "Squeeze": _axes("Squeeze"), "Unsqueeze": _axes("Unsqueeze"), "Pad": _pad, "Clamp": _clamp, "PRelu": _prelu,
    "Swish": _swish, "Elu": _elu, "Gelu": _gelu, "SquaredDifference": _squared_difference, "Softmax": _softmax,
    "LogSoftmax": _softmax, "Concat": _concat, "Split": _split, "VariadicSplit": _split,
    "StridedSlice": _strided_slice, "Slice": _slice, "Gather": _gather, "Convert": _cast, "ShapeOf": _shape,
    "Interpolate": _resize, "DepthToSpace": _depth_to_space, "SpaceToDepth": _space_to_depth, "Tile": _whole("Tile"),
    "Broadcast": _whole("Expand"), "Select": _select,
}  # fmt: skip

_NUMPY: dict[str, Any] = {
    "f32": np.float32, "f16": np.float32, "f64": np.float64, "i64": np.int64, "i32": np.int32, "i8": np.int8,
    "u8": np.uint8, "boolean": np.bool_,
}  # fmt: skip


def _fuse_biases(graph: Graph) -> None:
    """Make a constant that is added to a convolution its bias, as exporters write it."""
    from onnx import numpy_helper

    values = {tensor.name: tensor for tensor in graph.initializers}
    uses = Counter(name for node in graph.nodes for name in node.input)
    makers = {node.output[0]: node for node in graph.nodes if node.op_type in ("Conv", "ConvTranspose")}
    gone = []
    for node in graph.nodes:
        if node.op_type != "Add":
            continue
        for one, other in (tuple(node.input), tuple(reversed(node.input))):
            conv = makers.get(one)
            if conv is None or other not in values or uses[one] != 1 or len(conv.input) != 2:
                continue
            bias = numpy_helper.to_array(values[other])
            channels = int(values[conv.input[1]].dims[0 if conv.op_type == "Conv" else 1])
            if bias.size != channels or (bias.shape[-2:] != (1, 1) if bias.ndim >= 3 else bias.size != 1):
                continue
            conv.input.append(graph.store(bias.reshape(-1).astype(np.float32), f"{conv.name}/bias"))
            conv.output[0] = node.output[0]
            gone.append(node.name)
            break
    graph.nodes[:] = [node for node in graph.nodes if node.name not in set(gone)]
    used = {name for node in graph.nodes for name in node.input}
    graph.initializers[:] = [tensor for tensor in graph.initializers if tensor.name in used]


def _key(output: Any) -> tuple[str, int]:
    return output.get_node().get_name(), output.get_index()


def _type(value: Any) -> int:
    """The ONNX type of a tensor; half precision becomes float32."""
    from onnx import helper

    known = _NUMPY.get(value.get_element_type().get_type_name(), np.float32)
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(known)))


def _dims(value: Any) -> list[int | str]:
    """The shape of an input or output; an open first side is the batch, other open sides keep a name of their own."""
    sides = list(value.get_partial_shape())
    return [
        int(side.get_length()) if side.is_static else "batch" if axis == 0 else f"side{axis}"
        for axis, side in enumerate(sides)
    ]
