"""How far the boxes of two models differ on each image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .matching import Boxes, best_pairs, groups

IOU = 0.5


def disagreement(found: Boxes, reference: Boxes, images: int, floor: float) -> NDArray[np.float64]:
    """Return for each image the scores of unmatched boxes plus the score differences of matched boxes.

    Boxes with a score of at least `floor` count. A match has the same class and an IoU of at least 0.5.
    """
    gaps = np.zeros(images)
    ours, theirs = (dict(groups(rows)) for rows in (found, reference))
    for key in {*ours, *theirs}:
        own, other = found[ours.get(key, [])], reference[theirs.get(key, [])]
        pairs = best_pairs(own, other, IOU)
        gap = sum(abs(own[i, 5] - other[j, 5]) for i, j in pairs if max(own[i, 5], other[j, 5]) >= floor)
        alone = [np.delete(own[:, 5], [i for i, _ in pairs]), np.delete(other[:, 5], [j for _, j in pairs])]
        gaps[key[1]] += gap + sum(scores[scores >= floor].sum() for scores in alone)
    return gaps
