"""The signatures of a task's modules. A module that has these functions is such a part; nothing is inherited."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from edgewright.core.spec import ModelSpec
from edgewright.core.statistics import Estimate

from .scores import PAIRED, Accuracy, AtChance, Likeness, Moved, Paired, Score, Vocabulary

if TYPE_CHECKING:
    import onnx
    import torch
    from PIL import Image

    from edgewright.data.sets import ImageSet, Item

View = Literal["crop", "zoom", "whole"]
"""How images are changed for training: random crops of a picture, the evaluation's pixels zoomed and moved, neither."""

Line = tuple["str | tuple[str, str]", ...]
"""A line for a terminal: parts that are plain, or (style, text)."""


class Answer(Protocol):
    """What a task says of one image. The fields are the task's own; `answer` is where they are."""

    def to_json(self, top: int = ...) -> dict[str, Any]:
        """The answer as plain data; of a ranking its first `top`."""
        ...

    def lines(self, top: int = ...) -> list[Line]:
        """The answer for a terminal; the first line follows the image's name, the others are below it."""
        ...


class Decode(Protocol):
    """`decode`: light, runs on devices."""

    @staticmethod
    def read(
        outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]], score: float | None = None
    ) -> Sequence[Answer]:
        """The answer for each image of a batch, in pixels of the original images; `sizes`: their (width, height).

        `score`: what `threshold` gave. Raises `InvalidInput` if the outputs do not fit the spec, `RuntimeFailed`
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

    @staticmethod
    def rows(
        outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]], names: Sequence[str], first: int
    ) -> np.ndarray:
        """What accuracy is computed of, (rows, values) float32, of a batch whose first image is number `first`.

        `names`: of the images, for errors. ``outputs.npy`` holds the rows of all images, one batch behind the other.
        Raises as `read` does.
        """
        ...

    @staticmethod
    def row_bytes(spec: ModelSpec) -> int:
        """The most bytes that the rows of an image have."""
        ...

    @staticmethod
    def check_rows(rows: np.ndarray, spec: ModelSpec, images: int) -> tuple[str, str] | None:
        """(the error in rows of `images` images from elsewhere, what they must be); None if they are valid."""
        ...


class Fit(Protocol):
    """`fit`: whether a description fits what a model answers, asked before it is built for a device."""

    @staticmethod
    def require(outputs: list[np.ndarray], spec: ModelSpec, origin: str, images: int, real: bool = True) -> None:
        """Raise `InvalidInput` where the outputs of one run of `origin` over `images` cannot be read as `spec` says.

        `real`: they are answers to images, so that scores must look as they are described.
        """
        ...

    @staticmethod
    def settle(
        answers: np.ndarray, spec: ModelSpec, function: str, said: Mapping[str, Any], certain: bool
    ) -> tuple[ModelSpec, tuple[str, ...]]:
        """`spec` with what only the outputs tell, such as whether scores are probabilities; and what to note.

        `answers`: a row an image. `function`: Softmax or Sigmoid where the first output comes out of one, else empty.
        `said`: what the user wrote in the task's table, which is kept. `certain`: the source knows what it gives,
        unless it shows otherwise. Raises `InvalidInput` if the user must say it.
        """
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
    """What each image needs, as text: "a class an image"."""
    CLASSES: bool
    """Whether it is one class an image, which training can learn from."""
    TURNED: str
    """Behind "They were not turned" of photos with an EXIF orientation, what was done with their truth; empty if a
    turned photo has the same truth."""

    @staticmethod
    def found(images: ImageSet) -> ImageSet:
        """`images` with the content of the task's own files next to them (`Item.truth`)."""
        ...

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
        """Why a model of this accuracy is at chance; None if it is not, or if the images do not decide."""
        ...

    @staticmethod
    def likeness(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> Likeness:
        """How alike two sets of answers on the same images are."""
        ...

    @staticmethod
    def confidence(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> Moved | None:
        """How the mean score of the answers moved; None if answers have no score, or none is sure enough."""
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
    """Names of scores that are below the primary one."""
    GALLERY: str
    """What the pictures of both answers show, in a sentence; empty if there are none, and the rest is not needed."""

    @staticmethod
    def disagreement(found: np.ndarray, reference: np.ndarray, images: int, spec: ModelSpec) -> np.ndarray:
        """How far apart the answers on each of so many images are (images,); 0: no difference worth a picture."""
        ...

    @staticmethod
    def picture(image: Image.Image, rows: np.ndarray, scale: float, spec: ModelSpec) -> Image.Image:
        """`image`, shrunk to `scale` of its size, with the answer that the `rows` of this image hold."""
        ...

    @staticmethod
    def caption(reference: np.ndarray, found: np.ndarray, spec: ModelSpec) -> str:
        """Both answers on an image as text."""
        ...


class Loss(Protocol):
    """`loss`: how far two outputs are apart, in numpy. `exact` and `found` are the outputs of a model, images first."""

    @staticmethod
    def divergence(exact: Sequence[np.ndarray], found: Sequence[np.ndarray], spec: ModelSpec) -> float:
        """How much the answers `found` lose against `exact`, a figure an image: it ranks layers, blocks and ranges."""
        ...

    @staticmethod
    def changes(exact: Sequence[np.ndarray], found: Sequence[np.ndarray], spec: ModelSpec) -> np.ndarray:
        """How much the answer to each image changes, from 0 to 1; (images,).

        No image counts for more than one wrong answer: a loss without bounds would tell of little but how many images
        with outliers there were among those that were looked at.
        """
        ...

    @staticmethod
    def agreement(exact: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> float | None:
        """Percent of images with the same answer; None if an answer is nothing that is the same or not."""
        ...

    @staticmethod
    def align(reference: np.ndarray, candidate: np.ndarray, spec: ModelSpec) -> np.ndarray:
        """One output `candidate` (a row an image) in the order of `reference`, where the order means nothing."""
        ...

    @staticmethod
    def same(reference: np.ndarray, candidate: np.ndarray, tie: float) -> dict[str, np.ndarray]:
        """Further measures of parity, by name: for which of the rows the answer is the same, bool (images,).

        Values closer than `tie` are the same. An exported model must reach 1.0 in the mean of each.
        """
        ...

    @staticmethod
    def energy(exact: np.ndarray, found: np.ndarray, spec: ModelSpec) -> tuple[float, float]:
        """The energy of one output and that of its error, as far as they say something of the answers."""
        ...

    @staticmethod
    def stable(reference: np.ndarray, candidate: np.ndarray, spec: ModelSpec) -> tuple[np.ndarray, np.ndarray]:
        """What of both outputs is compared value by value, where only rounding may differ: without near ties."""
        ...


class Training(Protocol):
    """`training`: the losses of training, in torch. `given` is the student's, `wanted` the teacher's answer.

    A module without `CLASSES` needs neither `label_loss` nor `classes`.
    """

    CLASSES: bool
    """Whether an image has one class: labels are classes, and answers can agree."""

    @staticmethod
    def view(spec: ModelSpec) -> View:
        """How images may be changed without another answer."""
        ...

    @staticmethod
    def exported(spec: ModelSpec) -> Callable[[Sequence[torch.Tensor]], list[torch.Tensor]] | None:
        """What makes of a network's answers in training those of its export, for `decode`; None if none is known."""
        ...

    @staticmethod
    def require_comparable(spec: ModelSpec) -> None:
        """Raise `InvalidInput` for a model whose answers cannot be compared with another network's."""
        ...

    @staticmethod
    def distillation(
        given: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor], spec: ModelSpec, temperature: float
    ) -> torch.Tensor:
        """How far answers are apart, the mean over images; `temperature` softens probabilities."""
        ...

    @staticmethod
    def divergence(
        given: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor], spec: ModelSpec
    ) -> torch.Tensor | None:
        """The loss that training of an INT8 file adds to the relative energy of errors, summed over images; or None."""
        ...

    @staticmethod
    def directions(
        answers: Sequence[torch.Tensor], spec: ModelSpec, generator: torch.Generator
    ) -> dict[torch.Tensor, torch.Tensor]:
        """For `answers` a random direction each, such that squared products with it add up to the task's loss.

        They are used with random ones, whose products add up to the relative error; empty if these do.
        """
        ...

    @staticmethod
    def label_loss(
        given: Sequence[torch.Tensor], labels: torch.Tensor, spec: ModelSpec, reduction: str = "mean"
    ) -> torch.Tensor:
        """The loss from the classes `labels` (N,) of the images, `reduction` "mean" or "sum"."""
        ...

    @staticmethod
    def classes(given: Sequence[torch.Tensor]) -> torch.Tensor:
        """The class that each image gets, (N,)."""
        ...


class Protect(Protocol):
    """`protect`: what quantization must leave alone, found in a graph's structure, since names differ by exporter."""

    @staticmethod
    def nodes(model: onnx.ModelProto) -> list[str]:
        """The names of the nodes that stay in float."""
        ...

    @staticmethod
    def score_layers(model: onnx.ModelProto, spec: ModelSpec) -> list[onnx.NodeProto]:
        """The layers that give scores whose height an application relies on: they are levelled after quantization."""
        ...
