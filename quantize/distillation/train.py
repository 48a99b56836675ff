"""Train a student under its teacher: a smaller network, or a pruned copy that lost something.

Knowledge distillation (Hinton et al. 2015) on the user's own images: the teacher answers the same crop that the student
sees ("patient and consistent", Beyer et al. 2022, "Knowledge distillation: A good teacher is patient and consistent"),
so that images need no labels; where there are some, they are learned from too. Optimizer, schedule, averaged weights
and crops are timm's.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import torch

from edgewright import tasks
from edgewright.core.errors import InvalidInput, RuntimeFailed, UsageError
from edgewright.core.spec import ModelSpec
from edgewright.quantize.pruning import sparsity

from . import checkpoint as training_state
from . import features as feature_maps
from . import losses as imitation
from .augment import Batch, Views, randomness
from .checkpoint import Progress
from .features import Answers, Pair, caught
from .schedule import STUDENT, Epoch, History, Schedule

Supervised = Callable[[torch.nn.Module, Any, Batch], torch.Tensor]
"""A loss from labels, the mean over images: of the student, of what it just gave, and of the images it saw."""
Validate = Callable[[torch.nn.Module, Sequence[int]], float]
"""The mAP of a module on the images of these numbers, in percent; NaN where it has none."""
Tick = Callable[[int, int, str], None]

MINIMUM = 16
"""Fewest images to learn from."""
MOST_HELD_OUT = 2000
PIXELS = 64 * 224 * 224
STEPS, SMALLEST = 150, 16
"""An epoch has so many steps where batches of this size make them: of few images few large steps teach little."""
ALIKE = 0.75
"""From which share of held-out images on, whose mirror image the teacher gives the same class, images are mirrored."""
WORST = -1e30
"""The rank of weights whose answers are not finite."""
CLIP = 5.0
"""The largest norm of a step's gradient: one odd batch must not undo an epoch."""
MOST_EPOCHS = 1000
"""A plan of more, of few images, would be one of ranks."""
REHEARSAL = 8
"""Steps that are timed, on copies, where a time is given instead of a number of epochs."""
LANDING = 0.2
"""The share of its epochs that a training gets for the rate's fall when it got no better for a while."""


def recover(
    student: torch.nn.Module,
    teacher: torch.nn.Module,
    images: Sequence[str | Path],
    answers: Answers,
    *,
    spec: ModelSpec,
    schedule: Schedule = STUDENT,
    labels: Sequence[int] = (),
    supervised: Supervised | None = None,
    validate: Validate | None = None,
    features: Sequence[Pair] | None = None,
    checkpoint: Path | None = None,
    seed: int = 0,
    tick: Tick = lambda *_: None,
) -> History:
    """Train `student` in place, on the image files `images`, to answer as `teacher` does.

    `spec` is the teacher's: both take the same input. `labels`: a class for each image, of a classifier; `supervised`:
    the loss of any other labels. `validate` decides by held-out images which weights are kept, instead of accuracy
    (with labels) or agreement with the teacher. `features`: names of modules to compare (student, teacher), default
    the last maps of each resolution. In the folder `checkpoint` it keeps what it needs to go on after a kill to the
    same result. `tick` is called with (steps done, steps, what).

    The student ends in eval mode, on the CPU, with the averaged weights that were best on the held-out images; where
    none were better than those it came with, with these. Raises `InvalidInput` for images, labels or answers that do
    not fit, `RuntimeFailed` where the loss is not finite: the last good checkpoint stays.
    """
    return _Training(
        student,
        teacher,
        images,
        answers,
        spec,
        schedule,
        labels,
        supervised,
        validate,
        features,
        checkpoint,
        seed,
        tick,
    ).run()


class _Training:
    """One call of `recover`: what stays the same while it runs."""

    def __init__(
        self, student: torch.nn.Module, teacher: torch.nn.Module, images: Sequence[str | Path], answers: Answers,
        spec: ModelSpec, schedule: Schedule, labels: Sequence[int], supervised: Supervised | None,
        validate: Validate | None, features: Sequence[Pair] | None, checkpoint: Path | None, seed: int, tick: Tick,
    ) -> None:  # fmt: skip
        _require_labels(images, labels, spec)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.precision = _precision(schedule, self.device)
        self.identity = training_state.identity(
            student, teacher, [[str(path) for path in images], list(labels), msgspec.to_builtins(schedule), seed]
        )
        _let_learn(student)
        # Convolutions are a fifth to a half faster with channels last, on CPUs as on GPUs.
        self.student = student.to(self.device, memory_format=torch.channels_last)
        self.masks = sparsity.masks(self.student)
        self.teacher = copy.deepcopy(teacher).to(self.device, memory_format=torch.channels_last).eval()
        self.training = tasks.of(spec).training
        self.answers, self.spec, self.schedule, self.seed, self.tick = answers, spec, schedule, seed, tick
        self.labels = torch.tensor(list(labels), dtype=torch.long)
        self.supervised, self.validate, self.checkpoint = supervised, validate, checkpoint
        self.learning, self.held_out = _divide(len(images), schedule.held_out, seed)
        side = spec.input.height * spec.input.width
        self.batch = min(schedule.batch or _batch(len(self.learning), side), len(self.learning))
        self.views = Views(images, spec)
        self._agree()
        mirror = self._mirrors() if schedule.mirror is None else schedule.mirror
        self.views = Views(images, spec, zoom=schedule.zoom, mirror=mirror, augment=schedule.augment)
        self.pairs = self._pairs(features)

    def run(self) -> History:
        """Train to the end and put the best weights into the student."""
        from timm.utils import ModelEmaV3

        start = time.monotonic()
        ema = ModelEmaV3(self.student, decay=self.schedule.ema, use_warmup=True)
        optimizer = self._optimizer(self.student)
        modules = {"student": self.student, "ema": ema}
        self.modules, self.optimizer, self.ema = modules, optimizer, ema
        resumed = self.checkpoint and training_state.resume(self.checkpoint, self.identity, modules, optimizer)
        if resumed:
            progress, best = resumed
        else:
            rank = self._rank(self.student)
            planned = self._plan(time.monotonic() - start)
            progress = Progress(
                planned=planned, warmup=int(self.schedule.warmup * self._steps * planned), began=rank[0], rank=rank,
                seconds=time.monotonic() - start,
            )  # fmt: skip
            best = _copied(self.student)
        begin, before = progress.step, progress.seconds
        self.kept, self.started = time.monotonic(), time.monotonic() - before
        stopped = self._epochs(progress, best)
        self.student.load_state_dict(best)
        self.student.to("cpu", memory_format=torch.contiguous_format).eval().requires_grad_(False)
        learned = (progress.step - begin) * self.batch
        sign = -1 if self._metric == "loss" else 1
        return History(
            metric=self._metric, began=sign * progress.began, ended=sign * progress.rank[0],
            best_epoch=progress.best_epoch, stopped=stopped, epochs=tuple(progress.epochs),
            planned=progress.planned, images=len(self.learning), held_out=len(self.held_out), batch=self.batch,
            labels=bool(len(self.labels)) or self.supervised is not None, mirror=self.views.mirror,
            features=tuple(b for _, b in self.pairs), device=str(self.device), precision=self.precision,
            seconds=progress.seconds, images_per_s=learned / max(progress.seconds - before, 1e-9),
            feeding=progress.feeding / max(progress.seconds, 1e-9), resumed_at=begin,
        )  # fmt: skip

    def _epochs(self, progress: Progress, best: dict[str, torch.Tensor]) -> Any:
        """Learn until it is done, gets no better or takes too long; `best` changes in place. Returns why it ended."""
        steps = self._steps
        while progress.step < steps * progress.planned:
            epoch, at = divmod(progress.step, steps)
            begin = time.monotonic()
            self._learn(progress, epoch, at, best)
            learned = time.monotonic()
            rank = self._rank(self.ema.module)
            took = (learned - begin) / (steps - at) * steps + time.monotonic() - learned
            if rank > progress.rank:
                progress.rank, progress.best_epoch = rank, epoch + 1
                best.update(_copied(self.ema.module))
            shown = -rank[0] if self._metric == "loss" else rank[0]
            progress.epochs.append(Epoch(loss=progress.loss / steps, metric=shown))
            progress.loss, progress.seconds = 0.0, time.monotonic() - self.started
            progress.planned = self._refitted(progress, epoch + 1, took)
            patience = max(5, math.ceil(self.schedule.patience * progress.planned))
            end = epoch + 1 + max(2, math.ceil(LANDING * (epoch + 1)))
            if epoch + 1 - (progress.best_epoch or 0) >= patience and end < progress.planned and not progress.landing:
                progress.landing, progress.planned = True, end
            self._keep(progress, best)
            if self._overdue(progress, epoch + 1):
                return "time"
        return "patience" if progress.landing else "done"

    def _refitted(self, progress: Progress, done: int, took: float) -> int:
        """How many epochs fit into the time, where the last of those `done` took `took` seconds: at least one more, so
        that the rate falls to its end. A machine gets busy, and a rate that falls too slowly would be cut off high."""
        limit = self.schedule.train_time_s
        if not limit or done >= progress.planned or progress.landing or self._overdue(progress, done):
            return progress.planned
        return min(done + max(1, int((limit - progress.seconds) / took)), self.schedule.epochs or MOST_EPOCHS)

    def _overdue(self, progress: Progress, done: int) -> bool:
        """Whether the time is up before the plan's end."""
        limit = self.schedule.train_time_s
        return limit is not None and progress.seconds >= limit and done < progress.planned

    def _learn(self, progress: Progress, epoch: int, at: int, best: dict[str, torch.Tensor]) -> None:
        """The steps of one epoch from `at` on."""
        from timm.scheduler import CosineLRScheduler

        total, rate = self._steps * progress.planned, self._rate
        scheduler = CosineLRScheduler(
            self.optimizer, t_initial=total, lr_min=rate / 100, warmup_lr_init=rate / 100, t_in_epochs=False,
            warmup_t=min(progress.warmup, int(self.schedule.warmup * total)),  # a longer plan does not warm up again
        )  # fmt: skip
        order = torch.randperm(
            len(self.learning), generator=torch.Generator().manual_seed(self._number(epoch, 0))
        ).tolist()
        _train_mode(self.student, self.batch)
        for number in range(at, self._steps):
            begin = time.monotonic()
            chosen = [self.learning[i] for i in order[number * self.batch :][: self.batch]]
            batch = self.views.training(chosen, self._number(epoch, 2 * number + 1))
            progress.feeding += time.monotonic() - begin
            scheduler.step_update(progress.step)
            # Dropout too draws from the step's own numbers, so that a resumed training draws the same ones.
            with randomness(self._number(epoch, 2 * number + 2)):
                loss = self._step(self.student, self.optimizer, batch, progress.step)
            progress.step += 1
            progress.loss += loss
            self.ema.update(self.student, step=progress.step)
            progress.seconds = time.monotonic() - self.started
            shown = f", {self._metric} {progress.epochs[-1].metric:.4g}" if progress.epochs else ""
            self.tick(progress.step, total, f"epoch {epoch + 1} of {progress.planned}, loss {loss:.4g}{shown}")
            if number + 1 < self._steps and time.monotonic() - self.kept >= self.schedule.checkpoint_s:
                self._keep(progress, best)

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
        kept = f" The checkpoint before it stays in {self.checkpoint}." if self.checkpoint else ""
        raise RuntimeFailed(
            f"The {what} is not finite at step {number + 1} of the training.",
            f"The student's weights diverged, or its outputs overflow.{kept}",
            f"Lower the learning rate (now {self.schedule.lr:g}), or look for odd images and labels.",
        )

    def _loss(self, student: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """What a batch says of the student, as one number to lessen."""
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
        if self.supervised:
            loss = loss + schedule.labels * self.supervised(student, gave.get(""), batch)
        return loss

    def _rank(self, module: torch.nn.Module) -> tuple[float, float]:
        """How good a module is on the held-out images: the metric, and where that is equal, minus the loss."""
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
            found = self.validate(module, self.held_out) if self.validate else None
        loss = -loss / count if math.isfinite(loss) else WORST
        if found is not None:
            return (found if math.isfinite(found) else WORST), loss
        return (100 * right / count if self.training.CLASSES else loss), loss

    @property
    def _metric(self) -> Any:
        if self.validate:
            return "mAP"
        if not self.training.CLASSES:
            return "loss"
        return "accuracy" if len(self.labels) else "agreement"

    @property
    def _steps(self) -> int:
        """Steps of an epoch; a rest smaller than a batch waits for the next epoch's order."""
        return max(1, len(self.learning) // self.batch)

    @property
    def _rate(self) -> float:
        return self.schedule.lr * math.sqrt(self.batch / 64)

    def _number(self, epoch: int, step: int) -> int:
        """A seed for what is drawn at a place of the training."""
        return (self.seed * 1_000_003 + epoch) * 1_000_003 + step

    def _optimizer(self, student: torch.nn.Module) -> torch.optim.Optimizer:
        from timm.optim import create_optimizer_v2, list_optimizers

        if self.schedule.optimizer not in list_optimizers():
            raise UsageError(
                f"timm has no optimizer '{self.schedule.optimizer}'.", "adamw, sgd, lamb and lion are among its own.",
                'List them: python -c "from timm.optim import list_optimizers; print(list_optimizers())"',
            )  # fmt: skip
        optimizer: torch.optim.Optimizer = create_optimizer_v2(
            student, opt=self.schedule.optimizer, lr=self._rate, weight_decay=self.schedule.weight_decay
        )
        return optimizer

    def _plan(self, spent: float) -> int:
        """How many epochs to learn: as asked, or as many as fit into the time, of which `spent` seconds are gone."""
        schedule, budget = self.schedule, self.schedule.train_time_s
        if budget is None or schedule.epochs:
            return schedule.passes(len(self.learning))
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
        # The first rank was `spent`, nearly all of it; every epoch ends with another.
        step = sorted(seconds)[len(seconds) // 2]
        return max(1, min(MOST_EPOCHS, int((budget - spent - sum(seconds)) / (step * self._steps + spent))))

    def _agree(self) -> None:
        """Raise `InvalidInput` unless the answers of both have the same shapes, in the student's training mode too."""
        pixels = self.views.evaluation(self.learning[:2]).to(self.device, memory_format=torch.channels_last)
        with torch.no_grad():
            wanted = self.answers(self.teacher, pixels)
            try:
                given = self.answers(self.student.eval(), pixels)
            except RuntimeError as error:
                raise InvalidInput(
                    f"The student cannot take the teacher's input: {' '.join(str(error).split())[:200]}",
                    f"It is {'x'.join(str(side) for side in pixels.shape[1:])} (channels, height, width).",
                    "Build the student for this input, e.g. with ?img_size= or ?in_chans=.",
                ) from error
        imitation.require_same_shapes(given, wanted, self.spec)

    def _mirrors(self) -> bool:
        """Whether to mirror images: not where left and right mean something, as in digits."""
        if not self.training.CLASSES:
            return self.supervised is None
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

    def _keep(self, progress: Progress, best: dict[str, torch.Tensor]) -> None:
        if self.checkpoint:
            training_state.keep(self.checkpoint, self.identity, progress, self.modules, best, self.optimizer)
        self.kept = time.monotonic()


def _precision(schedule: Schedule, device: torch.device) -> str:
    """ "bf16" where products in it are the machine's own, else "f32"; what the schedule asks for goes first."""
    if schedule.precision != "auto":
        return schedule.precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "f32"
    from edgewright.targets import detect

    return "bf16" if {"avx512_bf16", "amx_bf16", "bf16"} & set(detect.this_machine().isa) else "f32"


def _require_labels(images: Sequence[str | Path], labels: Sequence[int], spec: ModelSpec) -> None:
    if len(images) < MINIMUM:
        raise InvalidInput(
            f"There are {len(images)} images to learn from.", f"A training needs at least {MINIMUM}, better thousands.",
            "Add images of the kind that the model will see; they need no labels.",
        )  # fmt: skip
    if labels and not tasks.of(spec).training.CLASSES:
        raise InvalidInput(
            f"A class for each image was given, and '{spec.name}' is no classifier.", f"Its task is {spec.task.kind}.",
            "Leave the labels out: the student learns from the teacher.",
        )  # fmt: skip
    if labels and len(labels) != len(images):
        raise InvalidInput(
            f"There are {len(labels)} labels for {len(images)} images.", "Each image needs one.",
            "Give all labels, or none: the student learns from the teacher.",
        )  # fmt: skip
    if labels and not 0 <= min(labels) <= max(labels) < spec.classes:
        raise InvalidInput(
            f"The labels go from {min(labels)} to {max(labels)}.",
            f"The model has the classes 0 to {spec.classes - 1}.",
            "Correct the labels.",
        )  # fmt: skip


def _divide(images: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """The numbers of the images to learn from, and of those that decide which weights are kept."""
    order = torch.randperm(images, generator=torch.Generator().manual_seed(seed)).tolist()
    held_out = max(1, min(MOST_HELD_OUT, round(images * share)))
    return sorted(order[held_out:]), sorted(order[:held_out])


def _batch(images: int, pixels: int) -> int:
    """Images a step for so many `images` of `pixels` each."""
    return max(4, min(64, PIXELS // pixels, max(SMALLEST, images // STEPS)))


def _let_learn(student: torch.nn.Module) -> None:
    """Gradients for all parameters where none has one, but for what only looks like a parameter."""
    if any(p.requires_grad for p in student.parameters()):
        return
    for name, parameter in student.named_parameters():
        # Ultralytics keeps the numbers 0, 1, 2 ... of its bins as a convolution's weights.
        parameter.requires_grad_(parameter.is_floating_point() and ".dfl." not in name)


def _train_mode(student: torch.nn.Module, batch: int) -> None:
    """Training mode; normalization keeps its statistics where one image would have to stand for all."""
    student.train()
    if batch > 1:
        return
    for module in student.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()


def _copied(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def _parts(indices: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    yield from (indices[start : start + size] for start in range(0, len(indices), size))
