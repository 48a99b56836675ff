"""Small networks written node by node, in the form of any operator set and with names of any kind. Loaded by path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = 5
OPSETS = tuple(range(7, 27))
"""From the first that ONNX Runtime keeps to the newest that the pinned one knows."""
NAMES = ("plain", "torch", "keras", "mxnet", "engine", "same", "empty", "unicode", "long", "numbers")
"""How tensors and nodes are called (`Net._names`)."""
SUFFIXES = (
    "_bias", "_scale", "_zero_point", "_quantized", "_QuantizeLinear_Output", "_DequantizeLinear_Output", "_dq", "_q",
    "_QuantizeLinear_Input", "_zero", "_quantize", "_dequantize", "_QuantizeLinear", "_DequantizeLinear", "/low",
    "/high", "_quantized_scale", "_channels_scale", "_channels_zero_point", "_ReluA",
)  # fmt: skip
"""What quantizers write behind the name of a tensor or node."""


class Tensor(NamedTuple):
    """A tensor of a network: its name and its shape, the batch first."""

    name: str
    shape: tuple[int, ...]

    @property
    def channels(self) -> int:
        return self.shape[1]


class Net:
    """A network under construction: every method adds nodes and returns the tensor that they make."""

    def __init__(self, opset: int, names: str = "plain", size: tuple[int, int] = (12, 12), seed: int = 0) -> None:
        self.opset, self.naming = opset, names
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.initial: list[onnx.TensorProto] = []
        self.images = Tensor("images", (1, 3, *size))
        self.outputs: list[Tensor] = []
        self._last = "images"
        self._count = 0

    def _names(self, operator: str) -> tuple[str, str]:
        """The names of the next node and of what it makes."""
        self._count += 1
        n = self._count
        if self.naming == "engine":  # what an engine would make of the name of the tensor before
            suffix = SUFFIXES[int(self.random.integers(len(SUFFIXES)))]
            made = self._last + suffix if len(self._last) < 120 else f"t{n}"
            self._last = made
            return made + SUFFIXES[n % len(SUFFIXES)], made
        return {
            "plain": (f"n{n}", f"t{n}"),
            "torch": (f"/layers.{n}/{operator}", f"/layers.{n}/{operator}_output_0"),
            "keras": (f"model/{operator.lower()}_{n}/{operator}", f"model/{operator.lower()}_{n}/{operator}:0"),
            "mxnet": (f"{operator.lower()}{n}", f"{operator.lower()}{n - 1}_bias"),
            "same": ("images" if n == 1 else f"t{n - 1}", f"t{n}"),
            "empty": ("", f"t{n}"),
            "unicode": (f"слой {n} é", f"张量 {n} 🙂"),
            "long": ("layer/" * 50 + str(n), "tensor/" * 43 + str(n)),
            "numbers": (str(n), str(n + 100)),
        }[self.naming]

    def node(self, operator: str, inputs: Sequence[Tensor | str], shape: Sequence[int], **attributes: Any) -> Tensor:
        """One node with one output of this shape."""
        name, made = self._names(operator)
        read = [i.name if isinstance(i, Tensor) else i for i in inputs]
        self.nodes.append(helper.make_node(operator, read, [made], name, **attributes))
        return Tensor(made, tuple(shape))

    def many(self, operator: str, inputs: Sequence[Tensor | str], shapes: Sequence[Sequence[int]],
             **attributes: Any) -> list[Tensor]:  # fmt: skip
        """One node with an output of each of these shapes."""
        name, made = self._names(operator)
        read = [i.name if isinstance(i, Tensor) else i for i in inputs]
        self.nodes.append(
            helper.make_node(operator, read, [f"{made}.{i}" for i in range(len(shapes))], name, **attributes)
        )
        return [Tensor(f"{made}.{i}", tuple(shape)) for i, shape in enumerate(shapes)]

    def constant(self, value: Any, kind: Any = np.float32, node: bool = False) -> str:
        """A constant: an initializer, or a Constant `node`. Returns its name."""
        array = np.asarray(value, kind)
        if node:
            tensor = numpy_helper.from_array(array, "value")
            return self.node("Constant", [], array.shape, value=tensor).name
        _, name = self._names("weight")
        self.initial.append(numpy_helper.from_array(array, name))
        return name

    def weights(self, *shape: int, fan: int | None = None, node: bool = False) -> str:
        """Normal weights that keep the variance, for `fan` products a sum."""
        scale = (1.5 / (fan or max(1, int(np.prod(shape[1:]))))) ** 0.5
        return self.constant(self.random.standard_normal(shape) * scale, node=node)

    def bias(self, *shape: int) -> str:
        """Small normal numbers."""
        return self.constant(self.random.standard_normal(shape) * 0.2)

    def ints(self, *values: int) -> str:
        """A vector of int64."""
        return self.constant(values, np.int64)

    def conv(
        self, x: Tensor, filters: int, kernel: int = 3, stride: int = 1, dilation: int = 1, group: int = 1,
        bias: bool = True, auto_pad: str = "", says_kernel: bool = True, node: bool = False, weights: str = "",
        c: str = "",
    ) -> Tensor:  # fmt: skip
        """A convolution over all axes behind the channels, padded to keep the size where `auto_pad` says nothing."""
        rank = len(x.shape) - 2
        told: dict[str, Any] = {"strides": [stride] * rank, "dilations": [dilation] * rank, "group": group}
        if says_kernel:
            told["kernel_shape"] = [kernel] * rank
        reach = dilation * (kernel - 1)
        if auto_pad:
            told["auto_pad"] = auto_pad
        else:
            told["pads"] = [reach // 2] * (2 * rank)
        same = [-(-side // stride) for side in x.shape[2:]]
        valid = [(side - reach - 1) // stride + 1 for side in x.shape[2:]]
        plain = [(side + 2 * (reach // 2) - reach - 1) // stride + 1 for side in x.shape[2:]]
        sides = {"": plain, "VALID": valid}.get(auto_pad, same)
        read = [x.name, weights or self.weights(filters, x.channels // group, *[kernel] * rank, node=node)]
        if c or bias:
            read.append(c or self.bias(filters))
        return self.node("Conv", read, (x.shape[0], filters, *sides), **told)

    def relu(self, x: Tensor) -> Tensor:
        return self.node("Relu", [x], x.shape)

    def clip(self, x: Tensor, low: float | None, high: float | None, node: bool = False) -> Tensor:
        """Between two ends, each of which may be missing."""
        if self.opset < 11:
            ends = {name: float(end) for name, end in (("min", low), ("max", high)) if end is not None}
            return self.node("Clip", [x], x.shape, **ends)
        read = ["" if end is None else self.constant(end, node=node) for end in (low, high)]
        while read and not read[-1]:
            read.pop()
        return self.node("Clip", [x, *read], x.shape)

    def reshape(self, x: Tensor, *shape: int) -> Tensor:
        return self.node("Reshape", [x, self.ints(*shape)], shape)

    def transpose(self, x: Tensor, *order: int) -> Tensor:
        return self.node("Transpose", [x], [x.shape[axis] for axis in order], perm=list(order))

    def axes(
        self, operator: str, x: Tensor, shape: Sequence[int], axes: Sequence[int], since: int, **told: Any
    ) -> Tensor:
        """An operator whose axes are an attribute before the operator set `since`, an input from then on."""
        if self.opset < since:
            return self.node(operator, [x], shape, axes=list(axes), **told)
        return self.node(operator, [x, self.ints(*axes)], shape, **told)

    def squeeze(self, x: Tensor, *axes: int) -> Tensor:
        return self.axes("Squeeze", x, [s for i, s in enumerate(x.shape) if i not in axes], axes, 13)

    def unsqueeze(self, x: Tensor, axis: int) -> Tensor:
        return self.axes("Unsqueeze", x, [*x.shape[:axis], 1, *x.shape[axis:]], [axis], 13)

    def reduce(self, operator: str, x: Tensor, *axes: int, keep: int = 1) -> Tensor:
        """ReduceMean and its kin."""
        shape = [1 if i in axes else s for i, s in enumerate(x.shape) if keep or i not in axes]
        return self.axes(operator, x, shape, axes, 13 if operator == "ReduceSum" else 18, keepdims=keep)

    def slice(self, x: Tensor, axis: int, start: int, end: int, step: int = 1) -> Tensor:
        shape = list(x.shape)
        shape[axis] = len(range(shape[axis])[start:end:step])
        if self.opset < 10:  # which knows no steps
            shape[axis] = len(range(x.shape[axis])[start:end])
            return self.node("Slice", [x], shape, axes=[axis], starts=[start], ends=[end])
        return self.node("Slice", [x, *(self.ints(v) for v in (start, end, axis, step))], shape)

    def split(self, x: Tensor, first: int) -> list[Tensor]:
        """Along the channels, at `first`."""
        sizes = [first, x.channels - first]
        shapes = [(x.shape[0], size, *x.shape[2:]) for size in sizes]
        if self.opset < 13:
            return self.many("Split", [x], shapes, axis=1, split=sizes)
        return self.many("Split", [x, self.ints(*sizes)], shapes, axis=1)

    def pad(self, x: Tensor, mode: str, by: int = 1, value: float = 0.0) -> Tensor:
        """Rows and columns on all four sides."""
        shape = (*x.shape[:2], x.shape[2] + 2 * by, x.shape[3] + 2 * by)
        pads = [0, 0, by, by] * 2
        if self.opset < 11:
            return self.node("Pad", [x], shape, mode=mode, pads=pads, value=value)
        more = [self.constant(value)] if mode == "constant" and value else []
        return self.node("Pad", [x, self.ints(*pads), *more], shape, mode=mode)

    def resize(self, x: Tensor, mode: str, coordinates: str, nearest: str, factor: float, sizes: bool) -> Tensor:
        """A map made larger or smaller: Upsample before operator set 10, by scales alone before 11."""
        out = (*x.shape[:2], *(int(side * factor) for side in x.shape[2:]))
        scales = [1, 1, factor, factor]
        if self.opset < 9:
            return self.node("Upsample", [x], out, mode=mode, scales=[float(s) for s in scales])
        if self.opset < 11:
            return self.node("Upsample" if self.opset == 9 else "Resize", [x, self.constant(scales)], out, mode=mode)
        told = {"coordinate_transformation_mode": coordinates, "mode": mode}
        if mode == "nearest":
            told["nearest_mode"] = nearest
        roi = self.constant(np.zeros(0)) if self.opset < 13 else ""
        if sizes:
            empty = self.constant(np.zeros(0)) if self.opset < 13 else ""
            return self.node("Resize", [x, roi, empty, self.ints(*out)], out, **told)
        return self.node("Resize", [x, roi, self.constant(scales)], out, **told)

    def softmax(self, x: Tensor, axis: int = -1) -> Tensor:
        return self.node("Softmax", [x], x.shape, axis=axis % len(x.shape))

    def pool(self, x: Tensor, operator: str, kernel: int, stride: int, pads: int = 0, **told: Any) -> Tensor:
        """MaxPool or AveragePool."""
        rank = len(x.shape) - 2
        ceil = told.get("ceil_mode", 0)
        sides = []
        for side in x.shape[2:]:
            span = side + 2 * pads - kernel
            out = -(-span // stride) + 1 if ceil else span // stride + 1
            if ceil and (out - 1) * stride >= side + pads:
                out -= 1
            sides.append(out)
        return self.node(
            operator, [x], (*x.shape[:2], *sides), kernel_shape=[kernel] * rank, strides=[stride] * rank,
            pads=[pads] * (2 * rank), **told,
        )  # fmt: skip

    def batch_norm(self, x: Tensor) -> Tensor:
        """By constants."""
        n = x.channels
        normal = self.random.standard_normal((3, n))
        numbers = (1 + 0.2 * normal[0], 0.2 * normal[1], 0.1 * normal[2], self.random.uniform(0.5, 1.5, n))
        more = [self.constant(v) for v in numbers]
        return self.node("BatchNormalization", [x, *more], x.shape, epsilon=1e-5)

    def gemm(
        self, x: Tensor, outputs: int, form: str = "[N]", trans: int = 1, alpha: float = 1.0, beta: float = 1.0
    ) -> Tensor:
        """A matrix product with C of a `form`: "", "[N]", "[1,N]", "[1]", "[1,1]", "scalar"."""
        shape = {"[N]": (outputs,), "[1,N]": (1, outputs), "[1]": (1,), "[1,1]": (1, 1), "scalar": ()}
        c = [self.constant(self.random.standard_normal(shape[form]) * 0.2)] if form else []
        if not form and self.opset < 11:
            c = [self.constant(np.zeros(outputs))]
        weights = self.weights(outputs, x.shape[1]) if trans else self.weights(x.shape[1], outputs, fan=x.shape[1])
        return self.node("Gemm", [x, weights, *c], (1, outputs), transB=trans, alpha=alpha, beta=beta)

    def pooled(self, x: Tensor) -> Tensor:
        """The mean of each channel, (batch, channels)."""
        return self.node("Flatten", [self.node("GlobalAveragePool", [x], (*x.shape[:2], *[1] * (len(x.shape) - 2)))],
                         x.shape[:2], axis=1)  # fmt: skip

    def give(self, *outputs: Tensor) -> onnx.ModelProto:
        """The finished model, its first output called "scores"."""
        first = outputs[0].name
        taken = {out for node in self.nodes for out in node.output}
        if first in taken:
            for node in self.nodes:
                for names in (node.input, node.output):
                    names[:] = ["scores" if name == first else name for name in names]
            outputs = (outputs[0]._replace(name="scores"), *outputs[1:])
        values = [helper.make_tensor_value_info(t.name, TensorProto.FLOAT, t.shape) for t in outputs]
        image = helper.make_tensor_value_info("images", TensorProto.FLOAT, self.images.shape)
        graph = helper.make_graph(self.nodes, "generated", [image], values, self.initial)
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="")
        model.ir_version = max(4, min(model.ir_version, helper.find_min_ir_version_for(opsets)))
        return model
