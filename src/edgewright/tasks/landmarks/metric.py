"""The normalized mean error (NME) of landmarks, the area under the curve of errors, and the failure rate.

Outputs are (images, 1 + values): the object's score, then x, y (z) and the score of each point (see `decode.rows`).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgewright.core import statistics
from edgewright.core.spec import ModelSpec
from edgewright.core.statistics import Estimate
from edgewright.data.boxes import Box
from edgewright.data.sets import Item
from edgewright.points.distance import NEAR, size_of
from edgewright.tasks.scores import (
    PAIRED,
    Accuracy,
    AtChance,
    Delta,
    Drift,
    Likeness,
    Moved,
    Paired,
    Score,
    Scored,
    Vocabulary,
    pack,
)

from . import spec as section

NME = "nme"
SCORES = (
    Score(name=NME, title="NME", better="lower"),
    Score(name="auc", title="AUC@0.08"),
    Score(name="failures", title="failures at 0.08", better="lower"),
    Score(name="failures_10", title="failures at 0.1", better="lower"),
)  # fmt: skip
DEFAULT_BUDGET = f"{NME} <= +0.25"
VOCABULARY = Vocabulary(
    models="landmark models",
    names="nme normalizedmeanerror meanerror landmarkerror",
    others=(("auc auc08 auc8 failures failurerate fr", "the normalized mean error", "it is not a budget metric"),),
)
LIMIT = 0.08
"""The error at which an image counts as a failure, and the end of the curve of errors."""
SHIFT = (0.02, 0.1)
"""Accepted shifts of the mean score of the object: a larger one is a warning, or an error."""
POINT = (0.03, 0.1)
"""Accepted mean movement of one point, relative to the object's size."""
FAR = 0.5
"""Chance: a model whose mean error is half of the object's size."""


def score(outputs: np.ndarray, items: Sequence[Item], spec: ModelSpec) -> Accuracy:
    """Return the errors on the images with a labeled object. There is no score without labels."""
    errors = _errors(outputs, items, spec)
    if not len(errors):
        return Accuracy(images=len(items), primary=NME)
    area = np.maximum(0.0, 1 - errors / LIMIT).mean()
    every = (errors.mean(), area, (errors > LIMIT).mean(), (errors > 0.1).mean())
    return Accuracy(
        images=len(items),
        scores={one.name: Scored(value=100 * float(value)) for one, value in zip(SCORES, every)},
        primary=NME,
        contributions=pack(100 * errors),
    )


def compare(
    outputs: np.ndarray, reference: np.ndarray, items: Sequence[Item], spec: ModelSpec, paired: Paired = PAIRED
) -> Accuracy:
    """Return the result of `score`, and the comparison with the reference: delta, and points that stay in place."""
    result = score(outputs, items, spec)
    if result.score is not None:
        ours, theirs = (100 * _errors(rows, items, spec) for rows in (outputs, reference))
        value, low, high = difference(ours, theirs, paired.confidence)
        verdict = statistics.verdict(-high, -low, paired.margin)  # a larger error is the loss
        delta = Delta(
            value=value, low=low, high=high, verdict=verdict, margin=paired.margin, confidence=paired.confidence
        )
        scores = {**result.scores, NME: msgspec.structs.replace(result.scores[NME], delta=delta)}
        result = msgspec.structs.replace(result, scores=scores)
    return msgspec.structs.replace(
        result, agreement=likeness(outputs, reference, spec).percent, sqnr_db=statistics.sqnr_db(outputs, reference)
    )


def difference(ours: NDArray[np.floating], theirs: NDArray[np.floating], confidence: float = 0.95) -> Estimate:
    """Return the mean change of the error in points, from the contributions `theirs` to `ours`. Each bound is
    one-sided."""
    return statistics.mean_difference(ours, theirs, confidence)


def at_chance(outputs: np.ndarray, items: Sequence[Item], accuracy: Accuracy) -> AtChance | None:
    """Return why a model is at chance: its mean error is half of the object's size."""
    seen = sum(any(box.keypoints is not None for box in item.boxes or ()) for item in items)
    if accuracy.score is None or accuracy.score < 100 * FAR or seen < 20:
        return None
    return AtChance(
        f"The points are far from the {seen} labeled objects (NME {accuracy.score:.0f}%). Likely causes: the points "
        "are in another order than the model's, values or units are wrong, or images are not crops of the object.",
        seen,
    )


def likeness(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> Likeness:
    """Return PCK@0.05: the percentage of points that are within 5% of the object's size of the reference's."""
    near = _moved(answers, reference, spec) <= NEAR
    return Likeness(100 * float(near.mean()) if near.size else 100.0, "the points")


def confidence(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> Moved | None:
    """Return the shift of the mean score of the object; None without such a score."""
    if section.of(spec).object_score is None or not (kept := reference[:, 0] >= section.of(spec).score).any():
        return None
    return Moved("the object", float(reference[kept, 0].mean()), float(answers[kept, 0].mean()), SHIFT)


def drifts(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> list[Drift]:
    """Return the movement of the point that moves most, on average over the images with an object."""
    d = section.of(spec)
    apart = _moved(answers, reference, spec)
    if not apart.size:
        return []
    worst = np.minimum(apart, 1.0).mean(axis=0)
    k = int(worst.argmax())
    name = d.names[k] if d.names else f"point {k}"
    text = f"The point that moves most, {name}, is {100 * worst[k]:.1f}% of the object's size from the reference's"
    return [Drift("points", text, float(worst[k]), POINT)]


def chosen(outputs: np.ndarray, places: Sequence[int]) -> np.ndarray:
    """Return the rows of only the images at `places`."""
    return np.array(outputs[list(places)])


def _moved(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Return `moved` for the images where the reference finds the object (all, if it finds none)."""
    there = reference[:, 0] >= section.of(spec).score
    there = there if there.any() else np.ones(len(reference), bool)
    return moved(answers[there], reference[there], spec)


def moved(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Return (images, points): the movement of each point against the reference, relative to the object's size."""
    ours, theirs = _xy(answers, spec), _xy(reference, spec)
    sizes = np.array([size_of(one) for one in theirs])
    return np.asarray(np.linalg.norm(ours - theirs, axis=2) / sizes[:, None])


def _xy(rows: np.ndarray, spec: ModelSpec) -> np.ndarray:
    d = section.of(spec)
    return np.asarray(rows[:, 1:].reshape(len(rows), d.points, section.axes(d) + 1)[:, :, :2], np.float64)


def _errors(outputs: np.ndarray, items: Sequence[Item], spec: ModelSpec) -> np.ndarray:
    """Return the error of each labeled image as a fraction of the object's size, (images,)."""
    d, points = section.of(spec), _xy(outputs, spec)
    found = list[float]()
    for k, item in enumerate(items):
        box = next((box for box in item.boxes or () if box.keypoints is not None), None)
        if box is None:
            continue
        truth = np.asarray(box.keypoints, np.float64)
        seen = truth[:, 2] > 0
        apart = np.linalg.norm(points[k, seen] - truth[seen, :2], axis=1)
        found.append(float(apart.mean() / _normalizer(box, truth, d)) if seen.any() else 0.0)
    return np.array(found)


def _normalizer(box: Box, truth: np.ndarray, d: section.Landmarks) -> float:
    if isinstance(d.normalize, tuple):
        a, b = d.normalize
        return max(1e-6, float(np.linalg.norm(truth[a, :2] - truth[b, :2])))
    width, height = box.x2 - box.x1, box.y2 - box.y1
    return max(1e-6, float(np.hypot(width, height) if d.normalize == "diagonal" else np.sqrt(width * height)))
