"""The same objects in the answers of two models, and how far their points are apart."""

from __future__ import annotations

import numpy as np

from edgewright.boxes.matching import best_pairs, groups
from edgewright.core.spec import ModelSpec
from edgewright.points.distance import size_of

from .spec import of

SEEN = 0.3
"""The minimum score of a point in the reference that is compared."""
IOU = 0.5
_BOX = 7


def matched(found: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> list[tuple[int, int]]:
    """Return pairs (row of `found`, row of `reference`) of the same object: of an image and class, by the IoU of their
    boxes; for a model with one object, by the image."""
    ours, theirs = dict(groups(found)), dict(groups(reference))
    result = list[tuple[int, int]]()
    for key, rows in theirs.items():
        own = ours.get(key, np.zeros(0, np.int64))
        if of(spec).single is not None:
            result += [(int(own[0]), int(rows[0]))] if len(own) else []
        else:
            result += [(int(own[i]), int(rows[j])) for i, j in best_pairs(found[own], reference[rows], IOU)]
    return result


def moved(found: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how far each point is from that of `reference`, relative to the object's size, and which points count.

    Both are one row. The size is the longer side of the box around the points that count.
    """
    ours, theirs = (row[_BOX:].reshape(-1, 3).astype(np.float64) for row in (found, reference))
    seen = theirs[:, 2] >= SEEN
    return np.linalg.norm(ours[:, :2] - theirs[:, :2], axis=1) / size_of(theirs, seen), seen


def offset(both: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return the length of the mean movement of the points of pairs of rows (found, reference), relative to the
    object's size."""
    shifts = list[np.ndarray]()
    for found, reference in both:
        ours, theirs = (row[_BOX:].reshape(-1, 3).astype(np.float64) for row in (found, reference))
        seen = theirs[:, 2] >= SEEN
        if seen.any():
            shifts.append((ours[seen, :2] - theirs[seen, :2]).mean(axis=0) / size_of(theirs, seen))
    return float(np.linalg.norm(np.mean(shifts, axis=0))) if shifts else 0.0
