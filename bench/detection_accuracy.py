"""Accuracy of a detector, as a report holds it: mAP, its paired difference, and how the scores moved."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from edgewright.core import statistics
from edgewright.data.sets import Item

from . import detection
from .accuracy import pack_numbers
from .results import Accuracy, ClassConfidence, Confidence, Delta

SHIFT = 0.02
"""A mean score that moved by more is said to be shifted."""


def score(found: np.ndarray, items: Sequence[Item], classes: int) -> Accuracy:
    """mAP and its parts of the boxes `found` (M, 7; see `detection`) on images with boxes."""
    if all(item.boxes is None for item in items):
        return Accuracy(images=len(items))
    scored = detection.score(found, items, classes)
    return Accuracy(
        images=len(items), map=scored.map, ap50=scored.ap50, ap75=scored.ap75,
        map_small=scored.map_small, map_medium=scored.map_medium, map_large=scored.map_large,
        contributions=pack_numbers(detection.contributions(found, items, classes)),
    )  # fmt: skip


def compare(
    found: np.ndarray, reference: np.ndarray, items: Sequence[Item], classes: int, margin: float = 1.0,
    confidence: float = 0.95, seed: int = 0, floor: float = 0.25,
) -> Accuracy:  # fmt: skip
    """`score`, and what compares with the boxes of the reference on the same images.

    `margin` is the loss of mAP in points that the verdict is about, each bound of the delta is one-sided at
    `confidence`. Without labels there is no delta. Boxes of the reference with a score from `floor` on are compared.
    """
    result = score(found, items, classes)
    delta = None
    if result.map is not None:
        value, low, high = detection.paired_difference(found, reference, items, classes, confidence, seed)
        verdict = statistics.verdict(low, high, margin)
        delta = Delta(value=value, low=low, high=high, verdict=verdict, margin=margin, confidence=confidence)
    moved = detection.confidence_shift(found, reference, classes, floor)
    boxes = moved.matched + moved.lost
    kept = Confidence(
        matched=moved.matched, lost=moved.lost, before=moved.before, after=moved.after, shift=moved.shift,
        margin=SHIFT, verdict="kept" if abs(moved.shift) <= SHIFT else "shifted",
        classes=tuple(ClassConfidence(index=c.index, matched=c.matched, before=c.before, after=c.after)
                      for c in moved.classes),
    )  # fmt: skip
    agreement = 100 * moved.matched / boxes if boxes else None
    return msgspec.structs.replace(result, delta=delta, agreement=agreement, confidence=kept if moved.matched else None)
