"""The signatures of a task's modules. A module with these functions is such a part, without inheritance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from edgewright.core.spec import ModelSpec
from edgewright.core.statistics import Estimate

from .scores import PAIRED, Accuracy, AtChance, Drift, Likeness, Moved, Paired, Score, Vocabulary

if TYPE_CHECKING:
    import onnx
    import torch
    from PIL import Image

    from edgewright.data.sets import ImageSet, Item
    from edgewright.data.wants import Wants

View = Literal["crop", "zoom", "whole"]
"""How training changes images: random crops, zoom and shift of the evaluation's pixels, or no change."""

Line = tuple["str | tuple[str, str]", ...]
"""A line for a terminal: parts that are plain text, or (style, text)."""


class Answer(Protocol):
    """The answer of a task for one image. The task defines the fields in its module `answer`."""

    def to_json(self, top: int = ...) -> dict[str, Any]:
        """Return the answer as plain data; for a ranking, the first `top` entries."""
        ...

    def lines(self, top: int = ...) -> list[Line]:
        """Return the lines for a terminal. The first line follows the image's name, the others are below it."""
        ...

    def to_coco(self, image: int) -> list[dict[str, Any]]:
        """Return rows of COCO's results format with `image` as image_id, and the model's class index as category_id.

        Empty if COCO has no such result.
        """
        ...

    def to_ultralytics(self) -> list[dict[str, Any]]:
        """Return the rows of Ultralytics' ``Results.summary()``; empty if it has none for this task."""
        ...

    # Optional: files() -> dict[str, bytes]. It returns the files that keep the answer, by suffix, for
    # ``edgewright run --save``. Without it, the answer is saved as JSON.

    def to_supervision(self) -> Any:
        """Return the type of supervision for this answer: ``Detections``, ``KeyPoints`` or ``Classifications``.

        Raises `Unavailable` if supervision is not installed, and `InvalidInput` if it has no type for this answer.
        """
        ...


class Decode(Protocol):
    """`decode` turns outputs into answers. It is light and runs on devices."""

    DTYPE: str
    """The numpy type of the rows: "float32", or a smaller one for tasks with large answers."""

    @staticmethod
    def read(
        outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]], score: float | None = None
    ) -> Sequence[Answer]:
        """Return the answer for each image of a batch, in pixels of the original images. `sizes`: their (width,
        height).

        `score`: the result of `threshold`. Raises `InvalidInput` if the outputs do not fit the spec, and
        `RuntimeFailed` if a value is not finite.
        """
        ...

    @staticmethod
    def threshold(spec: ModelSpec, score: Any) -> float | None:
        """Return the checked minimum score of a caller; None for None. Raises `InvalidInput` for an invalid score, and
        if the task has no minimum score."""
        ...

    @staticmethod
    def evaluated(spec: ModelSpec) -> ModelSpec:
        """Return `spec` with the settings for measuring accuracy, such as a lower minimum score."""
        ...

    @staticmethod
    def rows(
        outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]], names: Sequence[str], first: int
    ) -> np.ndarray:
        """Return the rows for the accuracy, (rows, values) of `DTYPE`, of a batch whose first image has the number
        `first`.

        `names`: the names of the images, for errors. ``outputs.npy`` has the rows of all images in order. Raises the
        same errors as `read`.
        """
        ...

    @staticmethod
    def row_bytes(spec: ModelSpec) -> int:
        """Return the maximum number of bytes of an image's rows."""
        ...

    @staticmethod
    def check_rows(rows: np.ndarray, spec: ModelSpec, images: int) -> tuple[str, str] | None:
        """Check rows of `images` images from outside. Return (the error, the allowed values), or None if they are
        valid."""
        ...


class Fit(Protocol):
    """`fit` checks that a description fits a model's outputs, before the model is built for a device."""

    @staticmethod
    def require(outputs: list[np.ndarray], spec: ModelSpec, origin: str, images: int, real: bool = True) -> None:
        """Raise `InvalidInput` if the outputs of one run of `origin` over `images` cannot be read by `spec`.

        `real`: the images are real, so the scores must have the described range.
        """
        ...

    @staticmethod
    def settle(
        answers: np.ndarray, spec: ModelSpec, function: str, said: Mapping[str, Any], certain: bool
    ) -> tuple[ModelSpec, tuple[str, ...]]:
        """Return `spec` completed from the outputs, such as whether scores are probabilities, and notes.

        `answers`: one row per image. `function`: Softmax or Sigmoid if the first output is its result, else empty.
        `said`: the settings in the task's table, which are kept. `certain`: the source knows its outputs, unless they
        contradict. Raises `InvalidInput` if the user must set the value.
        """
        ...

    @staticmethod
    def complete(outputs: list[np.ndarray], spec: ModelSpec) -> ModelSpec:
        """Return `spec` with the shapes and types of `outputs`, of one run. Only tasks of any outputs need it (their
        section has ``ANY``)."""
        ...


class Draw(Protocol):
    """`draw` draws answers. It is light and runs on devices."""

    @staticmethod
    def draw(image: Image.Image, answer: Any) -> Image.Image:
        """Return a copy of `image` as RGB with the answer on it. The answer is in pixels of this image."""
        ...


class Truth(Protocol):
    """`truth` checks the labels of a data set."""

    WANTS: Wants
    """The labels that the task reads."""
    NEEDS: str
    """The label that each image needs, as text: "a class an image"."""
    CLASSES: bool
    """Whether the label is one class per image. Training can learn from such labels."""
    TURNED: str
    """Text after "They were not turned", for photos with an EXIF orientation: how their labels were changed. Empty if
    rotation does not change the label."""

    @staticmethod
    def found(images: ImageSet) -> ImageSet:
        """Return `images` with the content of the task's own files next to them (`Item.truth`)."""
        ...

    # Optional: derived(images, spec) -> ImageSet. It returns inputs of the model that it computes from images without
    # labels, which are then the labels. `derived` runs before `found`, also for calibration images.

    @staticmethod
    def known(item: Item) -> bool:
        """Whether an image has the label."""
        ...

    @staticmethod
    def match(images: ImageSet, spec: ModelSpec) -> ImageSet:
        """Return `images`, which all have labels, with the model's class indices. Raises `InvalidInput` if they do not
        match."""
        ...


class Metric(Protocol):
    """`metric` computes scores from the rows in ``outputs.npy`` (see `Decode`), for images in the order of `items`."""

    SCORES: tuple[Score, ...]
    """The scores, the primary one first. Budgets and gates judge the primary score."""
    DEFAULT_BUDGET: str
    """The default budget."""
    VOCABULARY: Vocabulary
    """Names that people use for the primary score."""

    @staticmethod
    def score(outputs: np.ndarray, items: Sequence[Item], spec: ModelSpec) -> Accuracy:
        """Return the scores without a reference, and the contribution of each image. Both are absent without labels."""
        ...

    @staticmethod
    def compare(
        outputs: np.ndarray, reference: np.ndarray, items: Sequence[Item], spec: ModelSpec, paired: Paired = PAIRED
    ) -> Accuracy:
        """Return the result of `score`, and the comparison with the reference's outputs for the same images."""
        ...

    @staticmethod
    def difference(ours: np.ndarray, theirs: np.ndarray, confidence: float = 0.95) -> Estimate:
        """Return the difference of two reports' primary scores, by the contributions of both. Bounds are one-sided."""
        ...

    @staticmethod
    def at_chance(outputs: np.ndarray, items: Sequence[Item], accuracy: Accuracy) -> AtChance | None:
        """Return why a model of this accuracy is at chance; None if it is not, or if there are too few images to
        decide."""
        ...

    @staticmethod
    def likeness(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> Likeness:
        """Return how similar two sets of answers on the same images are."""
        ...

    @staticmethod
    def confidence(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> Moved | None:
        """Return the shift of the answers' mean score; None if answers have no score, or none is high enough."""
        ...

    @staticmethod
    def drifts(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> list[Drift]:
        """Return the differences from the float reference that the primary score can hide, for the audit."""
        ...

    @staticmethod
    def chosen(outputs: np.ndarray, places: Sequence[int]) -> np.ndarray:
        """Return the rows of only the images at `places`, renumbered."""
        ...


class Report(Protocol):
    """`report` has the task's texts and pictures for reports."""

    HEADING: str
    """The heading of the primary score's column: "Top-1"."""
    TITLE: str
    """The title of the primary score on a plot's axis: "Top-1 accuracy"."""
    AGREEMENT: str
    """The title of `Accuracy.agreement`: "Same answer as reference"."""
    SHOWN: tuple[str, ...]
    """Names of the scores that are shown below the primary one."""
    GALLERY: str
    """A sentence about the pictures of both answers. If it is empty, there are no pictures, and the functions below are
    not needed."""

    @staticmethod
    def disagreement(found: np.ndarray, reference: np.ndarray, images: int, spec: ModelSpec) -> np.ndarray:
        """Return the difference between the answers on each image, (images,). 0: no difference worth a picture."""
        ...

    @staticmethod
    def picture(image: Image.Image, rows: np.ndarray, scale: float, spec: ModelSpec) -> Image.Image:
        """Return `image`, reduced by `scale`, with the answer in `rows`, which are those of this image."""
        ...

    # Optional: pictures(reference, found, side, spec) -> both pictures, of the rows of one image, at most `side` pixels
    # large. It replaces `picture` for a task that shows a part which depends on both answers.

    @staticmethod
    def caption(reference: np.ndarray, found: np.ndarray, spec: ModelSpec) -> str:
        """Return both answers on an image as text."""
        ...


class Loss(Protocol):
    """`loss` compares two outputs, in numpy. `exact` and `found` are the outputs of a model, images first."""

    @staticmethod
    def divergence(exact: Sequence[np.ndarray], found: Sequence[np.ndarray], spec: ModelSpec) -> float:
        """Return the loss of the answers `found` against `exact`, per image. It ranks layers, blocks and ranges."""
        ...

    @staticmethod
    def changes(exact: Sequence[np.ndarray], found: Sequence[np.ndarray], spec: ModelSpec) -> np.ndarray:
        """Return how much the answer to each image changes, from 0 to 1; (images,).

        No image counts more than one wrong answer. Without this limit, a few images with outliers would dominate the
        result.
        """
        ...

    @staticmethod
    def agreement(exact: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> float | None:
        """Return the percentage of images with the same answer; None if answers cannot be simply equal or not."""
        ...

    @staticmethod
    def align(reference: np.ndarray, candidate: np.ndarray, spec: ModelSpec) -> np.ndarray:
        """Return the output `candidate` (one row per image) in the order of `reference`, if order has no meaning."""
        ...

    @staticmethod
    def same(reference: np.ndarray, candidate: np.ndarray, tie: float) -> dict[str, np.ndarray]:
        """Return other measures of parity by name: whether the answer in each row is the same, bool (images,).

        Values closer than `tie` count as equal. An exported model must reach 1.0 in the mean of each measure.
        """
        ...

    @staticmethod
    def energy(exact: np.ndarray, found: np.ndarray, spec: ModelSpec) -> tuple[float, float]:
        """Return the energy of one output and of its error, restricted to values that affect the answers."""
        ...

    @staticmethod
    def stable(reference: np.ndarray, candidate: np.ndarray, spec: ModelSpec) -> tuple[np.ndarray, np.ndarray]:
        """Return the values of both outputs to compare one by one if only rounding differs. Near ties are left out."""
        ...


class Training(Protocol):
    """`training` has the losses of training, in torch. `given` is the student's answer, `wanted` the teacher's.

    A module with `CLASSES` False needs neither `label_loss` nor `classes`.
    """

    CLASSES: bool
    """Whether an image has one class. Then labels are classes, and answers can agree."""

    @staticmethod
    def view(spec: ModelSpec) -> View:
        """Return how images may be changed without changing the answer."""
        ...

    @staticmethod
    def exported(spec: ModelSpec) -> Callable[[Sequence[torch.Tensor]], list[torch.Tensor]] | None:
        """Return the function from a network's outputs in training to those of its export, for `decode`; None if
        unknown."""
        ...

    @staticmethod
    def require_comparable(spec: ModelSpec) -> None:
        """Raise `InvalidInput` for a model whose answers cannot be compared with another network's."""
        ...

    @staticmethod
    def distillation(
        given: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor], spec: ModelSpec, temperature: float
    ) -> torch.Tensor:
        """Return the loss between two answers, as the mean over images. `temperature` softens probabilities."""
        ...

    @staticmethod
    def divergence(
        given: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor], spec: ModelSpec
    ) -> torch.Tensor | None:
        """Return a loss for training an INT8 file, summed over images, in addition to the relative energy of errors; or
        None."""
        ...

    @staticmethod
    def directions(
        answers: Sequence[torch.Tensor], spec: ModelSpec, generator: torch.Generator
    ) -> dict[torch.Tensor, torch.Tensor]:
        """Return a random direction for each of `answers`. The squared products with the directions add up to the
        task's loss.

        They are used together with random directions, whose products add up to the relative error. Empty if those are
        enough.
        """
        ...

    @staticmethod
    def label_loss(
        given: Sequence[torch.Tensor], labels: torch.Tensor, spec: ModelSpec, reduction: str = "mean"
    ) -> torch.Tensor:
        """Return the loss from the classes `labels` (N,) of the images. `reduction`: "mean" or "sum"."""
        ...

    @staticmethod
    def classes(given: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the predicted class of each image, (N,)."""
        ...


class Protect(Protocol):
    """`protect` finds what quantization must not change, by the graph's structure, because names differ by exporter."""

    @staticmethod
    def nodes(model: onnx.ModelProto) -> list[str]:
        """Return the names of the nodes that stay in float."""
        ...

    @staticmethod
    def score_layers(model: onnx.ModelProto, spec: ModelSpec) -> list[onnx.NodeProto]:
        """Return the layers with scores whose level matters to an application. Quantization corrects their mean
        afterwards."""
        ...


class Rewrite(Protocol):
    """`rewrite` computes the last step of decoding in the graph, such as an ArgMax. A task may lack it."""

    @staticmethod
    def applies(spec: ModelSpec) -> bool:
        """Whether a model has such a step outside of its graph."""
        ...

    @staticmethod
    def apply(model: onnx.ModelProto) -> None:
        """Add the step to `model`, and change the spec in its metadata; both in place. Raises `InvalidInput` if that is
        not possible."""
        ...
