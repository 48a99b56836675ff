"""Distances between the points of two answers of networks for one object."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgewright.core.spec import ModelSpec

from .layouts import Described, Found, Single, checked, decode

NEAR = 0.05
"""PCK@0.05: a point is kept if it moves by at most 5% of the object's size."""


def size_of(points: np.ndarray, seen: np.ndarray | None = None) -> float:
    """Return the longer side of the box around `points` (K, 2 or 3), at least 1; `seen` (K,): the points that count."""
    chosen = points[:, :2] if seen is None or seen.sum() < 2 else points[seen, :2]
    return max(1.0, float(np.ptp(chosen, axis=0).max())) if len(chosen) else 1.0


def moved(
    layout: Single, exact: Sequence[np.ndarray], found: Sequence[np.ndarray], d: Described, spec: ModelSpec
) -> np.ndarray:
    """Return how far each point moves from `exact` to `found`, (images, points), relative to the object's size."""
    pairs = [_read(layout, outputs, d, spec) for outputs in (exact, found)]
    return np.stack([
        np.linalg.norm(a.points[:, :2] - b.points[:, :2], axis=1) / size_of(a.points) for a, b in zip(*pairs)
    ])  # fmt: skip


def change(
    layout: Single, exact: Sequence[np.ndarray], found: Sequence[np.ndarray], d: Described, spec: ModelSpec
) -> np.ndarray:
    """Return the loss of each image, (images,): the mean movement of points (each at most the object's size), weighted
    by the score of the point in `exact`, and a tenth of the change of scores."""
    ours, theirs = (_read(layout, outputs, d, spec) for outputs in (exact, found))
    apart = np.minimum(1.0, moved(layout, exact, found, d, spec))
    weights = np.stack([one.scores for one in ours]).astype(np.float64) + 0.01
    scores = np.array([
        np.abs(a.scores - b.scores).mean() + abs((a.score or 0.0) - (b.score or 0.0)) for a, b in zip(ours, theirs)
    ])  # fmt: skip
    return np.asarray((apart * weights).sum(axis=1) / weights.sum(axis=1) + scores / 10)


def _read(layout: Single, outputs: Sequence[np.ndarray], d: Described, spec: ModelSpec) -> list[Found]:
    images = len(outputs[0])
    arrays = checked(layout, outputs, d, spec, images)
    return [decode(layout, [array[k] for array in arrays], d, spec) for k in range(images)]
