"""Train an INT8 file under its float model, on images without labels or with them.

Weights, scales and biases are learned through the rounding (Esser et al. 2020, "Learned Step Size Quantization"), so
that answers and features come near the float model's. Where the Q/DQ pairs stand and of what type they are stays what
the engine made it: only the numbers in them change.
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
"""Steps of an epoch, or a little fewer."""
FEATURES = 8
"""Tensors within the network that are compared, evenly spread."""


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """How an INT8 file is trained.

    Images come in an order, and are changed in a way, that `seed` and the step decide: training that was ended goes on
    from the folder `checkpoint` as if it had not been. `labels`: where they are known the class of each calibration
    image, from which is learned too. `training`: default by whether there are labels.
    """

    seed: int = 0
    checkpoint: Path | None = None
    labels: Sequence[int] = ()
    training: Training | None = None


def apply(step: Distil | Train, state: Int8State) -> int:
    """Train the INT8 model, with labels where the step is to learn from them."""
    labels = state.labels if "labels" in step.needs else ()
    request = TrainRequest(seed=state.seed, checkpoint=state.checkpoint, labels=labels)
    return int(train(state.quantized, state.model, state.calibration, request, state.tick))


def train(
    model: onnx.ModelProto, reference: onnx.ModelProto, calibration: Calibration, request: TrainRequest, tick: Tick
) -> bool:
    """Train the numbers of the Q/DQ model `model`, in place; `reference` is the float model with the same node names.

    An eighth of the images is held out: at the end of each epoch they tell how far the answers are from the float
    model's, and the nearest state is written; where none is nearer than the start, `model` stays as it is. Returns
    whether it changed. `tick` is called with (steps done, steps, what). Raises `RuntimeFailed` for an operator that has
    no gradient here.
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
        return False  # no state was nearer than the start: the file stays what it was
    trainee.student.load_state_dict(outcome.best)
    trainee.student.write(model)
    return True


class _Trainee:
    """An INT8 model under its float model, as `loop.Trainee` wants it."""

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
        """Nothing: there is no mode."""

    def step(self, number: int, epoch: int, at: int) -> Step:
        """One step, for which the gradients of the batch's parts add up."""
        begin = time.monotonic()
        learned = self.batches.of(number)
        feeding, total = time.monotonic() - begin, 0.0
        self.optimizer.zero_grad()
        for loss in self.student.losses(learned, self.batches.name, self.asked):
            loss.backward()
            total += float(loss.detach())
        self.optimizer.step()
        return Step(total, feeding)

    def rehearse(self) -> float:
        """Never asked: the plan has its epochs."""
        raise NotImplementedError

    def validate(self) -> tuple[float, ...]:
        """Minus the distance from the float model on the held-out images."""
        with torch.no_grad():
            loss = sum(map(float, self.student.losses(self.validation, self.batches.name, self.outputs)))
        return (-loss if math.isfinite(loss) else WORST,)

    def weights(self) -> Weights:
        """What is learned."""
        return {name: tensor.clone() for name, tensor in self.student.state_dict().items()}

    def describe(self, loss: float, epoch: int, progress: Progress) -> str:
        """The distance of the nearest state."""
        return f"distillation, loss {-progress.rank[0]:.4g} at step {progress.best_step}, {-progress.began:.4g} before"


def _features(model: onnx.ModelProto, reference: onnx.ModelProto) -> list[tuple[str, str]]:
    """What every few layers read in `model`, and the same tensor of `reference`."""
    named = {node.name: node for node in model.graph.node}
    layers = [node for node in reference.graph.node if node.op_type in PRODUCTS and node.name in named]
    found = list(dict.fromkeys((named[node.name].input[0], node.input[0]) for node in layers[1:]))
    return found[:: -max(1, len(found) // FEATURES)]
