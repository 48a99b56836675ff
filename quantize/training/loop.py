"""The training loop: steps, validation after each epoch, the best weights, checkpoints, and the end.

It continues after a kill to the same result, if a step depends only on its number, the modules and the optimizer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch

from .checkpoint import Checkpoint, Stateful
from .schedule import Epoch, Plan, Progress, Stopped, fitting, landed, learning_rate, overdue, refitted

Tick = Callable[[int, int, str], None]

Weights = dict[str, torch.Tensor]

WORST = -1e30
"""The rank of weights whose outputs are not finite."""


class Step(NamedTuple):
    """The result of a step: its loss, and the seconds that loading its batch took."""

    loss: float
    feeding: float = 0.0


class Trainee(Protocol):
    """A model in training: a student and its teacher."""

    @property
    def modules(self) -> Mapping[str, Stateful]:
        """Everything that steps change, for a checkpoint."""
        ...

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Called when training starts at the highest learning rates."""
        ...

    def begin_epoch(self, epoch: int) -> None:
        """Prepare for the steps of an epoch, after a validation."""
        ...

    def step(self, number: int, epoch: int, at: int) -> Step:
        """One optimizer step with batch `at` of an epoch; `number` counts all steps."""
        ...

    def rehearse(self) -> float:
        """The seconds that a step takes. Leaves no trace in the state."""
        ...

    def validate(self) -> tuple[float, ...]:
        """The rank of the weights on held-out images, larger is better. The metric comes first."""
        ...

    def weights(self) -> Weights:
        """A copy of the weights that `validate` ranks."""
        ...

    def describe(self, loss: float, epoch: int, progress: Progress) -> str:
        """One line for the progress display."""
        ...


@dataclass(frozen=True)
class Trained:
    """The result of a training: where and why it ended, and the best weights.

    `resumed_at`: the step after which this call continued. It took `seconds`.
    """

    progress: Progress
    best: Weights
    stopped: Stopped
    resumed_at: int
    seconds: float


def run(trainee: Trainee, plan: Plan, checkpoint: Checkpoint | None, tick: Tick) -> Trained:
    """Train by `plan`. `tick` is called with (steps done, steps, text)."""
    return _Run(trainee, plan, checkpoint, tick).run()


class _Run:
    """One call of `run`."""

    def __init__(self, trainee: Trainee, plan: Plan, checkpoint: Checkpoint | None, tick: Tick) -> None:
        self.trainee, self.plan, self.checkpoint, self.tick = trainee, plan, checkpoint, tick
        self.rates = [group["lr"] for group in trainee.optimizer.param_groups]
        self.kept = self.started = time.monotonic()

    def run(self) -> Trained:
        resumed = self.checkpoint and self.checkpoint.resume(self.trainee.modules, self.trainee.optimizer)
        self.progress, self.best = resumed or self._begun()
        step, before = self.progress.step, self.progress.seconds
        self.kept, self.started = time.monotonic(), time.monotonic() - before
        stopped = self._epochs()
        return Trained(self.progress, self.best, stopped, step, self.progress.seconds - before)

    def _begun(self) -> tuple[Progress, Weights]:
        rank = self.trainee.validate()
        planned, spent = self.plan.limit, time.monotonic() - self.started
        if self.plan.epochs is None:
            step = self.trainee.rehearse()
            # The first rank took nearly all of `spent`; every epoch ends with another one.
            planned = fitting(self.plan, step, spent, time.monotonic() - self.started)
        warmup = int(self.plan.warmup * self.plan.steps * planned)
        seconds = time.monotonic() - self.started
        progress = Progress(planned=planned, warmup=warmup, began=rank[0], rank=rank, seconds=seconds)
        return progress, self.trainee.weights()

    def _epochs(self) -> Stopped:
        """Train until the plan ends, the rank stops improving, or the time is up; return the reason."""
        progress, steps = self.progress, self.plan.steps
        while progress.step < steps * progress.planned:
            epoch, at = divmod(progress.step, steps)
            begin = time.monotonic()
            loss = self._steps(epoch, at)
            learned = time.monotonic()
            rank = self.trainee.validate()
            took = (learned - begin) / (steps - at) * steps + time.monotonic() - learned
            if rank > progress.rank:
                progress.rank, progress.best_step, self.best = rank, progress.step, self.trainee.weights()
            progress.epochs.append(Epoch(loss=progress.loss / steps, metric=rank[0]))
            progress.loss, progress.seconds = 0.0, time.monotonic() - self.started
            self._tick(loss, epoch)
            progress.planned = refitted(self.plan, progress, epoch + 1, took)
            if end := landed(self.plan, progress, epoch + 1):
                progress.landing, progress.planned = True, end
            self._keep()
            if overdue(self.plan, progress, epoch + 1):
                return "time"
        return "patience" if progress.landing else "done"

    def _steps(self, epoch: int, at: int) -> float:
        """Run the steps of one epoch from `at` on; return the loss of the last."""
        progress, total, loss = self.progress, self.plan.steps * self.progress.planned, math.nan
        warmup = min(progress.warmup, int(self.plan.warmup * total))  # A longer plan does not warm up again.
        self.trainee.begin_epoch(epoch)
        for number in range(at, self.plan.steps):
            for group, rate in zip(self.trainee.optimizer.param_groups, self.rates):
                lowest = rate / self.plan.lowest if self.plan.lowest else 0.0
                group["lr"] = learning_rate(rate, lowest, progress.step, total, warmup)
            loss, feeding = self.trainee.step(progress.step, epoch, number)
            progress.step += 1
            progress.loss, progress.feeding = progress.loss + loss, progress.feeding + feeding
            progress.seconds = time.monotonic() - self.started
            if number + 1 < self.plan.steps:
                self._tick(loss, epoch)
                if time.monotonic() - self.kept >= self.plan.checkpoint_s:
                    self._keep()
        return loss

    def _tick(self, loss: float, epoch: int) -> None:
        total = self.plan.steps * self.progress.planned
        self.tick(self.progress.step, total, self.trainee.describe(loss, epoch, self.progress))

    def _keep(self) -> None:
        if self.checkpoint:
            self.checkpoint.keep(self.progress, self.trainee.modules, self.best, self.trainee.optimizer)
        self.kept = time.monotonic()
