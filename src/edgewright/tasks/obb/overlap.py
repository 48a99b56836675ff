"""How rotated boxes are compared: rows of answers with labeled boxes, and rows with rows.

Rows are those of `RotatedBoxes.rows`.
"""

from __future__ import annotations

import numpy as np

from edgewright.boxes.matching import Floats, Likeness, Overlap
from edgewright.data.boxes import Box

from . import polygons, rotated
from .spec import Obb

GEOMETRY = (1, 2, 3, 4, 7)
"""The columns with cx, cy, w, h and the angle."""


def with_truth(d: Obb) -> Overlap:
    """Return the comparison of rows with labeled boxes; for a crowd, the share of the row's area that is in it."""
    return _prob_truth if d.overlap == "probiou" else _polygon_truth


def of_rows(d: Obb) -> Likeness:
    """Return the comparison of the rows of two models."""
    return _prob_rows if d.overlap == "probiou" else polygon_rows


def polygon_rows(own: Floats, other: Floats) -> Floats:
    """Return the IoU (rows, rows) of the outlines of boxes."""
    return polygons.iou(_outlines(own), _outlines(other))


def _polygon_truth(rows: Floats, truth: list[Box]) -> Floats:
    labeled, found = _corners(truth), _outlines(rows)
    ious = polygons.iou(labeled, found).T
    crowds = [k for k, box in enumerate(truth) if box.crowd]
    if crowds:
        pairs = np.array([(i, k) for i in range(len(rows)) for k in crowds]).reshape(-1, 2)
        common = polygons.intersection(labeled[pairs[:, 1]], found[pairs[:, 0]])
        ious[pairs[:, 0], pairs[:, 1]] = common / np.maximum(rows[pairs[:, 0], 3] * rows[pairs[:, 0], 4], 1e-9)
    return ious


def _prob_truth(rows: Floats, truth: list[Box]) -> Floats:
    labeled = rotated.fitted(_corners(truth))
    return rotated.probiou(rows[:, None, GEOMETRY], labeled[None])


def _prob_rows(own: Floats, other: Floats) -> Floats:
    return rotated.probiou(own[:, None, GEOMETRY], other[None][..., GEOMETRY])


def _corners(truth: list[Box]) -> Floats:
    return np.array([box.corners for box in truth], np.float64).reshape(-1, 4, 2)


def _outlines(rows: Floats) -> Floats:
    return rotated.corners_of(rows[:, GEOMETRY])
