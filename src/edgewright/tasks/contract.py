"""The signatures of a task's modules. A module that has these functions is such a part; nothing is inherited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edgewright.core.spec import ModelSpec
from edgewright.core.statistics import Estimate

from .scores import PAIRED, Accuracy, AtChance, Likeness, Moved, Paired, Score, Vocabulary

if TYPE_CHECKING:
    from PIL import Image

    from edgewright.data.sets import ImageSet, Item

Line = tuple["str | tuple[str, str]", ...]
"""A line for a terminal: parts that are plain, or (style, text)."""


class Answer(Protocol):
    """What a task says of one image. The fields are the task's own; `answer` is where they are."""

    def to_json(self, top: int = ...) -> dict[str, Any]:
        """The answer as plain data; of a ranking its first `top`."""
        ...

    def lines(self, top: int = ...) -> list[Line]:
        """The answer for a terminal; the first line stands behind the image's name, others below it."""
        ...


class Decode(Protocol):
    """`decode`: light, runs on devices."""

    @staticmethod
    def read(
        outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]], score: float | None = None
    ) -> Sequence[Answer]:
        """The answer for each image of a batch, in pixels of the original images; `sizes`: their (width, height).

        `score`: what `threshold` gave. Raises `InvalidInput` where the outputs do not fit the spec, `RuntimeFailed`
        where a value that is read is not finite.
        """
        ...

    @staticmethod
    def threshold(spec: ModelSpec, score: Any) -> float | None:
        """The least score that a caller gave, checked; None for None. Raises `InvalidInput` for what is no score, and
        where the task has no least score."""
        ...

    @staticmethod
    def evaluated(spec: ModelSpec) -> ModelSpec:
        """`spec` with what counts when accuracy is measured, such as answers of low scores."""
        ...


class Draw(Protocol):
    """`draw`: light, runs on devices."""

    @staticmethod
    def draw(image: Image.Image, answer: Any) -> Image.Image:
        """A copy of `image` as RGB with the answer on it, which is in this image's pixels."""
        ...


class Truth(Protocol):
    """`truth`: what a data set must hold."""

    NEEDS: str
    """What of each image, in words: "a class an image"."""
    TURNED: str
    """Behind "They were not turned" of photos with an EXIF orientation, what was done with their truth; empty where a
    turned photo has the same truth."""

    @staticmethod
    def known(item: Item) -> bool:
        """Whether this is known of an image."""
        ...

    @staticmethod
    def match(images: ImageSet, spec: ModelSpec) -> ImageSet:
        """`images`, of which all have it, in the model's terms (classes by index). Raises `InvalidInput`."""
        ...


class Metric(Protocol):
    """`metric`: scores of the rows that `outputs.npy` holds (see `Decode`), on images in the order of `items`."""

    SCORES: tuple[Score, ...]
    """Its scores, the primary one first: budgets and gates judge that one."""
    DEFAULT_BUDGET: str
    """The budget where none is given."""
    VOCABULARY: Vocabulary
    """How people write the primary score."""

    @staticmethod
    def score(outputs: np.ndarray, items: Sequence[Item], spec: ModelSpec) -> Accuracy:
        """The scores without a reference, and what each image contributes; neither where `items` have no truth."""
        ...

    @staticmethod
    def compare(
        outputs: np.ndarray, reference: np.ndarray, items: Sequence[Item], spec: ModelSpec, paired: Paired = PAIRED
    ) -> Accuracy:
        """`score`, and what compares with the reference's outputs for the same images."""
        ...

    @staticmethod
    def difference(ours: np.ndarray, theirs: np.ndarray, confidence: float = 0.95) -> Estimate:
        """The primary score of one report less that of another, by the contributions of both; bounds are one-sided."""
        ...

    @staticmethod
    def at_chance(outputs: np.ndarray, items: Sequence[Item], accuracy: Accuracy) -> AtChance | None:
        """Why a model of this accuracy knows nothing of its data; None where it does, or where it cannot be told."""
        ...

    @staticmethod
    def likeness(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> Likeness:
        """How alike two sets of answers on the same images are."""
        ...

    @staticmethod
    def confidence(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> Moved | None:
        """How the mean score of the answers moved; None where answers have no score, or none is sure enough."""
        ...

    @staticmethod
    def chosen(outputs: np.ndarray, places: Sequence[int]) -> np.ndarray:
        """The rows of the images at `places` alone, as if these were all."""
        ...


class Report(Protocol):
    """`report`: what reports call and show of it."""

    HEADING: str
    """Heads the column of the primary score: "Top-1"."""
    TITLE: str
    """The primary score on a plot's axis: "Top-1 accuracy"."""
    AGREEMENT: str
    """What `Accuracy.agreement` is: "Same answer as reference"."""
    SHOWN: tuple[str, ...]
    """Names of scores that stand below the primary one."""
    GALLERY: str
    """What the pictures of both answers show, in a sentence; empty where there are none, and the rest is not needed."""

    @staticmethod
    def disagreement(found: np.ndarray, reference: np.ndarray, images: int, spec: ModelSpec) -> np.ndarray:
        """How far apart the answers on each of so many images are (images,); 0: no difference worth a picture."""
        ...

    @staticmethod
    def picture(image: Image.Image, rows: np.ndarray, scale: float, spec: ModelSpec) -> Image.Image:
        """`image`, shrunk to `scale` of its size, with the answer that the `rows` of this image hold."""
        ...

    @staticmethod
    def told(reference: np.ndarray, found: np.ndarray, spec: ModelSpec) -> str:
        """Both answers on an image in words."""
        ...
