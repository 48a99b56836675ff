"""The results of a task's metric: named scores, differences, and the contribution of each image."""

from __future__ import annotations

import base64
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgewright.core.statistics import Verdict

Better = Literal["higher", "lower"]


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """A score of a task: its `name` in budgets and report.json, its `title` in tables and texts.

    `unit` is that of the score itself. In a budget, a number with this unit limits the score, and a number without it
    limits the difference to the reference. Therefore the unit must not be empty.
    """

    name: str
    title: str
    unit: str = "%"
    better: Better = "higher"


class Vocabulary(msgspec.Struct, frozen=True, kw_only=True):
    """Names that people use for a task's primary score in a budget.

    `models`: the models with this score ("classifiers"). `names`: other names of the score, in lower case without
    signs, separated by spaces. `others`: names of different scores, each as (names, description of the primary score,
    reason).
    """

    models: str
    names: str = ""
    others: tuple[tuple[str, str, str], ...] = ()


class Interval(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A confidence interval. The field that contains it defines the value and the confidence."""

    low: float
    high: float


class Delta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The difference of a score to the reference on the same images, in the score's unit (points for a percentage).

    `low` and `high` are one-sided bounds at `confidence`; at 0.95 both together are a two-sided 90% interval. `margin`
    is the loss that the `verdict` allows, as a positive number.
    """

    value: float
    low: float
    high: float
    verdict: Verdict
    margin: float
    confidence: float = 0.95


class Scored(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A measured score: its `value`, its 95% `interval`, and its `delta` to the reference."""

    value: float
    interval: Interval | None = None
    delta: Delta | None = None


class ClassConfidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """For one class: the boxes of the reference that were found again, and their mean scores in both models."""

    index: int
    matched: int
    before: float
    after: float


class Confidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Change of a detector's scores: each box of the reference (score at least 0.25) against the box that finds it.

    `matched` and `lost` count boxes. `before` and `after` are the mean scores of the matched boxes in the reference and
    in this variant. `shift` is their difference, and `verdict` compares its absolute value with `margin`. mAP does not
    show a common shift of all scores, but such a shift moves boxes across a score threshold.
    """

    matched: int
    lost: int
    before: float
    after: float
    shift: float
    margin: float
    verdict: Literal["kept", "shifted"]
    classes: tuple[ClassConfidence, ...] = ()


class Accuracy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Accuracy over `images`. Without labels it contains only the comparison with the reference.

    `scores` has the scores by name. Budgets and gates check the `primary` score (docs/reference/budget.md). A
    classifier has `top1` and `top5`; a detector has `map` (COCO's mAP 50-95), `ap50`, `ap75` and the mAP of small,
    medium and large boxes. `agreement`: percentage of the images with the reference's top class; for a detector,
    percentage of the reference's boxes (score at least 0.25) that are found again. `sqnr_db`: power of the reference's
    outputs over the power of the difference. `confidence`: change of the scores. `results`: the place of the outputs
    for each image.

    `edgewright gate` uses `contributions` to compare two reports image by image. It has one number per image in the
    data's order (float32, little endian, base64). Their mean is the primary score. For top-1 each number is 0 or 100.
    """

    images: int
    scores: dict[str, Scored] = {}
    primary: str
    agreement: float | None = None
    sqnr_db: float | None = None
    confidence: Confidence | None = None
    contributions: str | None = None
    results: str | None = None

    @property
    def score(self) -> float | None:
        """The primary score; None without labels."""
        return self.scores[self.primary].value if self.primary in self.scores else None

    @property
    def delta(self) -> Delta | None:
        """The primary score's difference to the reference; None without labels or reference."""
        return self.scores[self.primary].delta if self.primary in self.scores else None


class Paired(msgspec.Struct, frozen=True, kw_only=True):
    """How to judge a difference to the reference: the accepted loss `margin` (in the primary score's unit), the
    confidence of each one-sided bound, and the seed of the resampling."""

    margin: float = 1.0
    confidence: float = 0.95
    seed: int = 0


PAIRED = Paired()


class AtChance(NamedTuple):
    """The reason why a model is no better than chance on its data, and the number of images or boxes (`seen`)."""

    why: str
    seen: int


class Likeness(NamedTuple):
    """The similarity of two sets of answers: the percentage of equal `what`, and the SQNR of the outputs if it is
    useful."""

    percent: float
    what: str
    db: float | None = None


class Moved(NamedTuple):
    """The mean score of `what`, `before` and `after`. `limits`: the accepted shifts without a warning and without an
    error."""

    what: str
    before: float
    after: float
    limits: tuple[float, float]


class Drift(NamedTuple):
    """A difference between two sets of answers that an audit checks, such as a shift of masks.

    `code`: the kind of difference. "classes": answers of one class changed to another. "boundary": outlines of regions.
    "offset": the position, in pixels. "points": the position of one keypoint. "scale": the size of values, such as
    depths. "angle": the rotation of boxes, in degrees. `text`: the difference for people, without a full stop at the
    end. A `value` above the first of `limits` is a warning, above the second an error.
    """

    code: Literal["classes", "boundary", "offset", "points", "scale", "angle"]
    text: str
    value: float
    limits: tuple[float, float]


def pack(numbers: NDArray[np.floating[Any]]) -> str:
    """Encode numbers as float32 (little endian) in base64, as a report stores the contributions of images."""
    return base64.b64encode(numbers.astype("<f4").tobytes()).decode()


def unpack(text: str) -> NDArray[np.float32]:
    """Decode what `pack` encoded. Raises `ValueError` for any other text."""
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4")
