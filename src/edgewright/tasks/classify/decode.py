"""Convert a classifier's outputs to labels and scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.core.outputs import probabilities
from edgewright.core.spec import ModelSpec
from edgewright.core.text import one_line

from . import spec as section
from .answer import Classification, Prediction

DTYPE = "float32"


def read(
    outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]] = (), score: float | None = None
) -> list[Classification]:
    """Return one `Classification` per row of the first output, which must have (N, classes) values.

    `sizes` and `score` have no effect. Raises `InvalidInput` if the shape differs from the spec's, and `RuntimeFailed`
    if a value is not finite.
    """
    logits = _logits(outputs, spec)
    values = probabilities(logits, section.of(spec).scores)
    return [_top(row, scores, spec) for row, scores in zip(logits, values)]


def threshold(spec: ModelSpec, score: Any) -> float | None:
    """Return None. Raises `InvalidInput` if the caller gives a minimum score."""
    if score is not None:
        raise InvalidInput(
            f"score={one_line(repr(score))} was given to a classifier.",
            "A minimum score selects detections. A classifier answers with its best classes.",
            "Leave it out, and compare the answer's score yourself.",
        )
    return None


def evaluated(spec: ModelSpec) -> ModelSpec:
    """Return `spec` unchanged."""
    return spec


def rows(
    outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]], names: Sequence[str], first: int
) -> np.ndarray:
    """Return the network's scores, (images, classes). Raises `RuntimeFailed` if one is not finite."""
    logits = _logits(outputs, spec)
    bad = ~np.isfinite(logits).all(axis=1)
    if bad.any():
        raise RuntimeFailed(
            f"The model's output is not finite for {names[int(bad.argmax())]}.",
            f"{int(bad.sum())} of {len(names)} images of this batch gave NaN or infinity.",
            "This variant is unusable; try another precision or calibration method.",
        )
    return logits


def row_bytes(spec: ModelSpec) -> int:
    """Return the number of bytes of an image's row."""
    return 4 * spec.classes


def check_rows(rows: np.ndarray, spec: ModelSpec, images: int) -> tuple[str, str] | None:
    """Check rows of `images` images. Return (the error, the allowed values), or None if they are valid."""
    shape = (images, spec.classes)
    return None if rows.shape == shape else (f"answers of shape {rows.shape}", f"{shape}")


def _logits(outputs: list[np.ndarray], spec: ModelSpec) -> np.ndarray:
    logits = np.asarray(outputs[0], np.float32)
    if logits.ndim < 2 or logits.size != len(logits) * spec.classes:  # (N, classes), or (N, classes, 1, 1)
        raise InvalidInput(
            f"The model {spec.name} gives scores of shape {logits.shape}.",
            f"A classifier of {spec.classes} classes gives (images, {spec.classes}).",
            "Correct `classes` of the ModelSpec, or export the model with its classifier.",
        )
    return logits.reshape(len(logits), spec.classes)


def _top(logits: np.ndarray, values: np.ndarray, spec: ModelSpec) -> Classification:
    # Ranked by logits, because the scores of a confident model saturate to equal values.
    k = max(1, min(section.of(spec).top, len(logits)))
    candidates = np.flatnonzero(logits >= np.partition(logits, -k)[-k])
    best = candidates[np.argsort(-logits[candidates], kind="stable")][:k].tolist()
    return Classification(tuple(Prediction(index, spec.label(index), float(values[index])) for index in best))
