"""Train an INT8 file to match its float model, on images with or without labels.

Weights, scales and biases are trained through the rounding (Esser et al. 2020, "Learned Step Size Quantization"), so
that outputs and features approach the float model's. The positions and types of the Q/DQ pairs do not change, only the
numbers in them.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import torch

from edgewright.graph import batch, files
from edgewright.graph.census import PRODUCTS
from edgewright.quantize.calibration.images import Calibration
from edgewright.quantize.state import Int8State
from edgewright.quantize.steps import Distil, Train
from edgewright.quantize.training import checkpoint, loop
from edgewright.quantize.training.checkpoint import Checkpoint, Stateful
from edgewright.quantize.training.loop import WORST, Step, Tick, Weights
from edgewright.quantize.training.schedule import Plan, Progress

from .batches import Batches
from .schedule import SUPERVISED, TRAINING, Training
from .student import Student

if TYPE_CHECKING:
    import onnx

EVERY = 20
"""Steps per epoch, or slightly fewer."""
FEATURES = 8
"""Number of inner tensors to compare, evenly spread."""


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """How an INT8 file is trained.

    `seed` and the step decide the order and the augmentation of images, so interrupted training continues from the
    folder `checkpoint` to the same result. `labels`: the class of each calibration image, if known; training uses them
    too. `training`: the default depends on whether there are labels.
    """

    seed: int = 0
    checkpoint: Path | None = None
    labels: Sequence[int] = ()
    training: Training | None = None


def apply(step: Distil | Train, state: Int8State) -> int:
    """Train the INT8 model, with labels if the step uses them."""
    labels = state.labels if "labels" in step.needs else ()
    request = TrainRequest(seed=state.seed, checkpoint=state.checkpoint, labels=labels)
    return int(train(state.quantized, state.model, state.calibration, request, state.tick))


def train(
    model: onnx.ModelProto, reference: onnx.ModelProto, calibration: Calibration, request: TrainRequest, tick: Tick
) -> bool:
    """Train the numbers of the Q/DQ model `model` in place; `reference` is the float model with the same node names.

    An eighth of the images is held out. The end of each epoch measures the distance of their outputs to the float
    model's, and the best state is written. If no state is better than the start, `model` stays unchanged. Returns
    whether it changed. `tick` is called with (steps done, steps, text). Raises `RuntimeFailed` for an operator without
    a gradient in `autograd`.
    """
    training = request.training or (SUPERVISED if request.labels else TRAINING)
    kept = None
    if request.checkpoint:
        file = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
        about = [file, msgspec.to_builtins(training), request.seed, calibration.provenance.digest, list(request.labels)]
        kept = Checkpoint(request.checkpoint, checkpoint.identity([], about))
    compared = [*(value.name for value in reference.graph.output), *(name for _, name in _features(model, reference))]
    batches = Batches(reference, compared, calibration, training, request.seed, request.labels)
    trainee = _Trainee(model, reference, batches, training)
    outcome = loop.run(trainee, trainee.plan, kept, tick)
    if not outcome.progress.best_step:
        return False  # No state was better than the start: the file stays unchanged.
    trainee.student.load_state_dict(outcome.best)
    trainee.student.write(model)
    return True


class _Trainee:
    """An INT8 model and its float model as a `loop.Trainee`."""

    def __init__(
        self, model: onnx.ModelProto, reference: onnx.ModelProto, batches: Batches, training: Training
    ) -> None:
        self.training, self.batches = training, batches
        self.outputs = [value.name for value in reference.graph.output]
        self.asked = [*self.outputs, *(name for name, _ in _features(model, reference))]
        changed = files.copy(model)
        batch.apply(changed, batches.at_once)
        self.student = Student(changed, batches.spread)
        # With fewer images gradients are noisier.
        share = min(1.0, batches.size / training.most_images) ** 0.5
        groups = self.student.groups(training)
        self.optimizer = torch.optim.Adam([{**group, "lr": group["lr"] * share} for group in groups])
        self.validation = batches.validation()

    @property
    def modules(self) -> Mapping[str, Stateful]:
        """The student."""
        return {"student": self.student}

    @property
    def plan(self) -> Plan:
        """Epochs of about `EVERY` steps."""
        epochs = math.ceil(self.training.steps / EVERY)
        return Plan(steps=math.ceil(self.training.steps / epochs), epochs=epochs)

    def begin_epoch(self, epoch: int) -> None:
        """Does nothing: there is no training mode."""

    def step(self, number: int, epoch: int, at: int) -> Step:
        """One step; the gradients of the batch's parts are summed."""
        begin = time.monotonic()
        learned = self.batches.of(number)
        feeding, total = time.monotonic() - begin, 0.0
        self.optimizer.zero_grad()
        for loss in self.student.losses(learned, self.asked):
            loss.backward()
            total += float(loss.detach())
        self.optimizer.step()
        return Step(total, feeding)

    def rehearse(self) -> float:
        """Never called: the plan fixes the number of epochs."""
        raise NotImplementedError

    def validate(self) -> tuple[float, ...]:
        """Minus the distance to the float model on the held-out images."""
        with torch.no_grad():
            loss = sum(map(float, self.student.losses(self.validation, self.outputs)))
        return (-loss if math.isfinite(loss) else WORST,)

    def weights(self) -> Weights:
        """The trainable tensors."""
        return {name: tensor.clone() for name, tensor in self.student.state_dict().items()}

    def describe(self, loss: float, epoch: int, progress: Progress) -> str:
        """One line for the progress display: the best loss, its step, and the loss before training."""
        return f"distillation, loss {-progress.rank[0]:.4g} at step {progress.best_step}, {-progress.began:.4g} before"


def _features(model: onnx.ModelProto, reference: onnx.ModelProto) -> list[tuple[str, str]]:
    """The inputs of every few layers of `model`, and the same tensors of `reference`."""
    named = {node.name: node for node in model.graph.node}
    layers = [node for node in reference.graph.node if node.op_type in PRODUCTS and node.name in named]
    found = list(dict.fromkeys((named[node.name].input[0], node.input[0]) for node in layers[1:]))
    return found[:: -max(1, len(found) // FEATURES)]
