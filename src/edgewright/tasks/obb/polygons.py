"""The IoU of outlines with four corners, in numpy, for many pairs at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def area(outlines: Floats) -> Floats:
    """Return the area (...) of polygons (..., corners, 2); negative if the corners run against the clock (y up)."""
    following = np.roll(outlines, -1, axis=-2)
    found: Floats = (outlines[..., 0] * following[..., 1] - outlines[..., 1] * following[..., 0]).sum(axis=-1) / 2
    return found


def intersection(outlines: Floats, convex: Floats) -> Floats:
    """Return the common area (K,) of pairs of polygons (K, 4, 2); those of `convex` are convex.

    The method clips a polygon by the lines of the other one (Sutherland and Hodgman 1974).
    """
    middle = convex.mean(axis=1, keepdims=True)  # near the origin, fewer digits are lost
    found, window = outlines - middle, convex - middle
    window = np.where(area(window)[:, None, None] < 0, window[:, ::-1], window)
    for k in range(window.shape[1]):
        found = _clipped(found, window[:, k], window[:, (k + 1) % window.shape[1]])
    return np.abs(area(found))


def iou(one: Floats, other: Floats) -> Floats:
    """Return the IoU (A, B) of outlines (A, 4, 2) with convex outlines (B, 4, 2); 0 for one without area."""
    found = np.zeros((len(one), len(other)))
    if not found.size:
        return found
    low = np.maximum(one.min(axis=1)[:, None], other.min(axis=1)[None])
    high = np.minimum(one.max(axis=1)[:, None], other.max(axis=1)[None])
    i, j = np.nonzero((high > low).all(axis=2))
    common = intersection(one[i], other[j])
    union = np.abs(area(one))[i] + np.abs(area(other))[j] - common
    with np.errstate(invalid="ignore", divide="ignore"):
        found[i, j] = np.where(union > 0, common / union, 0.0)
    return found


def _clipped(polygons: Floats, start: Floats, end: Floats) -> Floats:
    """Return the parts of `polygons` (K, corners, 2) at the left of the lines from `start` to `end`, each (K, 2).

    A polygon with fewer corners than the largest one repeats a corner, and one without a part repeats a point.
    """
    line = (end - start)[:, None]
    away = polygons - start[:, None]
    side = line[..., 0] * away[..., 1] - line[..., 1] * away[..., 0]
    inside = side >= 0
    after, side_after = np.roll(polygons, -1, axis=1), np.roll(side, -1, axis=1)
    crosses = inside != np.roll(inside, -1, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(crosses, side / (side - side_after), 0.0)
    crossing = polygons + share[..., None] * (after - polygons)
    count, corners = polygons.shape[:2]
    points = np.stack([polygons, crossing], axis=2).reshape(count, 2 * corners, 2)
    kept = np.stack([inside, crosses], axis=2).reshape(count, 2 * corners)
    order = np.argsort(~kept, axis=1, kind="stable")
    total = kept.sum(axis=1)
    order = order[:, : max(int(total.max(initial=0)), 1)]
    order = np.where(np.arange(order.shape[1]) < total[:, None], order, order[:, :1])  # closes the polygon again
    found: Floats = np.take_along_axis(points, order[..., None], axis=1)
    return np.where(total[:, None, None] > 0, found, 0.0)
