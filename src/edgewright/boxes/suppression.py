"""Keep the best of overlapping boxes of one class, like torchvision's ``batched_nms``."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np

_BLOCK = 256  # number of boxes that are compared at once


def nms(boxes: np.ndarray, classes: np.ndarray, iou: float, most: int) -> np.ndarray:
    """Return the positions of at most `most` boxes to keep, in order. `boxes` (N, 4) xyxy must be sorted, best first.

    A box is dropped if an earlier kept one of its class overlaps it with an intersection over union above `iou`. Blocks
    of boxes are compared at once, and the function stops after the last box that it needs.
    """
    sides = np.ascontiguousarray(boxes.T)
    areas = (sides[2] - sides[0]) * (sides[3] - sides[1])
    kinds = classes.astype(np.int32)  # all pairs are compared: half of the bytes
    kept = np.zeros(0, np.int64)
    for start in range(0, len(boxes), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(boxes)))
        if len(kept):
            _, covered = _covering(sides, areas, kinds[kept][:, None] == kinds[block], kept, block, iou)
            block = np.delete(block, covered)
        same = (kinds[block][:, None] == kinds[block]) & _later()[: len(block), : len(block)]
        rows, covered = _covering(sides, areas, same, block, block, iou)
        alive = np.ones(len(block), bool)
        starts = np.searchsorted(rows, np.arange(len(block) + 1)).tolist()
        for row, (first, last) in enumerate(pairwise(starts)):
            if first < last and alive[row]:
                alive[covered[first:last]] = False
        kept = np.concatenate([kept, block[alive]])
        if len(kept) >= most:
            break
    return kept[:most]


def _covering(
    sides: np.ndarray, areas: np.ndarray, pairs: np.ndarray, rows: np.ndarray, columns: np.ndarray, iou: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return those `pairs` (place in `rows`, place in `columns`), in order, of boxes that overlap by more than `iou`.

    `sides` (4, N): x1, y1, x2, y2 of all boxes. `pairs`, (rows, columns) bool: the pairs to compare. For 20 objects
    with 8 boxes each, 5% of all pairs have the same class.
    """
    first, second = np.divmod(np.flatnonzero(pairs), len(columns))  # faster than nonzero in two dimensions
    one, other = rows[first], columns[second]
    a, b = sides.take(one, axis=1), sides.take(other, axis=1)
    shared = np.maximum(np.minimum(a[2], b[2]) - np.maximum(a[0], b[0]), 0)
    shared *= np.maximum(np.minimum(a[3], b[3]) - np.maximum(a[1], b[1]), 0)
    with np.errstate(invalid="ignore", divide="ignore"):  # two boxes without area: NaN, which is not above `iou`
        over = shared / (areas[one] + areas[other] - shared) > iou
    return first[over], second[over]


@cache
def _later() -> np.ndarray:
    """Return (_BLOCK, _BLOCK) bool: the pairs with the second box after the first."""
    later = np.triu(np.ones((_BLOCK, _BLOCK), bool), 1)
    later.setflags(write=False)
    return later
