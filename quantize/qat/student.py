"""An INT8 model with trainable weights, scales and biases of its Q/DQ pairs, with gradients through the rounding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import torch

from edgewright.graph import sparsity
from edgewright.graph.census import PRODUCTS
from edgewright.graph.index import constants_of
from edgewright.quantize import autograd

from .batches import Batch
from .schedule import Training

if TYPE_CHECKING:
    import onnx

Tensors = dict[str, torch.Tensor]


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """Quantized weights: the layer that reads them, the tensor after their pair, and the stored values."""

    layer: str
    output: str
    integers: str
    scale: str
    axis: int
    limit: int


class Bias(msgspec.Struct, frozen=True, kw_only=True):
    """The bias of a layer: the tensor it reads, the stored values, and the scale of an int32 bias."""

    layer: str
    output: str
    stored: str
    scale: str | None


class Student:
    """A Q/DQ model with its trainable numbers."""

    def __init__(self, model: onnx.ModelProto, spread: dict[str, float]) -> None:
        self.model = model
        self.fixed = autograd.constants(model)
        self.weights, self.biases = _weights(model, self.fixed), _biases(model, self.fixed, spread)
        self.grid: Tensors = {}
        self.kept: Tensors = {}
        self.scales: Tensors = {}
        self.shifts: Tensors = {}
        self.base: Tensors = {}
        nodes = {node.name: node for node in model.graph.node}
        for w in self.weights:
            integers = self.fixed[w.integers].float()
            # From the middle of their cells: rounding was careful, and noise must not undo it at once.
            self.grid[w.integers] = integers.clone().requires_grad_()
            along = sparsity.inputs_axis(nodes[w.layer])
            if along is not None and sparsity.has_pattern(integers.numpy(), along):
                self.kept[w.integers] = integers != 0  # 2:4 zeros stay: sparse kernels need all of them.
        for name in [w.scale for w in self.weights] + _activation_scales(model, self.fixed):
            self.scales[name] = torch.zeros_like(self.fixed[name]).requires_grad_()
        for b in self.biases:
            stored = self.fixed[b.stored].float()
            self.base[b.output] = stored * self.fixed[b.scale] if b.scale else stored
            self.shifts[b.output] = torch.zeros_like(stored).requires_grad_()
        self.unit = {b.output: spread[b.layer] for b in self.biases}

    def groups(self, training: Training) -> list[dict[str, Any]]:
        """Parameter groups for the optimizer, with learning rates."""
        rates = (training.weight_rate, training.scale_rate, training.bias_rate)
        return [
            {"params": list(part.values()), "lr": rate}
            for part, rate in zip((self.grid, self.scales, self.shifts), rates)
        ]

    def answer(self, feed: Tensors, outputs: Sequence[str]) -> list[torch.Tensor]:
        """The tensors `outputs` for the inputs `feed`, rounded like the file, with gradients."""
        values: dict[str, Any] = {**self.fixed, **feed}
        values |= {name: self.scale(name) for name in self.scales}
        for w in self.weights:
            grid = self.grid[w.integers]
            rounded = _Round.apply(grid * self.kept[w.integers] if w.integers in self.kept else grid, w.limit)
            values[w.output] = rounded * self._along(values[w.scale], w)
        values |= {b.output: self.bias(b) for b in self.biases}
        return autograd.run(self.model, values, outputs, ROUNDING)

    def scale(self, name: str) -> torch.Tensor:
        """The current scale `name`."""
        return self.fixed[name] * torch.exp(self.scales[name])

    def bias(self, b: Bias) -> torch.Tensor:
        """The current bias `b` in float."""
        return self.base[b.output] + self.unit[b.output] * self.shifts[b.output]

    def state_dict(self) -> Tensors:
        """The trainable tensors, in the optimizer's order."""
        return {str(number): p.detach() for number, p in enumerate(self._learned())}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore `state`."""
        for number, p in enumerate(self._learned()):
            p.data.copy_(state[str(number)])

    def losses(self, batch: Batch, outputs: Sequence[str]) -> Iterator[torch.Tensor]:
        """The loss of each part of a batch. The losses sum to that of the batch."""
        for number, part in enumerate(batch.parts):
            yield batch.distance.of(
                number, self.answer({name: _tensor(array) for name, array in part.items()}, outputs)
            )

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def write(self, model: onnx.ModelProto) -> None:
        """Write the trained numbers into `model`, which has the same constants."""
        from onnx import numpy_helper

        stored = constants_of(model.graph)

        def put(name: str, value: torch.Tensor) -> None:
            array = value.numpy().astype(numpy_helper.to_array(stored[name]).dtype)
            stored[name].CopyFrom(numpy_helper.from_array(array, name))

        for name in self.scales:
            put(name, self.scale(name))
        for w in self.weights:
            put(w.integers, self.grid[w.integers].round().clamp(-w.limit, w.limit))
        inputs = {node.name: node.input for node in self.model.graph.node}
        makers = {node.output[0]: node for node in self.model.graph.node}
        scales = {w.layer: w.scale for w in self.weights}
        for b in self.biases:
            if b.scale is None:
                put(b.stored, self.bias(b))
                continue
            # By definition of the integer kernels: the product of the scales of activations and weights.
            step = self.scale(makers[inputs[b.layer][0]].input[1]) * self.scale(scales[b.layer])
            put(b.scale, step.reshape(self.fixed[b.scale].shape))
            put(b.stored, torch.round(self.bias(b).double() / step).clamp(-(2**31), 2**31 - 1))

    def _learned(self) -> list[torch.Tensor]:
        return [*self.grid.values(), *self.scales.values(), *self.shifts.values()]

    def _along(self, scale: torch.Tensor, w: Weights) -> torch.Tensor:
        shape = [1] * self.fixed[w.integers].ndim
        shape[w.axis] = -1
        return scale.reshape(shape)


class _Round(torch.autograd.Function):  # type: ignore[misc]
    """Rounding and clipping with straight-through gradients."""

    @staticmethod
    def forward(_context: Any, x: torch.Tensor, limit: int) -> torch.Tensor:
        return x.round().clamp(-limit, limit)

    @staticmethod
    def backward(_context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient, None


def _fake_quantize(a: autograd.Attributes, x: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
    """QuantizeLinear and its DequantizeLinear in one operator, with the gradients of LSQ, with one scale or one per
    channel."""
    low, high = (0, 255) if zero.dtype == torch.uint8 else (-128, 127)
    if scale.numel() > 1:
        return torch._fake_quantize_learnable_per_channel_affine(
            x, scale, zero.float(), a.get("axis", 1), low, high, 1.0
        )
    return torch._fake_quantize_learnable_per_tensor_affine(
        x, scale.reshape(1), zero.float().reshape(1), low, high, 1.0
    )


ROUNDING: dict[str, autograd.Operator] = {
    "QuantizeLinear": _fake_quantize,
    "DequantizeLinear": lambda _, x, scale, zero=None: x,
}


def _weights(model: onnx.ModelProto, fixed: Tensors) -> list[Weights]:
    layers = {node.input[1]: node for node in model.graph.node if node.op_type in PRODUCTS}
    found = []
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear" or node.output[0] not in layers or node.input[0] not in fixed:
            continue
        integers = fixed[node.input[0]]
        axis = int(autograd.attributes(node).get("axis", 1)) % integers.ndim
        largest = int(integers.int().abs().max())
        found.append(
            Weights(
                layer=layers[node.output[0]].name, output=node.output[0], integers=node.input[0], scale=node.input[1],
                axis=axis, limit=64 if largest <= 64 else 127,
            )
        )  # fmt: skip
    return found


def _biases(model: onnx.ModelProto, fixed: Tensors, spread: dict[str, float]) -> list[Bias]:
    makers = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    found = []
    for node in model.graph.node:
        if node.op_type not in ("Conv", "ConvTranspose", "Gemm") or len(node.input) < 3 or node.name not in spread:
            continue
        name = node.input[2]
        pair = makers.get(name)
        stored = pair.input[0] if pair is not None else name
        if stored in fixed:
            scale = pair.input[1] if pair is not None else None
            found.append(Bias(layer=node.name, output=name, stored=stored, scale=scale))
    return found


def _activation_scales(model: onnx.ModelProto, fixed: Tensors) -> list[str]:
    found = [n.input[1] for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] not in fixed]
    return list(dict.fromkeys(found))


def _tensor(array: np.ndarray) -> torch.Tensor:
    """Images in channels-last layout, for torch's fast CPU pools and convolutions. Later tensors keep the layout."""
    tensor = torch.from_numpy(array)
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
