"""Train a student from its teacher: a smaller network, or a pruned copy that lost accuracy.

Knowledge distillation (Hinton et al. 2015) on the user's own images. The teacher and the student see the same crop
(Beyer et al. 2022, "Knowledge distillation: A good teacher is patient and consistent"), so images need no labels;
labels are used if there are any. Optimizer, schedule, averaged weights and crops are timm's.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch

from edgewright import tasks
from edgewright.core.errors import InvalidInput, RuntimeFailed, UsageError
from edgewright.core.spec import ModelSpec
from edgewright.quantize.pruning import sparsity
from edgewright.quantize.training import checkpoint, holdout, loop
from edgewright.quantize.training.checkpoint import Checkpoint, Stateful
from edgewright.quantize.training.loop import WORST, Step, Tick, Weights
from edgewright.quantize.training.schedule import Plan, Progress

from . import features as feature_maps
from . import losses as imitation
from .augment import Batch, Views, randomness
from .features import Answers, Pair, caught
from .schedule import STUDENT, History, Schedule

Supervised = Callable[[torch.nn.Module, Any, Batch], torch.Tensor]
"""A loss from labels, the mean over images: from the student, its last outputs, and its images."""
Validate = Callable[[torch.nn.Module, Sequence[int]], float]
"""The mAP of a module on the images with these indices, in percent; NaN if it has none."""
MINIMUM = 16
"""Minimum number of training images."""
PIXELS = 64 * 224 * 224
STEPS, SMALLEST = 150, 16
"""An epoch has this many steps if batches of this size give them: with few images, few large steps train little."""
ALIKE = 0.75
"""Mirror images if the teacher gives at least this share of held-out mirror images the same class."""
CLIP = 5.0
"""Maximum norm of a step's gradient: one unusual batch must not undo an epoch."""
REHEARSAL = 8
"""Steps that are timed, on copies, if a time is given instead of a number of epochs."""


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """How a student is trained.

    `spec` is the teacher's: both take the same input. `labels`: a class for each image, if the task's images have one.
    `supervised`: the loss of any other labels. `validate` ranks weights on held-out images, instead of accuracy (with
    labels) or agreement with the teacher. `features`: names of modules to compare (student, teacher), default the last
    maps of each resolution. The folder `checkpoint` holds everything needed to continue after a kill to the same
    result.
    """

    spec: ModelSpec
    schedule: Schedule = STUDENT
    labels: Sequence[int] = ()
    supervised: Supervised | None = None
    validate: Validate | None = None
    features: Sequence[Pair] | None = None
    checkpoint: Path | None = None
    seed: int = 0


def recover(
    student: torch.nn.Module,
    teacher: torch.nn.Module,
    images: Sequence[str | Path],
    answers: Answers,
    how: Distillation,
    tick: Tick = lambda *_: None,
) -> History:
    """Train `student` in place, on the image files `images`, to match `teacher`.

    `tick` is called with (steps done, steps, text). The student ends in eval mode, on the CPU, with the averaged
    weights that were best on the held-out images, or with its initial weights if none were better. Raises
    `InvalidInput` for images, labels or outputs that do not fit, and `RuntimeFailed` if the loss is not finite; the
    last good checkpoint stays.
    """
    identity = checkpoint.identity(
        [student, teacher],
        [[str(path) for path in images], list(how.labels), msgspec.to_builtins(how.schedule), how.seed],
    )
    trainee = _Trainee(student, teacher, images, answers, how)
    kept = Checkpoint(how.checkpoint, identity) if how.checkpoint else None
    return trainee.history(loop.run(trainee, trainee.plan, kept, tick))


class _Trainee:
    """A student and its teacher as a `loop.Trainee`."""

    def __init__(
        self, student: torch.nn.Module, teacher: torch.nn.Module, images: Sequence[str | Path], answers: Answers,
        how: Distillation,
    ) -> None:  # fmt: skip
        from timm.utils import ModelEmaV3

        spec, schedule = how.spec, how.schedule
        _require_labels(images, how.labels, spec)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.precision = _precision(schedule, self.device)
        _let_learn(student)
        # Convolutions are a fifth to a half faster with channels last, on CPUs and GPUs.
        self.student = student.to(self.device, memory_format=torch.channels_last)
        self.masks = sparsity.masks(self.student)
        self.teacher = copy.deepcopy(teacher).to(self.device, memory_format=torch.channels_last).eval()
        self.training = tasks.of(spec).training
        self.how, self.answers, self.spec, self.schedule = how, answers, spec, schedule
        self.labels = torch.tensor(list(how.labels), dtype=torch.long)
        self.learning, self.held_out = holdout.at_random(len(images), schedule.held_out, how.seed)
        side = spec.input.height * spec.input.width
        self.batch = min(schedule.batch or _batch(len(self.learning), side), len(self.learning))
        self.views = Views(images, spec)
        self._agree()
        mirror = self._mirrors() if schedule.mirror is None else schedule.mirror
        self.views = Views(images, spec, zoom=schedule.zoom, mirror=mirror, augment=schedule.augment)
        self.pairs = self._pairs(how.features)
        self.order = self.learning
        self.ema = ModelEmaV3(self.student, decay=schedule.ema, use_warmup=True)
        self.optimizer = self._optimizer(self.student)

    @property
    def modules(self) -> Mapping[str, Stateful]:
        """The student, and the average of its weights."""
        return {"student": self.student, "ema": self.ema}

    @property
    def plan(self) -> Plan:
        """Images of an epoch that do not fill a batch wait for the next epoch's order."""
        how, images = self.schedule, len(self.learning)
        return Plan(
            steps=max(1, images // self.batch), train_time_s=how.train_time_s, warmup=how.warmup, lowest=100.0,
            epochs=how.passes(images) if how.epochs or how.train_time_s is None else None,
            patience=how.patience, checkpoint_s=how.checkpoint_s,
        )  # fmt: skip

    def begin_epoch(self, epoch: int) -> None:
        """Training mode. An epoch has its own order."""
        generator = torch.Generator().manual_seed(self._number(epoch, 0))
        self.order = [self.learning[i] for i in torch.randperm(len(self.learning), generator=generator).tolist()]
        _train_mode(self.student, self.batch)

    def step(self, number: int, epoch: int, at: int) -> Step:
        """One step on the next images in the order of the epoch."""
        begin = time.monotonic()
        chosen = self.order[at * self.batch :][: self.batch]
        batch = self.views.training(chosen, self._number(epoch, 2 * at + 1))
        feeding = time.monotonic() - begin
        # Dropout also uses the step's own random numbers, so that a resumed training draws the same ones.
        with randomness(self._number(epoch, 2 * at + 2)):
            loss = self._step(self.student, self.optimizer, batch, number)
        self.ema.update(self.student, step=number + 1)
        return Step(loss, feeding)

    def rehearse(self) -> float:
        """The median seconds of a few steps, on copies."""
        student = copy.deepcopy(self.student)
        optimizer = self._optimizer(student)
        _train_mode(student, self.batch)
        seconds = []
        for number in range(REHEARSAL):
            begin = time.monotonic()
            chosen = [self.learning[(number * self.batch + i) % len(self.learning)] for i in range(self.batch)]
            with randomness(number):
                self._step(student, optimizer, self.views.training(chosen, number), number)
            seconds.append(time.monotonic() - begin)
        return sorted(seconds)[len(seconds) // 2]

    def validate(self) -> tuple[float, float]:
        """The rank of the averaged weights on the held-out images: the metric, then minus the loss for ties."""
        return self._rank(self.ema.module)

    def weights(self) -> Weights:
        """The averaged weights."""
        return {name: tensor.detach().clone() for name, tensor in self.ema.module.state_dict().items()}

    def describe(self, loss: float, epoch: int, progress: Progress) -> str:
        """The epoch, the loss of a step, and the metric of the last epoch."""
        shown = f", {self._metric} {self._sign * progress.epochs[-1].metric:.4g}" if progress.epochs else ""
        return f"epoch {epoch + 1} of {progress.planned}, loss {loss:.4g}{shown}"

    def history(self, outcome: loop.Trained) -> History:
        """Load the best weights into the student, and return the result."""
        self.student.load_state_dict(outcome.best)
        self.student.to("cpu", memory_format=torch.contiguous_format).eval().requires_grad_(False)
        progress, sign, steps = outcome.progress, self._sign, self.plan.steps
        learned = (progress.step - outcome.resumed_at) * self.batch
        epochs = tuple(msgspec.structs.replace(epoch, metric=sign * epoch.metric) for epoch in progress.epochs)
        return History(
            metric=self._metric, began=sign * progress.began, ended=sign * progress.rank[0],
            best_epoch=progress.best_step // steps or None, stopped=outcome.stopped, epochs=epochs,
            planned=progress.planned, images=len(self.learning), held_out=len(self.held_out), batch=self.batch,
            labels=bool(len(self.labels)) or self.how.supervised is not None, mirror=self.views.mirror,
            features=tuple(b for _, b in self.pairs), device=str(self.device), precision=self.precision,
            seconds=progress.seconds, images_per_s=learned / max(outcome.seconds, 1e-9),
            feeding=progress.feeding / max(progress.seconds, 1e-9), resumed_at=outcome.resumed_at,
        )  # fmt: skip

    def _step(self, student: torch.nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, number: int) -> float:
        """One step down the loss of one batch; returns the loss."""
        loss = self._loss(student, batch)
        optimizer.zero_grad(set_to_none=True)
        value = float(loss.detach())
        if math.isfinite(value):
            loss.backward()
            norm = float(torch.nn.utils.clip_grad_norm_(student.parameters(), CLIP))
            if math.isfinite(norm):
                optimizer.step()
                with torch.no_grad():
                    for name, kept in self.masks.items():
                        student.get_parameter(name).mul_(kept)
                return value
        what = "loss" if not math.isfinite(value) else "gradient"
        kept = f" The last good checkpoint is in {self.how.checkpoint}." if self.how.checkpoint else ""
        raise RuntimeFailed(
            f"The {what} is not finite at step {number + 1} of the training.",
            f"The student's weights diverged, or its outputs overflow.{kept}",
            f"Lower the learning rate (now {self.schedule.lr:g}), or check the images and labels.",
        )

    def _loss(self, student: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """The loss of the student for a batch, as one number to minimize."""
        schedule = self.schedule
        batch = batch._replace(pixels=batch.pixels.to(self.device, memory_format=torch.channels_last))
        theirs, ours = [b for _, b in self.pairs], [a for a, _ in self.pairs]
        with torch.no_grad(), self._cast(), caught(self.teacher, theirs) as told:
            wanted = self.answers(self.teacher, batch.pixels)
        with self._cast(), caught(student, ["", *ours]) as gave:
            given = self.answers(student, batch.pixels)
        loss = schedule.answers * imitation.answers(given, wanted, self.spec, schedule.temperature)
        if self.pairs and schedule.features:
            tensors = [gave[name] for name in ours], [told[name] for name in theirs]
            loss = loss + schedule.features * imitation.features(*tensors)
        if len(self.labels):
            right = self.labels[batch.indices].to(self.device)
            loss = loss + schedule.labels * self.training.label_loss([t.float() for t in given], right, self.spec)
        if self.how.supervised:
            loss = loss + schedule.labels * self.how.supervised(student, gave.get(""), batch)
        return loss

    def _rank(self, module: torch.nn.Module) -> tuple[float, float]:
        """The rank of a module on the held-out images: the metric, then minus the loss for ties."""
        module.eval()
        right, loss, count = 0, 0.0, 0
        with torch.no_grad(), self._cast():
            for part in _parts(self.held_out, self.batch):
                pixels = self.views.evaluation(part).to(self.device, memory_format=torch.channels_last)
                wanted, given = self.answers(self.teacher, pixels), self.answers(module, pixels)
                loss += float(imitation.answers(given, wanted, self.spec, self.schedule.temperature)) * len(part)
                if self.training.CLASSES:
                    classes = self.training.classes
                    truth = self.labels[part].to(self.device) if len(self.labels) else classes(wanted)
                    right += int((classes(given) == truth).sum())
                count += len(part)
            found = self.how.validate(module, self.held_out) if self.how.validate else None
        loss = -loss / count if math.isfinite(loss) else WORST
        if found is not None:
            return (found if math.isfinite(found) else WORST), loss
        return (100 * right / count if self.training.CLASSES else loss), loss

    @property
    def _metric(self) -> Any:
        if self.how.validate:
            return "mAP"
        if not self.training.CLASSES:
            return "loss"
        return "accuracy" if len(self.labels) else "agreement"

    @property
    def _sign(self) -> int:
        """A loss is shown as it is, and ranked by its negative."""
        return -1 if self._metric == "loss" else 1

    @property
    def _rate(self) -> float:
        return self.schedule.lr * math.sqrt(self.batch / 64)

    def _number(self, epoch: int, step: int) -> int:
        """A seed for the random numbers at one place of the training."""
        return (self.how.seed * 1_000_003 + epoch) * 1_000_003 + step

    def _optimizer(self, student: torch.nn.Module) -> torch.optim.Optimizer:
        from timm.optim import create_optimizer_v2, list_optimizers

        if self.schedule.optimizer not in list_optimizers():
            raise UsageError(
                f"timm has no optimizer '{self.schedule.optimizer}'.", "timm has adamw, sgd, lamb, lion and others.",
                'List them: python -c "from timm.optim import list_optimizers; print(list_optimizers())"',
            )  # fmt: skip
        optimizer: torch.optim.Optimizer = create_optimizer_v2(
            student, opt=self.schedule.optimizer, lr=self._rate, weight_decay=self.schedule.weight_decay
        )
        return optimizer

    def _agree(self) -> None:
        """Raise `InvalidInput` unless the outputs of both have the same shapes, also in the student's training mode."""
        pixels = self.views.evaluation(self.learning[:2]).to(self.device, memory_format=torch.channels_last)
        with torch.no_grad():
            wanted = self.answers(self.teacher, pixels)
            try:
                given = self.answers(self.student.eval(), pixels)
            except RuntimeError as error:
                raise InvalidInput(
                    f"The student does not accept the teacher's input: {' '.join(str(error).split())[:200]}",
                    f"It is {'x'.join(str(side) for side in pixels.shape[1:])} (channels, height, width).",
                    "Build the student for this input, for example with ?img_size= or ?in_chans=.",
                ) from error
        imitation.require_same_shapes(given, wanted, self.spec)

    def _mirrors(self) -> bool:
        """Whether to mirror images: not if left and right mean something, as in digits."""
        if not self.training.CLASSES:
            return self.how.supervised is None
        same = 0
        with torch.no_grad():
            for part in _parts(self.held_out, self.batch):
                pixels = self.views.evaluation(part).to(self.device)
                plain, mirrored = (
                    self.training.classes(self.answers(self.teacher, x)) for x in (pixels, pixels.flip(3))
                )
                same += int((plain == mirrored).sum())
        return same >= ALIKE * len(self.held_out)

    def _pairs(self, named: Sequence[Pair] | None) -> tuple[Pair, ...]:
        if named is not None:
            feature_maps.require(self.student, self.teacher, named)
            return tuple(named)
        if not self.schedule.features:
            return ()
        pixels = self.views.evaluation(self.learning[:1]).to(self.device)
        self.student.eval()
        return feature_maps.pairs(self.student, self.teacher, lambda module: self.answers(module, pixels))

    def _cast(self) -> Any:
        return torch.autocast(self.device.type, torch.bfloat16) if self.precision == "bf16" else nullcontext()


def _precision(schedule: Schedule, device: torch.device) -> str:
    """The precision of products: the schedule's, or "bf16" if the machine computes in it natively, else "f32"."""
    if schedule.precision != "auto":
        return schedule.precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "f32"
    from edgewright.targets import detect

    return "bf16" if {"avx512_bf16", "amx_bf16", "bf16"} & set(detect.this_machine().isa) else "f32"


def _require_labels(images: Sequence[str | Path], labels: Sequence[int], spec: ModelSpec) -> None:
    if len(images) < MINIMUM:
        raise InvalidInput(
            f"There are only {len(images)} training images.", f"Training needs at least {MINIMUM}, better thousands.",
            "Add images like those that the model will see in use; they need no labels.",
        )  # fmt: skip
    if labels and not tasks.of(spec).training.CLASSES:
        raise InvalidInput(
            f"Each image has a class, but '{spec.name}' is not a classifier.", f"Its task is {spec.task.kind}.",
            "Leave the labels out: the student then learns from the teacher only.",
        )  # fmt: skip
    if labels and len(labels) != len(images):
        raise InvalidInput(
            f"There are {len(labels)} labels for {len(images)} images.", "Each image needs one.",
            "Give all labels, or none: the student then learns from the teacher only.",
        )  # fmt: skip
    if labels and not 0 <= min(labels) <= max(labels) < spec.classes:
        raise InvalidInput(
            f"The labels range from {min(labels)} to {max(labels)}.",
            f"The model has classes 0 to {spec.classes - 1}.",
            "Correct the labels.",
        )  # fmt: skip


def _batch(images: int, pixels: int) -> int:
    """Images per step for this many `images` of `pixels` each."""
    return max(4, min(64, PIXELS // pixels, max(SMALLEST, images // STEPS)))


def _let_learn(student: torch.nn.Module) -> None:
    """Enable gradients for all parameters if none has one, except for constants stored as parameters."""
    if any(p.requires_grad for p in student.parameters()):
        return
    for name, parameter in student.named_parameters():
        # Ultralytics stores the numbers 0, 1, 2 ... of its bins as a convolution's weights.
        parameter.requires_grad_(parameter.is_floating_point() and ".dfl." not in name)


def _train_mode(student: torch.nn.Module, batch: int) -> None:
    """Training mode. Normalization keeps its statistics if one image would have to represent all."""
    student.train()
    if batch > 1:
        return
    for module in student.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()


def _parts(indices: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    yield from (indices[start : start + size] for start in range(0, len(indices), size))
