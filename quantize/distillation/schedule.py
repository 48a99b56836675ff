"""Duration, learning rate and losses of a student's training, and its result, as plain data."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgewright.core.errors import UsageError
from edgewright.quantize.training.schedule import Epoch, Stopped

SEEN = 120_000
"""Training images by default, counted each time an image is used."""


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A training from a teacher. The defaults are for a student with random weights.

    `epochs`: passes over the training images; default: about `SEEN` images in all, from 10 to 100 epochs, or as many as
    fit into `train_time_s` (wall seconds; at least one), planned again after each epoch by its duration. `batch`:
    images per step; default: 64 of 224 x 224 pixels or fewer, else the number with the same count of pixels, at least
    4; down to 16 if an epoch would have fewer than 150 steps. `optimizer`: one of timm's. `lr` is for 64 images per
    step, scales with the square root of their number, rises over the share `warmup` of the steps and falls along half a
    cosine.

    `temperature` softens class probabilities. `answers`, `labels`, `features`: the weights of the three losses (see
    `losses`). `zoom`: the smallest share of an image's area that a random crop keeps; a detector's images are enlarged
    (and cut off) or made smaller by at most as much. `mirror`: flip half of the images; default: if the teacher gives 3
    of 4 held-out mirror images the same class. `augment`: a name for timm's ``auto_augment``, for example
    "rand-m7-mstd0.5".

    `held_out`: the share of the images that is not trained on and decides which weights are kept. `patience`: the share
    of the epochs, at least five, after which a training without improvement ends; the rate then falls to its end within
    a fifth of the epochs so far (no progress at a high rate says nothing about a low one). `checkpoint_s`: seconds
    between two checkpoints. `precision`: of matrix products; "auto" is bf16 if the processor or GPU computes in it.

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
                    f"{name} of the training is {value:g}.", f"It must be between {low:g} and {high:g}.", "Correct it."
                )

    def passes(self, images: int) -> int:
        """The epochs for this many training images if no time is given."""
        return self.epochs or max(10, min(100, round(SEEN / images)))


_RANGES = (
    ("epochs", 1, 100_000), ("train_time_s", 1, 1e8), ("batch", 1, 65536), ("lr", 1e-9, 10), ("weight_decay", 0, 1),
    ("warmup", 0, 0.9), ("ema", 0, 0.999999), ("temperature", 0.1, 100), ("answers", 0, 1e6), ("labels", 0, 1e6),
    ("features", 0, 1e6), ("zoom", 0.05, 1), ("held_out", 0.01, 0.5), ("patience", 0, 1), ("checkpoint_s", 0, 1e6),
)  # fmt: skip

STUDENT = Schedule()
RECOVERY = Schedule(lr=5e-4, zoom=0.7)
"""For a student that already knows nearly everything: a pruned copy of the teacher."""


def replaced(schedule: Schedule, **values: float | None) -> Schedule:
    """`schedule` with the given ones of `values`; raises `UsageError` for one that is out of range."""
    given = {name: value for name, value in values.items() if value is not None}
    return Schedule(**{**{f: getattr(schedule, f) for f in schedule.__struct_fields__}, **given})


class History(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a training.

    `metric`: "accuracy" (percent of held-out images that get their label), "agreement" (percent that get the teacher's
    class), "loss" (distance from the teacher's outputs, lower is better) or "mAP" (for a detector with known boxes).
    `began` and `ended` are its values for the initial weights and for the kept ones. `best_epoch` (from 1) is the epoch
    of the kept weights, None if none was better than the start; the student is then unchanged. `stopped`: "done",
    "patience" or "time". `images_per_s`: training speed, teacher and everything included. `feeding`: the share of the
    time spent on reading and cropping images.
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
