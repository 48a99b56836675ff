"""The shift of the scores of matched boxes between two detectors."""

from __future__ import annotations

import msgspec
import numpy as np

from .matching import Boxes, Likeness, best_pairs, groups


class ClassShift(msgspec.Struct, frozen=True, kw_only=True):
    """One class of a `Shift`: its index, how many boxes matched, their mean score in the reference and in `found`."""

    index: int
    matched: int
    before: float
    after: float


class Shift(msgspec.Struct, frozen=True, kw_only=True):
    """How the scores of the same boxes moved; see `confidence_shift`. The means are NaN where no box matched."""

    matched: int
    lost: int
    before: float
    after: float
    shift: float
    classes: tuple[ClassShift, ...]


def confidence_shift(
    found: Boxes, reference: Boxes, classes: int, floor: float = 0.25, iou: float = 0.5,
    likeness: Likeness | None = None,
) -> Shift:  # fmt: skip
    """How far the scores of `found` moved from those of the same boxes of `reference`.

    Each box of `reference` with a score of at least `floor` is matched with at most one box of `found` of the same
    image and class, of any score: greedily, the pair with the best IoU first (of equal ones the reference's better
    score), an IoU of at least `iou`. `likeness` (see `best_pairs`) can replace the IoU. `before` and `after` are the
    mean scores of the matched boxes, in the reference and in `found`; `shift` is after minus before. A box without a
    match is `lost` and in none of the means: a detector that finds nothing has no shift, but has lost everything. The
    ground truth plays no part.
    """
    reference = reference[reference[:, 5] >= floor]
    pairs, lost = list[tuple[int, float, float]](), 0
    theirs = dict(groups(found))
    for key, rows in groups(reference):
        own, other = reference[rows], found[theirs[key]] if key in theirs else found[:0]
        matched = best_pairs(own, other, iou, likeness)
        pairs += [(key[0], float(own[i, 5]), float(other[j, 5])) for i, j in matched]
        lost += len(own) - len(matched)
    label = np.array([pair[0] for pair in pairs], np.int64)
    before, after = (np.array([pair[k] for pair in pairs], np.float64) for k in (1, 2))
    per_class = tuple(
        ClassShift(index=k, matched=int(own.sum()), before=float(before[own].mean()), after=float(after[own].mean()))
        for k in range(classes)
        if (own := label == k).any()
    )
    means = (float(before.mean()), float(after.mean())) if pairs else (np.nan, np.nan)
    return Shift(
        matched=len(pairs),
        lost=lost,
        before=means[0],
        after=means[1],
        shift=means[1] - means[0],
        classes=per_class,
    )
