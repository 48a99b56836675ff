"""COCO's mAP of masks, its paired difference to the reference, and the shift of scores, classes and masks.

Outputs are rows of bytes as described in `records`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgewright.boxes import chance
from edgewright.boxes.average_precision import AveragePrecision, average_precision, evaluated
from edgewright.boxes.confidence import Shift, confidence_shift
from edgewright.boxes.matching import Matches, clean, matches, require_objects, sides
from edgewright.boxes.paired import contributions, paired_difference, weighted_map
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

from . import drift, overlaps, records
from .overlaps import Mask, Overlaps
from .records import Records
from .spec import of

MAP = "mask_map"
SCORES = (
    Score(name=MAP, title="mask mAP"), Score(name="mask_ap50", title="mask AP50"),
    Score(name="box_map", title="box mAP"), Score(name="boundary_map", title="boundary mAP"),
    Score(name="mask_map_small", title="mask mAP small"), Score(name="mask_map_medium", title="mask mAP medium"),
    Score(name="mask_map_large", title="mask mAP large"),
)  # fmt: skip
DEFAULT_BUDGET = f"{MAP} >= -1.0, confidence <= 0.02"
VOCABULARY = Vocabulary(
    models="models of instance masks",
    names="maskmap segmmap segmap instancemap mapmask map5095m metricsmap5095m maskap segmap5095 maskmap5095",
    others=(
        ("map50m metricsmap50m maskmap50 segmap50", "mask mAP 50-95",
         "mask mAP at IoU 0.5 alone is not a budget metric"),
        ("boundaryap boundaryiou", "mask mAP 50-95", "boundary mAP is reported, but it is not a budget metric"),
    ),
)  # fmt: skip
MARGIN = 0.02
"""A larger change of the mean score counts as "shifted"."""
SHIFT = (0.02, 0.1)
"""Accepted shifts of the objects' mean score: a larger one is a warning, or an error."""


def score(outputs: np.ndarray, items: Sequence[Item], spec: ModelSpec) -> Accuracy:
    """Return mAP of masks, boxes and boundaries on images with masks. There is no score if `items` have no objects.

    Raises `InvalidInput` if the images are annotated but contain no object.
    """
    if all(item.boxes is None for item in items):
        return Accuracy(images=len(items), primary=MAP)
    require_objects(items)
    found = records.read(outputs)
    labels = _labels(found, items)
    masks = _average_precision(found, items, labels, spec.classes)
    edges = matches(found.boxes, items, spec.classes, Overlaps(found, labels, boundary=True))
    every = (
        masks.map, masks.ap50, average_precision(found.boxes[:, :7], items, spec.classes).map,
        float(weighted_map(edges, np.ones((1, len(items)), np.int64))[0]),
        masks.map_small, masks.map_medium, masks.map_large,
    )  # fmt: skip
    return Accuracy(
        images=len(items),
        scores={one.name: Scored(value=value) for one, value in zip(SCORES, every) if value is not None},
        primary=MAP,
        contributions=pack(contributions(_matches(found, items, labels, spec), len(items))),
    )


def compare(
    outputs: np.ndarray, reference: np.ndarray, items: Sequence[Item], spec: ModelSpec, paired: Paired = PAIRED
) -> Accuracy:
    """Return the result of `score`, and the comparison with the reference: delta, agreement, confidence.

    Without labels there is no delta. The comparison uses the reference's objects with at least the spec's score.
    """
    result = score(outputs, items, spec)
    scores = dict(result.scores)
    if MAP in scores:
        both = []
        for rows in (outputs, reference):
            found = records.read(rows)
            both.append(_matches(found, items, _labels(found, items), spec))
        estimate = paired_difference(both[0], both[1], len(items), paired.confidence, paired.seed)
        delta = Delta(
            value=estimate.value, low=estimate.low, high=estimate.high, margin=paired.margin,
            confidence=paired.confidence, verdict=statistics.verdict(estimate.low, estimate.high, paired.margin),
        )  # fmt: skip
        scores[MAP] = msgspec.structs.replace(scores[MAP], delta=delta)
    moved = _moved(outputs, reference, spec)
    objects = moved.matched + moved.lost
    kept = Confidence(
        matched=moved.matched, lost=moved.lost, before=moved.before, after=moved.after, shift=moved.shift,
        margin=MARGIN, verdict="kept" if abs(moved.shift) <= MARGIN else "shifted",
        classes=tuple(ClassConfidence(index=c.index, matched=c.matched, before=c.before, after=c.after)
                      for c in moved.classes),
    )  # fmt: skip
    agreement = 100 * moved.matched / objects if objects else None
    return msgspec.structs.replace(
        result, scores=scores, agreement=agreement, confidence=kept if moved.matched else None
    )


def difference(ours: NDArray[np.floating], theirs: NDArray[np.floating], confidence: float = 0.95) -> Estimate:
    """Return the difference of mAP in points, from the contributions `theirs` to `ours`. Each bound is one-sided."""
    return statistics.mean_difference(ours, theirs, confidence)


def at_chance(outputs: np.ndarray, items: Sequence[Item], accuracy: Accuracy) -> AtChance | None:
    """Return why a model with this accuracy on the objects of `items` is at chance, or None."""
    objects = sum(not box.crowd for item in items for box in item.boxes or ())
    if accuracy.score is None or accuracy.score >= chance.POINTS or objects < chance.BOXES:
        return None
    return AtChance(
        f"The masks of the reference hardly match the {objects} labeled ones (mask mAP {accuracy.score:.2f}%; chance "
        "is about 0). Likely causes: the classes of the data set are in another order than the model's, its masks are "
        "wrong, preprocessing differs from training, or the weights are not trained.",
        objects,
    )


def likeness(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> Likeness:
    """Return the percentage of the reference's objects that are matched."""
    moved = _moved(answers, reference, spec)
    objects = moved.matched + moved.lost
    return Likeness(100 * moved.matched / objects if objects else 100.0, "the objects")


def confidence(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> Moved | None:
    """Return the shift of the mean score of matched objects; None if there are none."""
    moved = _moved(answers, reference, spec)
    return Moved("matched objects", moved.before, moved.after, SHIFT) if moved.matched else None


def drifts(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> list[Drift]:
    """Return the changes of classes, of outlines and of the position of masks, for the reference's objects."""
    return drift.found(records.read(answers), records.read(reference), spec)


def chosen(outputs: np.ndarray, places: Sequence[int]) -> np.ndarray:
    """Return the objects of only the images at `places`, renumbered in their order."""
    return records.chosen(outputs, places)


def _labels(found: Records, items: Sequence[Item]) -> dict[int, Mask]:
    sizes = dict(zip(found.boxes[:, 0].astype(int).tolist(), found.sizes))
    return overlaps.label_masks(items, sizes)


def _matches(found: Records, items: Sequence[Item], labels: dict[int, Mask], spec: ModelSpec) -> list[Matches]:
    return matches(found.boxes, items, spec.classes, Overlaps(found, labels))


def _average_precision(
    found: Records, items: Sequence[Item], labels: dict[int, Mask], classes: int
) -> AveragePrecision:
    truth: list[dict[str, Any]] = [
        {"image_id": k, "category_id": box.label, "segmentation": labels[id(box)], "area": box.area,
         "iscrowd": int(box.crowd)}
        for k, item in enumerate(items) for box in item.boxes or ()
    ]  # fmt: skip
    rows = clean(found.boxes)
    detections = [
        {"image_id": image, "category_id": label, "segmentation": found.coco(k), "area": overlaps.area(found.coco(k)),
         "bbox": box, "iscrowd": 0, "score": score}
        for k, ((image, label), box, score) in enumerate(
            zip(rows[:, [0, 6]].astype(int).tolist(), sides(rows).tolist(), rows[:, 5].tolist())
        )
    ]  # fmt: skip
    sizes = dict(zip(rows[:, 0].astype(int).tolist(), found.sizes))
    images = []
    for k, item in enumerate(items):
        height, width = (item.size[1], item.size[0]) if item.size else sizes.get(k, (1, 1))
        images.append({"id": k, "height": height, "width": width})
    return evaluated(detections, truth, images, classes, "segm")


def _moved(outputs: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> Shift:
    ours, theirs = (records.read(rows).boxes[:, :7] for rows in (outputs, reference))
    return confidence_shift(ours, theirs, spec.classes, of(spec).score)
