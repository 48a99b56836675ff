"""Rotated boxes in numpy: corners, ProbIoU, and suppression by it.

A rotated box is cx, cy, w, h, angle: its center and sides in pixels, and the angle in radians of the side `w` to the x
axis, clockwise (y points down). w, h, angle and h, w, angle + pi/2 are the same box.
"""

from __future__ import annotations

import math

import numpy as np

_BLOCK = 512  # number of boxes that are compared at once
_SMALL = 1e-7


def corners_of(boxes: np.ndarray) -> np.ndarray:
    """Return the corners (K, 4, 2) of `boxes` (K, 5), in the order of Ultralytics: from (+w/2, +h/2) on, by y first."""
    along = boxes[:, 2:3] / 2 * np.stack([np.cos(boxes[:, 4]), np.sin(boxes[:, 4])], axis=1)
    across = boxes[:, 3:4] / 2 * np.stack([-np.sin(boxes[:, 4]), np.cos(boxes[:, 4])], axis=1)
    centers = boxes[:, :2]
    signs = ((1, 1), (1, -1), (-1, -1), (-1, 1))
    found: np.ndarray = np.stack([centers + a * along + b * across for a, b in signs], axis=1)
    return found


def around(corners: np.ndarray) -> np.ndarray:
    """Return the upright boxes (K, 4) x1, y1, x2, y2 around `corners` (K, 4, 2)."""
    found: np.ndarray = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    return found


def fitted(outlines: np.ndarray) -> np.ndarray:
    """Return the rotated boxes (K, 5) of the least area around four points each, (K, 4, 2); w is the longer side.

    The angle is from -pi/4 to 3/4 pi. One side of the best box is along a line through two of the points.
    """
    first, second = np.triu_indices(4, 1)
    lines = outlines[:, second] - outlines[:, first]  # (K, 6, 2)
    angles = np.arctan2(lines[..., 1], lines[..., 0])
    cos, sin = np.cos(angles), np.sin(angles)
    x, y = outlines[:, None, :, 0], outlines[:, None, :, 1]  # (K, 1, 4)
    u, v = x * cos[..., None] + y * sin[..., None], y * cos[..., None] - x * sin[..., None]
    spans = np.stack([np.ptp(u, axis=2), np.ptp(v, axis=2)], axis=2)  # (K, 6, 2)
    best = spans.prod(axis=2).argmin(axis=1)
    rows = np.arange(len(outlines))
    u, v, c, s = u[rows, best], v[rows, best], cos[rows, best], sin[rows, best]
    mid_u, mid_v = (u.max(1) + u.min(1)) / 2, (v.max(1) + v.min(1)) / 2
    w, h = spans[rows, best].T
    angle = angles[rows, best] + np.where(w < h, math.pi / 2, 0)
    angle = (angle + math.pi / 4) % math.pi - math.pi / 4
    center = (mid_u * c - mid_v * s, mid_u * s + mid_v * c)
    return np.stack([*center, np.maximum(w, h), np.minimum(w, h), angle], axis=1)


def probiou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the ProbIoU (...) of boxes (..., 5) with boxes of the same shape.

    It is one minus the Hellinger distance of two Gaussians with the boxes' moments (Llerena et al. 2021, "Gaussian
    Bounding Boxes and Probabilistic Intersection-over-Union for Object Detection"). Equal to Ultralytics' `probiou`.
    """
    a1, b1, c1 = _covariance(one)
    a2, b2, c2 = _covariance(other)
    a, b, c = a1 + a2, b1 + b2, c1 + c2
    dx, dy = one[..., 0] - other[..., 0], one[..., 1] - other[..., 1]
    area = a * b - c * c
    apart = (0.25 * (a * dy * dy + b * dx * dx) - 0.5 * c * dx * dy) / (area + _SMALL)
    both = np.maximum(a1 * b1 - c1 * c1, 0) * np.maximum(a2 * b2 - c2 * c2, 0)
    shape = 0.5 * np.log(area / (4 * np.sqrt(both) + _SMALL) + _SMALL)
    distance = np.clip(apart + shape, _SMALL, 100.0)
    found: np.ndarray = 1 - np.sqrt(1 - np.exp(-distance) + _SMALL)
    return found


def suppress(boxes: np.ndarray, classes: np.ndarray, iou: float, most: int) -> np.ndarray:
    """Return the positions of at most `most` boxes to keep, in order. `boxes` (K, 5) must be sorted, best first.

    A box is dropped if its ProbIoU with any earlier one of its class, also a dropped one, is above `iou`, as in
    Ultralytics ("fast" suppression, Bolya et al. 2019). Most pairs are too far apart, and their ProbIoU is not
    computed.
    """
    boxes = boxes.astype(np.float64)
    # The distance of centers, over the Gaussians' widest axes, limits ProbIoU.
    reach = boxes[:, 2:4].max(axis=1) ** 2 / 12
    limit = -4 * math.log(max(1 - (1 - iou) ** 2, 1e-12)) + 1e-3
    covered = np.zeros(len(boxes), bool)
    kept = 0
    for start in range(0, len(boxes), _BLOCK):
        block = slice(start, start + _BLOCK)
        apart = np.square(boxes[block, None, 0] - boxes[None, : start + _BLOCK, 0])
        apart += np.square(boxes[block, None, 1] - boxes[None, : start + _BLOCK, 1])
        near = apart <= limit * (reach[block, None] + reach[None, : start + _BLOCK])
        near &= classes[block, None] == classes[None, : start + _BLOCK]
        near &= np.arange(near.shape[1]) < np.arange(start, start + near.shape[0])[:, None]
        later, earlier = np.nonzero(near)
        over = probiou(boxes[start + later], boxes[earlier]) > iou
        covered[start + later[over]] = True
        kept += int((~covered[block]).sum())
        if kept >= most:
            covered[start + _BLOCK :] = True
            break
    found: np.ndarray = np.flatnonzero(~covered)[:most]
    return found


def _covariance(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the moments xx, yy and xy of the boxes' areas."""
    w, h = np.square(boxes[..., 2]) / 12, np.square(boxes[..., 3]) / 12
    cos, sin = np.cos(boxes[..., 4]), np.sin(boxes[..., 4])
    return w * cos * cos + h * sin * sin, w * sin * sin + h * cos * cos, (w - h) * cos * sin
