"""COCO's mAP of a detector, its paired difference to the reference, and the shift of the scores of its boxes.

Outputs are boxes as described in `matching`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgewright.boxes import chance
from edgewright.boxes.average_precision import average_precision
from edgewright.boxes.confidence import Shift, confidence_shift
from edgewright.boxes.matching import Boxes, matches
from edgewright.boxes.paired import contributions, paired_difference
from edgewright.core import statistics
from edgewright.core.spec import ModelSpec
from edgewright.core.statistics import Estimate
from edgewright.data.sets import Item
from edgewright.tasks.scores import (
    PAIRED,
    Accuracy,
    AtChance,
    ClassConfidence,
    Confidence,
    Delta,
    Drift,
    Likeness,
    Moved,
    Paired,
    Score,
    Scored,
    Vocabulary,
    pack,
)

from .spec import of

MAP = "map"
SCORES = (
    Score(name=MAP, title="mAP"), Score(name="ap50", title="AP50"), Score(name="ap75", title="AP75"),
    Score(name="map_small", title="mAP small"), Score(name="map_medium", title="mAP medium"),
    Score(name="map_large", title="mAP large"),
)  # fmt: skip
DEFAULT_BUDGET = "map >= -1.0, confidence <= 0.02"
VOCABULARY = Vocabulary(
    models="detectors",
    names="map map5095 map595 map05095 map50595 map05005095 map50to95 map5095b metricsmap5095b meanap boxmap bboxmap "
    "cocomap ap ap5095 ap595 ap05095 boxap meanaverageprecision",
    others=(
        ("map50 ap50 map05 map5 ap05 ap5 map50b metricsmap50b bboxmap50", "mAP 50-95",
         "mAP at IoU 0.5 alone is not a budget metric"),
        ("map75 ap75 map075 ap075", "mAP 50-95", "mAP at IoU 0.75 alone is not a budget metric"),
        ("maps mapm mapl mapsmall mapmedium maplarge aps apm apl", "boxes of all sizes",
         "mAP of one size of boxes is not a budget metric"),
    ),
)  # fmt: skip
MARGIN = 0.02
"""A larger change of the mean score counts as "shifted"."""
SHIFT = (0.02, 0.1)
"""Accepted shifts of the boxes' mean score: a larger one is a warning, or an error."""


def score(outputs: Boxes, items: Sequence[Item], spec: ModelSpec) -> Accuracy:
    """Return mAP and its parts on images with boxes. There is no score if `items` have no boxes.

    Raises `InvalidInput` if the images are annotated but contain no box.
    """
    if all(item.boxes is None for item in items):
        return Accuracy(images=len(items), primary=MAP)
    found = average_precision(outputs, items, spec.classes)
    every = (found.map, found.ap50, found.ap75, found.map_small, found.map_medium, found.map_large)
    return Accuracy(
        images=len(items),
        scores={one.name: Scored(value=value) for one, value in zip(SCORES, every) if value is not None},
        primary=MAP,
        contributions=pack(contributions(matches(outputs, items, spec.classes), len(items))),
    )


def compare(
    outputs: Boxes, reference: Boxes, items: Sequence[Item], spec: ModelSpec, paired: Paired = PAIRED
) -> Accuracy:
    """Return the result of `score`, and the comparison with the reference: delta, agreement, confidence.

    Without labels there is no delta. The comparison uses the reference's boxes with at least the spec's score.
    """
    result = score(outputs, items, spec)
    found = dict(result.scores)
    if MAP in found:
        ours, theirs = (matches(rows, items, spec.classes) for rows in (outputs, reference))
        estimate = paired_difference(ours, theirs, len(items), paired.confidence, paired.seed)
        delta = Delta(
            value=estimate.value, low=estimate.low, high=estimate.high, margin=paired.margin,
            confidence=paired.confidence, verdict=statistics.verdict(estimate.low, estimate.high, paired.margin),
        )  # fmt: skip
        found[MAP] = msgspec.structs.replace(found[MAP], delta=delta)
    moved = _moved(outputs, reference, spec)
    boxes = moved.matched + moved.lost
    kept = Confidence(
        matched=moved.matched, lost=moved.lost, before=moved.before, after=moved.after, shift=moved.shift,
        margin=MARGIN, verdict="kept" if abs(moved.shift) <= MARGIN else "shifted",
        classes=tuple(ClassConfidence(index=c.index, matched=c.matched, before=c.before, after=c.after)
                      for c in moved.classes),
    )  # fmt: skip
    agreement = 100 * moved.matched / boxes if boxes else None
    return msgspec.structs.replace(
        result, scores=found, agreement=agreement, confidence=kept if moved.matched else None
    )


def difference(ours: NDArray[np.floating], theirs: NDArray[np.floating], confidence: float = 0.95) -> Estimate:
    """Return the difference of mAP in points, from the contributions `theirs` to `ours`. Each bound is one-sided."""
    return statistics.mean_difference(ours, theirs, confidence)


def at_chance(outputs: Boxes, items: Sequence[Item], accuracy: Accuracy) -> AtChance | None:
    """Return why a detector with this accuracy on the boxes of `items` is at chance, or None; see `chance`."""
    boxes = sum(not box.crowd for item in items for box in item.boxes or ())
    why = chance.of_boxes(accuracy.score or 0.0, boxes)
    return AtChance(why, boxes) if why else None


def likeness(answers: Boxes, reference: Boxes, spec: ModelSpec) -> Likeness:
    """Return the percentage of the reference's boxes that are matched."""
    moved = _moved(answers, reference, spec)
    boxes = moved.matched + moved.lost
    return Likeness(100 * moved.matched / boxes if boxes else 100.0, "the boxes")


def confidence(answers: Boxes, reference: Boxes, spec: ModelSpec) -> Moved | None:
    """Return the shift of the mean score of matched boxes; None if there are none."""
    moved = _moved(answers, reference, spec)
    return Moved("matched boxes", moved.before, moved.after, SHIFT) if moved.matched else None


def drifts(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> list[Drift]:
    """Return no drifts, because mAP shows moved boxes and changed classes."""
    return []


def chosen(outputs: Boxes, places: Sequence[int]) -> Boxes:
    """Return the boxes of only the images at `places`, renumbered in their order."""
    parts = [np.array(outputs[outputs[:, 0] == place]) for place in places]
    for number, part in enumerate(parts):
        part[:, 0] = number
    return np.concatenate(parts)


def _moved(outputs: Boxes, reference: Boxes, spec: ModelSpec) -> Shift:
    return confidence_shift(outputs, reference, spec.classes, of(spec).score)
