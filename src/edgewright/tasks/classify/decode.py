"""From a classifier's outputs to labels and scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.core.spec import ModelSpec
from edgewright.core.text import one_line
from edgewright.tasks.outputs import probabilities

from . import spec as section
from .answer import Classification, Prediction


def read(
    outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]] = (), score: float | None = None
) -> list[Classification]:
    """One `Classification` a row of the first output, which must hold (N, classes) values.

    `sizes` and `score` mean nothing here. Raises `RuntimeFailed` where the shape differs from the spec's or a value is
    not finite.
    """
    logits = np.asarray(outputs[0], np.float32)
    if logits.ndim < 2 or logits.size != len(logits) * spec.classes:
        raise RuntimeFailed(
            f"The model's output has shape {logits.shape}.",
            f"A classifier of {spec.classes} classes gives (images, {spec.classes}).",
            "Check the number of classes and the output's name in the model's spec.",
        )
    logits = logits.reshape(len(logits), spec.classes)
    values = probabilities(logits, section.of(spec).scores)
    return [_top(row, scores, spec) for row, scores in zip(logits, values)]


def threshold(spec: ModelSpec, score: Any) -> float | None:
    """None; raises `InvalidInput` where a least score is given."""
    if score is not None:
        raise InvalidInput(
            f"score={one_line(repr(score))} was given to a classifier.",
            "A least score chooses among detections; a classifier answers with its best classes.",
            "Leave it out, and compare the score of the answer.",
        )
    return None


def evaluated(spec: ModelSpec) -> ModelSpec:
    """`spec` as accuracy is measured: as it is."""
    return spec


def _top(logits: np.ndarray, values: np.ndarray, spec: ModelSpec) -> Classification:
    # Ranked by the logits: scores of a confident model saturate to equal values.
    k = max(1, min(section.of(spec).top, len(logits)))
    candidates = np.flatnonzero(logits >= np.partition(logits, -k)[-k])
    best = candidates[np.argsort(-logits[candidates], kind="stable")][:k].tolist()
    return Classification(tuple(Prediction(index, spec.label(index), float(values[index])) for index in best))
