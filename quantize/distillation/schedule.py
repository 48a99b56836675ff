"""How long, how fast and from what a student learns, and what came of it, as plain data."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgewright.core.errors import UsageError
from edgewright.quantize.training.schedule import Epoch, Stopped

SEEN = 120_000
"""Images that a student looks at by default, each counted as often as it is looked at."""


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A training from a teacher. The defaults are those for a student with random weights.

    `epochs`: passes over the training images; default: about `SEEN` images in all, from 10 to 100 epochs, or as many as
    fit into `train_time_s` (wall seconds; at least one), planned anew after each by how long they take. `batch`:
    images a step; default: 64 of 224 x 224 pixels or fewer, else as many as have as many pixels, at least 4; where an
    epoch would have less than 150 steps, down to 16. `optimizer`: one of timm's. `lr` is for 64 images a step, goes
    with the root of their number, rises over the share `warmup` of the steps and falls along half a cosine.

    `temperature` softens class probabilities. `answers`, `labels`, `features`: the weights of the three losses (see
    `imitation`). `zoom`: the smallest share of an image's area that a random crop keeps; detectors see images enlarged
    by as much at most, and cut off, or made as much smaller. `mirror`: flip half of the images; default: where the
    teacher gives 3 of 4 held-out mirror images the same class. `augment`: a name that timm's ``auto_augment`` takes,
    e.g. "rand-m7-mstd0.5".

    `held_out`: the share of the images that is not learned from and decides which weights are kept. `patience`: the
    share of the epochs, five at least, after which a training that gets no better comes to its end, the rate falling to
    its own within a fifth as many epochs as there were (a flat stretch at a high rate says nothing about a low one).
    `checkpoint_s`: seconds between two checkpoints. `precision`: of the products; "auto" is bf16 where the processor or
    GPU computes in it.

    Raises `UsageError` for a value that is out of range.
    """

    epochs: int | None = None
    train_time_s: float | None = None
    batch: int | None = None
    optimizer: str = "adamw"
    lr: float = 2e-3
    weight_decay: float = 0.02
    warmup: float = 0.05
    ema: float = 0.9998
    temperature: float = 4.0
    answers: float = 1.0
    labels: float = 1.0
    features: float = 0.5
    zoom: float = 0.5
    mirror: bool | None = None
    augment: str | None = None
    held_out: float = 0.1
    patience: float = 0.3
    checkpoint_s: float = 60.0
    precision: Literal["auto", "f32", "bf16"] = "auto"

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UsageError(
                    f"{name} of the training is {value:g}.", f"It must lie between {low:g} and {high:g}.", "Correct it."
                )

    def passes(self, images: int) -> int:
        """The epochs for so many training images where no time is given."""
        return self.epochs or max(10, min(100, round(SEEN / images)))


_RANGES = (
    ("epochs", 1, 100_000), ("train_time_s", 1, 1e8), ("batch", 1, 65536), ("lr", 1e-9, 10), ("weight_decay", 0, 1),
    ("warmup", 0, 0.9), ("ema", 0, 0.999999), ("temperature", 0.1, 100), ("answers", 0, 1e6), ("labels", 0, 1e6),
    ("features", 0, 1e6), ("zoom", 0.05, 1), ("held_out", 0.01, 0.5), ("patience", 0, 1), ("checkpoint_s", 0, 1e6),
)  # fmt: skip

STUDENT = Schedule()
RECOVERY = Schedule(lr=5e-4, zoom=0.7)
"""For a student that already knows nearly all: a pruned copy of the teacher."""


def replaced(schedule: Schedule, **values: float | None) -> Schedule:
    """`schedule` with those of `values` that are given; raises `UsageError` for one that is out of range."""
    given = {name: value for name, value in values.items() if value is not None}
    return Schedule(**{**{f: getattr(schedule, f) for f in schedule.__struct_fields__}, **given})


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What a training did.

    `metric`: "accuracy" (percent of held-out images that get their label), "agreement" (percent that get the teacher's
    class), "loss" (how far answers are from the teacher's: lower is better) or "mAP" (of a detector with known boxes).
    `began` and `ended` are its values for the weights before and for those that were kept; `best_epoch` (from 1) is the
    epoch that they are of, None where none was better than the beginning: the student is then what it was.
    `stopped`: "done", "patience" or "time". `images_per_s`: learned from, teacher and all included; `feeding`: the
    share of the time that went into reading and cropping images: ``1 - feeding`` of the pure computation's speed.
    """

    metric: Literal["accuracy", "agreement", "loss", "mAP"]
    began: float
    ended: float
    best_epoch: int | None
    stopped: Stopped
    epochs: tuple[Epoch, ...]
    planned: int
    images: int
    held_out: int
    batch: int
    labels: bool
    mirror: bool
    features: tuple[str, ...]
    device: str
    precision: str
    seconds: float
    images_per_s: float
    feeding: float
    resumed_at: int = 0
