"""Changes of the objects of a reference that mAP can hide: their classes, the outline and the position of masks."""

from __future__ import annotations

import numpy as np

from edgewright.boxes.matching import best_pairs
from edgewright.core.spec import ModelSpec
from edgewright.data import runs
from edgewright.tasks.scores import Drift
from edgewright.vision.preprocess import placement

from . import overlaps
from .records import Records
from .spec import of

IOU = 0.5
CLASSES = (0.03, 0.15)
"""Accepted share of matched objects whose class changed."""
BOUNDARY = (0.15, 0.35)
"""Accepted mean loss of boundary IoU."""
OFFSET = (0.5, 1.0)
"""Accepted mean movement of masks in their boxes, in input pixels."""
FEW = 5
"""With fewer matched objects, nothing can be said."""


def found(answers: Records, reference: Records, spec: ModelSpec) -> list[Drift]:
    """Return the drifts of `answers` from `reference`, whose objects with at least the spec's score count."""
    pairs = _pairs(answers, reference, of(spec).score)
    if len(pairs) < FEW:
        return []
    changed = float(np.mean([answers.boxes[i, 6] != reference.boxes[j, 6] for i, j in pairs]))
    lost = 1 - float(overlaps.between(answers, reference, pairs).mean())
    shift = np.mean([_shift(answers, reference, i, j, spec) for i, j in pairs], axis=0)
    apart = float(np.hypot(*shift))
    return [
        Drift("classes", f"{changed:.1%} of {len(pairs)} objects have another class", changed, CLASSES),
        Drift("boundary", f"the outlines of masks have a mean boundary IoU of {1 - lost:.3f}", lost, BOUNDARY),
        Drift("offset", f"masks moved by {shift[0]:+.2f}, {shift[1]:+.2f} input pixels on average", apart, OFFSET),
    ]


def _pairs(answers: Records, reference: Records, least: float) -> list[tuple[int, int]]:
    """Return (object of `answers`, object of `reference`) of matched boxes, whatever their class."""
    pairs = []
    kept = np.flatnonzero(reference.boxes[:, 5] >= least)
    for image in np.unique(reference.boxes[kept, 0]):
        theirs = kept[reference.boxes[kept, 0] == image]
        ours = np.flatnonzero((answers.boxes[:, 0] == image) & (answers.boxes[:, 5] >= least))
        matched = best_pairs(answers.boxes[ours, :7], reference.boxes[theirs, :7], IOU)
        pairs += [(int(ours[i]), int(theirs[j])) for i, j in matched]
    return pairs


def _shift(answers: Records, reference: Records, i: int, j: int, spec: ModelSpec) -> np.ndarray:
    """Return how far the center of a mask moved, (x, y) in input pixels. Zero if one is empty."""
    height, width = reference.sizes[j]
    ours, theirs = (_center(records.rle(k)) for records, k in ((answers, i), (reference, j)))
    if ours is None or theirs is None:
        return np.zeros(2)
    place = placement((width, height), spec.preprocess, spec.input)
    return np.asarray((ours - theirs) * (place.scale_x, place.scale_y))


def _center(rle: runs.Rle) -> np.ndarray | None:
    """Return the mean x and y of the pixels of a mask."""
    rows, columns = np.nonzero(runs.bits(rle))
    return np.array([columns.mean(), rows.mean()]) if len(rows) else None
