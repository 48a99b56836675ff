"""Draw the points of an object with the edges of its skeleton."""

from __future__ import annotations

import numpy as np

from edgewright.vision.draw import Canvas, Color

from .skeletons import Skeleton

SEEN = 0.3
"""The minimum score of a point that is drawn."""
_LEFT, _RIGHT, _MIDDLE = (255, 140, 26), (38, 166, 255), (64, 214, 110)


def draw_points(
    canvas: Canvas, points: np.ndarray, scores: np.ndarray, skeleton: Skeleton, color: Color | None = None,
    size: float | None = None,
) -> None:  # fmt: skip
    """Draw on `canvas` the `points` (K, 2) with a score of at least `SEEN`, and the edges between two of them.

    Points of the left side are orange, of the right side blue, others green; `color` replaces them. `size`: the side
    of the object in pixels, to which the dots are fitted.
    """
    sides = [color or _side(skeleton.names[k] if k < len(skeleton.names) else "") for k in range(len(points))]
    seen = scores >= SEEN
    line = canvas.line if size is None else max(1, min(2 * canvas.line, round(size / 70)))
    for a, b in skeleton.edges:
        if a < len(points) and b < len(points) and seen[a] and seen[b]:
            canvas.segment(points[a], points[b], color or _between(sides[a], sides[b]), line)
    for k in np.flatnonzero(seen):
        canvas.dot(points[k], sides[k], line if len(points) <= 40 else 0.6 * line)


def _between(one: Color, other: Color) -> Color:
    """Return the color of an edge: the side of its points, or the middle between left and right."""
    return other if one == _MIDDLE else one if other in (one, _MIDDLE) else _MIDDLE


def _side(name: str) -> Color:
    return _LEFT if name.startswith("left") or name.endswith("left") else (
        _RIGHT if name.startswith("right") or name.endswith("right") else _MIDDLE
    )  # fmt: skip
