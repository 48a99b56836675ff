"""How long a training goes on, how its rate falls, and where it stands: plain data and arithmetic."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

Stopped = Literal["done", "patience", "time"]
"""Why a training ended: its plan's end, no better for a while, the time was up."""

MOST_EPOCHS = 1000
"""A plan of more, of few images, would be one of ranks."""
LANDING = 0.2
"""The share of its epochs that a training gets for the rate's fall when it got no better for a while."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """An epoch has `steps` steps and ends with a validation and a checkpoint.

    `epochs`: how many, default as many as fit into `train_time_s` (wall seconds; at least one); where both are given
    the time may make them fewer. `warmup`: the share of the steps in which the rate rises. `lowest`: what the rate
    starts from and falls to, as a divisor of itself; None: zero. `patience`: the share of the epochs, five at least,
    after which a training that gets no better comes to its end; None: never. `checkpoint_s`: seconds after which there
    is a checkpoint within an epoch.
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
        """The most epochs that there may be."""
        return self.epochs or MOST_EPOCHS


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """One pass: the mean loss, and the metric on held-out images of the weights after it."""

    loss: float
    metric: float


class Progress(msgspec.Struct, kw_only=True):
    """Where a training stands: steps done, epochs planned, and what its history will tell.

    `warmup`: steps in which the rate rises, by the first plan. `landing`: it got no better, and the plan's end was
    drawn near. `rank`: what the best weights are better by than others, larger is better; `best_step`: after which step
    they were, 0 for those it began with, whose rank began with `began`. `loss`: the sum over the steps of the epoch.
    `seconds`: since its first call began, pauses between calls left out; `feeding`: those in which batches were made.
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
    """The rate of a step: it rises evenly over `warmup` steps, and falls along half a cosine over all."""
    if step < warmup:
        return lowest + step * ((highest - lowest) / warmup)
    return lowest + 0.5 * (highest - lowest) * (1 + math.cos(math.pi * step / total))


def landed(plan: Plan, progress: Progress, done: int) -> int | None:
    """Where the plan ends instead when after `done` epochs the training got no better for long; None: as planned."""
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
    """How many epochs fit into the time, where the last of those `done` took `took` seconds: at least one more, so
    that the rate falls to its end. A machine gets busy, and a rate that falls too slowly would be cut off high."""
    limit = plan.train_time_s
    if not limit or done >= progress.planned or progress.landing or overdue(plan, progress, done):
        return progress.planned
    return min(done + max(1, int((limit - progress.seconds) / took)), plan.limit)


def fitting(plan: Plan, step: float, validation: float, spent: float) -> int:
    """How many epochs fit into the time, of which `spent` seconds are gone, where these are seconds of each."""
    assert plan.train_time_s is not None
    return max(1, min(MOST_EPOCHS, int((plan.train_time_s - spent) / (step * plan.steps + validation))))
