"""Training duration, learning rate, and progress: plain data and arithmetic."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

Stopped = Literal["done", "patience", "time"]
"""Why a training ended: the plan's end, no improvement, or the time limit."""

MOST_EPOCHS = 1000
"""The maximum of `epochs`. With few images, more epochs would spend the time on ranking weights."""
LANDING = 0.2
"""The share of its epochs in which the rate falls to zero after the training stopped improving."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """An epoch has `steps` steps and ends with a validation and a checkpoint.

    `epochs`: how many; default as many as fit into `train_time_s` (wall seconds; at least one). If both are given, the
    time may reduce the epochs. `warmup`: the share of the steps in which the rate rises. `lowest`: the rate starts from
    and falls to itself divided by this; None: zero. `patience`: the share of the epochs, at least five, after which a
    training without improvement ends; None: never. `checkpoint_s`: seconds between checkpoints within an epoch.
    """

    steps: int
    epochs: int | None = None
    train_time_s: float | None = None
    warmup: float = 0.0
    lowest: float | None = None
    patience: float | None = None
    checkpoint_s: float = math.inf

    @property
    def limit(self) -> int:
        """The maximum number of epochs."""
        return self.epochs or MOST_EPOCHS


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """One epoch: the mean loss, and the metric of the weights on held-out images after it."""

    loss: float
    metric: float


class Progress(msgspec.Struct, kw_only=True):
    """The progress of a training: steps done, epochs planned, and its history.

    `warmup`: steps in which the rate rises, by the first plan. `landing`: the training stopped improving, so its end
    was moved forward. `rank`: rank of the best weights, larger is better. `best_step`: the step after which they were
    reached, 0 for the initial weights, whose rank is `began`. `loss`: the sum over the steps of the epoch. `seconds`:
    since its first call, without pauses between calls. `feeding`: seconds spent on loading batches.
    """

    planned: int
    warmup: int
    began: float
    rank: tuple[float, ...]
    step: int = 0
    landing: bool = False
    best_step: int = 0
    epochs: list[Epoch] = []
    loss: float = 0.0
    seconds: float = 0.0
    feeding: float = 0.0


def learning_rate(highest: float, lowest: float, step: int, total: int, warmup: int = 0) -> float:
    """The learning rate of a step: it rises linearly over `warmup` steps, and falls along half a cosine over all."""
    if step < warmup:
        return lowest + step * ((highest - lowest) / warmup)
    return lowest + 0.5 * (highest - lowest) * (1 + math.cos(math.pi * step / total))


def landed(plan: Plan, progress: Progress, done: int) -> int | None:
    """The earlier end of the plan if the training has not improved for long after `done` epochs, else None."""
    if plan.patience is None or progress.landing:
        return None
    patience = max(5, math.ceil(plan.patience * progress.planned))
    end = done + max(2, math.ceil(LANDING * done))
    return end if done - progress.best_step // plan.steps >= patience and end < progress.planned else None


def overdue(plan: Plan, progress: Progress, done: int) -> bool:
    """Whether the time is up before the plan's end, after `done` epochs."""
    limit = plan.train_time_s
    return limit is not None and progress.seconds >= limit and done < progress.planned


def refitted(plan: Plan, progress: Progress, done: int, took: float) -> int:
    """How many epochs fit into the time if the last of the `done` epochs took `took` seconds; at least one more.

    The rate then falls to its end even if the machine gets busy; a rate that falls too slowly would be cut off high.
    """
    limit = plan.train_time_s
    if not limit or done >= progress.planned or progress.landing or overdue(plan, progress, done):
        return progress.planned
    return min(done + max(1, int((limit - progress.seconds) / took)), plan.limit)


def fitting(plan: Plan, step: float, validation: float, spent: float) -> int:
    """How many epochs fit into the time when `spent` seconds are gone, with the given seconds per epoch."""
    assert plan.train_time_s is not None
    return max(1, min(MOST_EPOCHS, int((plan.train_time_s - spent) / (step * plan.steps + validation))))
