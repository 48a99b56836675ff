"""mAP of rotated boxes by COCO's rules, its paired difference to the reference, and the shift of scores and boxes.

Outputs are the rows of `RotatedBoxes.rows`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgewright.boxes import chance
from edgewright.boxes.confidence import Shift, confidence_shift
from edgewright.boxes.matching import IOUS, Boxes, Matches, best_pairs, groups, matches
from edgewright.boxes.paired import at, contributions, paired_difference, weighted_map
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

from .overlap import of_rows, polygon_rows, with_truth
from .spec import of

MAP = "obb_map"
SCORES = (Score(name=MAP, title="mAP"), Score(name="ap50", title="AP50"), Score(name="ap75", title="AP75"))
DEFAULT_BUDGET = "obb_map >= -1.0, confidence <= 0.02"
VOCABULARY = Vocabulary(
    models="detectors of rotated boxes",
    names="obbmap mapobb obbmap5095 rotatedmap rotatedboxmap orientedmap rboxmap dotamap",
    others=(("obbap50 obbmap50 rotatedmap50", "mAP 50-95", "mAP at IoU 0.5 alone is not a budget metric"),),
)
MARGIN = 0.02
"""A larger change of the mean score counts as "shifted"."""
SHIFT = (0.02, 0.1)
"""Accepted shifts of the boxes' mean score: a larger one is a warning, or an error."""
CLASSES, OFFSET, SCALE, ANGLE = (2.0, 10.0), (3.0, 10.0), (5.0, 15.0), (1.5, 3.0)
"""Accepted drifts: percent of boxes with another class, percent of a side by which centers moved in one direction,
percent of a side by which sizes changed, and the rotation in degrees."""
_ENOUGH, _LONG, _SAME = 10, 1.2, 0.3


def score(outputs: Boxes, items: Sequence[Item], spec: ModelSpec) -> Accuracy:
    """Return mAP and its parts on images with boxes. There is no score if `items` have no boxes.

    Raises `InvalidInput` if the images are annotated but contain no box.
    """
    if all(item.boxes is None for item in items):
        return Accuracy(images=len(items), primary=MAP)
    return _scored(_matches(outputs, items, spec), len(items))


def compare(
    outputs: Boxes, reference: Boxes, items: Sequence[Item], spec: ModelSpec, paired: Paired = PAIRED
) -> Accuracy:
    """Return the result of `score`, and the comparison with the reference: delta, agreement, confidence.

    Without labels there is no delta. The comparison uses the reference's boxes with at least the spec's score.
    """
    result = Accuracy(images=len(items), primary=MAP)
    if any(item.boxes is not None for item in items):
        ours, theirs = (_matches(rows, items, spec) for rows in (outputs, reference))
        result = _scored(ours, len(items))
        estimate = paired_difference(ours, theirs, len(items), paired.confidence, paired.seed)
        delta = Delta(
            value=estimate.value, low=estimate.low, high=estimate.high, margin=paired.margin,
            confidence=paired.confidence, verdict=statistics.verdict(estimate.low, estimate.high, paired.margin),
        )  # fmt: skip
        scores = result.scores | {MAP: msgspec.structs.replace(result.scores[MAP], delta=delta)}
        result = msgspec.structs.replace(result, scores=scores)
    moved = _moved(outputs, reference, spec)
    boxes = moved.matched + moved.lost
    kept = Confidence(
        matched=moved.matched, lost=moved.lost, before=moved.before, after=moved.after, shift=moved.shift,
        margin=MARGIN, verdict="kept" if abs(moved.shift) <= MARGIN else "shifted",
        classes=tuple(ClassConfidence(index=c.index, matched=c.matched, before=c.before, after=c.after)
                      for c in moved.classes),
    )  # fmt: skip
    agreement = 100 * moved.matched / boxes if boxes else None
    return msgspec.structs.replace(result, agreement=agreement, confidence=kept if moved.matched else None)


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


def drifts(answers: Boxes, reference: Boxes, spec: ModelSpec) -> list[Drift]:
    """Return how far the reference's boxes changed: class, center, size and angle, if there are enough of them.

    A box of the reference with at least the spec's score is compared with the box that has the best overlap, of any
    class.
    """
    own, other = _pairs(answers, reference, of(spec).score)
    if len(own) < _ENOUGH:
        return []
    changed = 100 * float((own[:, 6] != other[:, 6]).mean())
    side = np.sqrt(other[:, 3] * other[:, 4])
    apart = (own[:, 1:3] - other[:, 1:3]) / side[:, None]
    offset = 100 * float(np.hypot(*np.median(apart, axis=0)))
    ratio = float(np.median(np.sqrt(own[:, 3] * own[:, 4]) / side))
    found = [
        Drift("classes", f"{changed:.1f}% of the boxes have another class than in the reference", changed, CLASSES),
        Drift("offset", f"Boxes moved by {offset:.1f}% of their side", offset, OFFSET),
        Drift("scale", f"The sides of boxes changed by a factor of {ratio:.3f}", 100 * abs(math.log(ratio)), SCALE),
    ]
    long = np.maximum(other[:, 3], other[:, 4]) > _LONG * np.minimum(other[:, 3], other[:, 4])
    if long.sum() >= _ENOUGH:
        turn = np.degrees(own[long, 7] - other[long, 7])
        turn = float(np.median(np.abs((turn + 45) % 90 - 45)))  # a box is the same with its sides exchanged
        found.append(Drift("angle", f"Boxes are rotated by {turn:.1f}°", turn, ANGLE))
    return found


def chosen(outputs: Boxes, places: Sequence[int]) -> Boxes:
    """Return the boxes of only the images at `places`, renumbered in their order."""
    parts = [np.array(outputs[outputs[:, 0] == place]) for place in places]
    for number, part in enumerate(parts):
        part[:, 0] = number
    return np.concatenate(parts)


def _matches(outputs: Boxes, items: Sequence[Item], spec: ModelSpec) -> list[Matches]:
    d = of(spec)
    return matches(outputs, items, spec.classes, with_truth(d), d.most)


def _scored(found: list[Matches], images: int) -> Accuracy:
    once = np.ones((1, images), np.int64)
    half, three_quarters = (int(np.argmin(abs(IOUS - iou))) for iou in (0.5, 0.75))
    every = [found, at(found, half), at(found, three_quarters)]
    return Accuracy(
        images=images,
        scores={one.name: Scored(value=float(weighted_map(of_one, once)[0])) for one, of_one in zip(SCORES, every)},
        primary=MAP,
        contributions=pack(contributions(found, images)),
    )


def _moved(outputs: Boxes, reference: Boxes, spec: ModelSpec) -> Shift:
    d = of(spec)
    return confidence_shift(outputs, reference, spec.classes, d.score, likeness=of_rows(d))


def _pairs(answers: Boxes, reference: Boxes, floor: float) -> tuple[Boxes, Boxes]:
    """Return the rows of both that show the same object, with an IoU of at least `_SAME`, of any class."""
    own, other = (np.array(rows[rows[:, 5] >= least]) for rows, least in ((answers, floor / 2), (reference, floor)))
    classes = [rows[:, 6].copy() for rows in (own, other)]
    own[:, 6] = other[:, 6] = 0
    ours, pairs = dict(groups(own)), list[tuple[int, int]]()
    for key, rows in groups(other):
        if key in ours:
            mine = ours[key]
            found = best_pairs(other[rows], own[mine], _SAME, polygon_rows)
            pairs += [(int(mine[j]), int(rows[i])) for i, j in found]
    i, j = np.array(pairs, np.int64).reshape(-1, 2).T
    own[:, 6], other[:, 6] = classes
    return own[i], other[j]
