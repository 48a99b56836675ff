"""From a classifier's outputs to labels and scores."""

from __future__ import annotations

import msgspec
import numpy as np

from edgewright.core.errors import RuntimeFailed
from edgewright.core.spec import ModelSpec, Postprocess


class Prediction(msgspec.Struct, frozen=True):
    """One class of one image: its index, its label and its score (a probability where the spec says so)."""

    index: int
    label: str
    score: float


class Classification(msgspec.Struct, frozen=True):
    """The best classes of one image, best first; among equal scores the lower index comes first, as in argmax."""

    top: tuple[Prediction, ...]

    @property
    def index(self) -> int:
        """The index of the best class."""
        return self.top[0].index

    @property
    def label(self) -> str:
        """The label of the best class."""
        return self.top[0].label

    @property
    def score(self) -> float:
        """The score of the best class."""
        return self.top[0].score


def scores(logits: np.ndarray, p: Postprocess) -> np.ndarray:
    """`logits` (..., classes) as float32 scores, without overflow. Raises `RuntimeFailed` where one is not finite."""
    x = np.asarray(logits, np.float32)
    with np.errstate(invalid="ignore"):  # inf - inf: reported below, by name
        if p.scores == "softmax":
            x = np.exp(x - x.max(axis=-1, keepdims=True))
            x /= x.sum(axis=-1, keepdims=True)
        elif p.scores == "sigmoid":
            small = np.exp(-np.abs(x))
            x = np.where(x >= 0, 1, small) / (1 + small)
    if not np.isfinite(x).all():
        raise RuntimeFailed(
            "The model's output holds NaN or infinite values.",
            "No label can be read from it; weights that overflow in a low precision are the usual cause.",
            "Build the artifact with a higher precision, or check the checkpoint.",
        )
    return x


def classify(outputs: list[np.ndarray], spec: ModelSpec) -> list[Classification]:
    """One `Classification` a row of the first output, which must hold (N, classes) values.

    Raises `RuntimeFailed` where the shape differs from the spec's or a value is not finite.
    """
    logits = np.asarray(outputs[0], np.float32)
    if logits.ndim < 2 or logits.size != len(logits) * spec.classes:
        raise RuntimeFailed(
            f"The model's output has shape {logits.shape}.",
            f"A classifier of {spec.classes} classes gives (images, {spec.classes}).",
            "Check the number of classes and the output's name in the model's spec.",
        )
    logits = logits.reshape(len(logits), spec.classes)
    return [_top(row, values, spec) for row, values in zip(logits, scores(logits, spec.postprocess))]


def _top(logits: np.ndarray, values: np.ndarray, spec: ModelSpec) -> Classification:
    # Ranked by the logits: scores of a confident model saturate to equal values.
    k = max(1, min(spec.postprocess.top, len(logits)))
    candidates = np.flatnonzero(logits >= np.partition(logits, -k)[-k])
    best = candidates[np.argsort(-logits[candidates], kind="stable")][:k].tolist()
    return Classification(tuple(Prediction(index, spec.label(index), float(values[index])) for index in best))
