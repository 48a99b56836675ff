"""Quantize and distil: the float model teaches its own quantized copy on images without labels.

Weights, scales and biases are learned through the rounding (Esser et al. 2020, "Learned Step Size Quantization"), so
that answers and features come near the float model's. Where the Q/DQ pairs stand and of what type they are stays what
the engine made it: only the numbers in them change.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import torch

from edgewright.core import files as core_files
from edgewright.graph import batch, files, sparsity
from edgewright.graph.census import PRODUCTS
from edgewright.graph.index import constants_of
from edgewright.quantize import autograd
from edgewright.quantize.calibration.images import Calibration
from edgewright.quantize.calibration.statistics import Tick
from edgewright.quantize.state import Int8State
from edgewright.quantize.steps import Distil, Train

from .batches import Lesson, Lessons
from .schedule import SUPERVISED, TRAINING, Training

if TYPE_CHECKING:
    import onnx

Tensors = dict[str, torch.Tensor]

CHECKPOINT, EVERY = "checkpoint.safetensors", 20
FEATURES = 8
"""Tensors within the network that are compared, evenly spread."""


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """Quantized weights: the layer that reads them, the tensor behind their pair, and what is stored of them."""

    layer: str
    output: str
    integers: str
    scale: str
    axis: int
    limit: int


class Bias(msgspec.Struct, frozen=True, kw_only=True):
    """The bias of a layer: the tensor it reads, what is stored, and for an int32 one its scale."""

    layer: str
    output: str
    stored: str
    scale: str | None


class Best(NamedTuple):
    """The state that was nearest to the teacher on the images that are not learned from: after which step, how far it
    was, and what was learned by then."""

    step: int
    loss: float
    tensors: list[torch.Tensor]


class Student:
    """A Q/DQ model with the numbers in it that are learned."""

    def __init__(self, model: onnx.ModelProto, spread: dict[str, float]) -> None:
        self.model = model
        self.fixed = autograd.constants(model)
        self.weights, self.biases = _weights(model, self.fixed), _biases(model, self.fixed, spread)
        self.written: set[str] = set()
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
                self.kept[w.integers] = integers != 0  # 2:4 zeros stay: sparse kernels want them all
        for name in [w.scale for w in self.weights] + _activation_scales(model, self.fixed):
            self.scales[name] = torch.zeros_like(self.fixed[name]).requires_grad_()
        for b in self.biases:
            stored = self.fixed[b.stored].float()
            self.base[b.output] = stored * self.fixed[b.scale] if b.scale else stored
            self.shifts[b.output] = torch.zeros_like(stored).requires_grad_()
        self.unit = {b.output: spread[b.layer] for b in self.biases}

    def groups(self, training: Training) -> list[dict[str, Any]]:
        """What the optimizer moves, and how fast."""
        rates = (training.weight_rate, training.scale_rate, training.bias_rate)
        return [
            {"params": list(part.values()), "lr": rate}
            for part, rate in zip((self.grid, self.scales, self.shifts), rates)
        ]

    def answer(self, feed: Tensors, outputs: Sequence[str]) -> list[torch.Tensor]:
        """The tensors `outputs` for the inputs `feed`, rounded as the file is, with gradients."""
        values: dict[str, Any] = {**self.fixed, **feed}
        values |= {name: self.scale(name) for name in self.scales}
        for w in self.weights:
            grid = self.grid[w.integers]
            rounded = _Round.apply(grid * self.kept[w.integers] if w.integers in self.kept else grid, w.limit)
            values[w.output] = rounded * self._along(values[w.scale], w)
        values |= {b.output: self.bias(b) for b in self.biases}
        return autograd.run(self.model, values, outputs, ROUNDING)

    def scale(self, name: str) -> torch.Tensor:
        """The scale `name` as it is now."""
        return self.fixed[name] * torch.exp(self.scales[name])

    def bias(self, b: Bias) -> torch.Tensor:
        """The bias `b` as it is now, in float."""
        return self.base[b.output] + self.unit[b.output] * self.shifts[b.output]

    def state(self) -> list[torch.Tensor]:
        """A copy of what was learned, in the optimizer's order."""
        return [p.detach().clone() for p in self._learned()]

    def go_back(self, state: list[torch.Tensor]) -> None:
        """Be again what `state` says."""
        for p, value in zip(self._learned(), state):
            p.data.copy_(value)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def examined(self, exam: Lesson, name: str, outputs: Sequence[str]) -> float:
        """The distance from the teacher in `exam`, whose images go into the input `name`."""
        parts, distance = exam
        answers = (self.answer({name: _tensor(part)}, outputs) for part in parts)
        return sum(float(distance.of(number, tensors)) for number, tensors in enumerate(answers))

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def write(self) -> None:
        """Put what was learned into the model's file."""
        from onnx import numpy_helper

        stored = constants_of(self.model.graph)

        def put(name: str, value: torch.Tensor) -> None:
            self.written.add(name)
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
    """Rounding and clipping that gradients pass straight through."""

    @staticmethod
    def forward(_context: Any, x: torch.Tensor, limit: int) -> torch.Tensor:
        return x.round().clamp(-limit, limit)

    @staticmethod
    def backward(_context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient, None


def apply(step: Distil | Train, state: Int8State) -> int:
    """Train the INT8 model, with labels where the step is to learn from them."""
    labels = state.labels if "labels" in step.needs else ()
    distil(
        state.quantized, state.model, state.calibration, state.tick, seed=state.seed, checkpoint=state.checkpoint,
        labels=labels,
    )  # fmt: skip
    return 1


def distil(
    model: onnx.ModelProto,
    reference: onnx.ModelProto,
    calibration: Calibration,
    tick: Tick,
    seed: int = 0,
    checkpoint: Path | None = None,
    training: Training | None = None,
    labels: Sequence[int] = (),
) -> None:
    """Train the numbers of the Q/DQ model `model`, in place; `reference` is the float model with the same node names.

    Images come in an order, and are changed in a way, that `seed` and the step decide: training that was ended goes on
    from the folder `checkpoint` as if it had not been. `labels`: where they are known the class of each calibration
    image, from which is learned too. An eighth of the images is held out: every `EVERY` steps they tell how far the
    answers are from the float model's, and the nearest state is written; where none is nearer than the start, `model`
    stays as it is. `tick` is called with (steps done, steps, what). Raises `RuntimeFailed` for an operator that has no
    gradient here.
    """
    training = training or (SUPERVISED if labels else TRAINING)
    outputs = [value.name for value in reference.graph.output]
    asked, told = ([*outputs, *names] for names in zip(*_features(model, reference)))
    lessons = Lessons(reference, told, calibration, training, seed, labels)
    student_model = files.copy(model)
    batch.apply(student_model, lessons.at_once)
    student = Student(student_model, lessons.spread)
    optimizer = torch.optim.Adam(student.groups(training))
    share = min(1.0, lessons.size / training.most_images) ** 0.5
    rates = [group["lr"] * share for group in optimizer.param_groups]
    identity = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    exam = lessons.exam()
    before = student.examined(exam, lessons.name, outputs)
    best = Best(0, before, student.state())
    begin = 0
    if checkpoint:
        begin, best = _resume(checkpoint, identity, optimizer, best)
    for step in range(begin, training.steps):
        for group, rate in zip(optimizer.param_groups, rates):
            group["lr"] = rate * (1 + math.cos(math.pi * step / training.steps)) / 2
        parts, distance = lessons.of(step)
        optimizer.zero_grad()
        for number, part in enumerate(parts):
            distance.of(number, student.answer({lessons.name: _tensor(part)}, asked)).backward()
        optimizer.step()
        done = step + 1
        if done % EVERY == 0 or done == training.steps:
            loss = student.examined(exam, lessons.name, outputs)
            best = Best(done, loss, student.state()) if loss < best.loss else best
        tick(done, training.steps, f"distillation, loss {best.loss:.4g} at step {best.step}, {before:.4g} before")
        if checkpoint and done % EVERY == 0:
            _keep(checkpoint, identity, optimizer, done, best)
    if not best.step:
        return  # no state was nearer than the start: the file stays what it was
    student.go_back(best.tensors)
    student.write()
    learned = constants_of(student.model.graph)
    for tensor in model.graph.initializer:
        if tensor.name in student.written:
            tensor.CopyFrom(learned[tensor.name])


def _learned(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _keep(folder: Path, identity: str, optimizer: torch.optim.Optimizer, step: int, best: Best) -> None:
    """Write what was learned, the optimizer's moments, and the best state, in place of what `folder` held."""
    from safetensors.torch import save

    tensors: Tensors = {}
    for i, (p, kept) in enumerate(zip(_learned(optimizer), best.tensors)):
        state = optimizer.state[p]
        tensors |= {f"{i}": p.detach(), f"{i}.mean": state["exp_avg"], f"{i}.square": state["exp_avg_sq"]}
        tensors[f"{i}.best"] = kept
    about = {"model": identity, "step": str(step), "best": str(best.step), "loss": best.loss.hex()}
    folder.mkdir(parents=True, exist_ok=True)
    core_files.write(folder / CHECKPOINT, save(tensors, metadata=about))


def _resume(folder: Path, identity: str, optimizer: torch.optim.Optimizer, start: Best) -> tuple[int, Best]:
    """Go on from what `folder` holds, where it is of this model; returns the steps that are done and the best state.

    That is `start` where there is nothing to go on from.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / CHECKPOINT, "pt") as file:
            about = file.metadata() or {}
            if about.get("model") != identity:
                return 0, start
            step, kept = int(about["step"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return 0, start  # none, or a damaged one: training begins anew, and its progress says so
    for i, p in enumerate(_learned(optimizer)):
        p.data.copy_(kept[f"{i}"])
        moments = {"exp_avg": kept[f"{i}.mean"], "exp_avg_sq": kept[f"{i}.square"]}
        optimizer.state[p] = {"step": torch.tensor(float(step)), **moments}
    return step, Best(
        int(about["best"]), float.fromhex(about["loss"]), [kept[f"{i}.best"] for i in range(len(start.tensors))]
    )


def _features(model: onnx.ModelProto, reference: onnx.ModelProto) -> list[tuple[str, str]]:
    """What every few layers read in `model`, and the same tensor of `reference`."""
    named = {node.name: node for node in model.graph.node}
    layers = [node for node in reference.graph.node if node.op_type in PRODUCTS and node.name in named]
    found = list(dict.fromkeys((named[node.name].input[0], node.input[0]) for node in layers[1:]))
    return found[:: -max(1, len(found) // FEATURES)]


def _fake_quantize(a: autograd.Attributes, x: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
    """QuantizeLinear and its DequantizeLinear in one, with the gradients of LSQ, by one scale or one a channel."""
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
    """Images channels last, the layout of torch's fast pools and convolutions on CPUs; what follows stays so."""
    tensor = torch.from_numpy(array)
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
