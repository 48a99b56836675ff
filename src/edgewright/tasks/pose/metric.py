"""COCO's mAP of keypoints by their similarity (OKS), its paired difference, and the points of a reference that stay.

Outputs are rows: image, x1, y1, x2, y2, score, class, then x, y and the score of each point.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgewright.boxes import chance
from edgewright.boxes.matching import Matches, matches
from edgewright.boxes.paired import at, contributions, paired_difference, weighted_map
from edgewright.core import statistics
from edgewright.core.spec import ModelSpec
from edgewright.core.statistics import Estimate
from edgewright.data.sets import Item
from edgewright.points import skeletons
from edgewright.points.distance import NEAR
from edgewright.tasks.scores import (
    PAIRED,
    Accuracy,
    AtChance,
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

from . import oks, pairs
from .spec import of

MAP = "pose_map"
SCORES = (
    Score(name=MAP, title="pose mAP"), Score(name="pose_ap50", title="pose AP50"),
    Score(name="pose_ap75", title="pose AP75"), Score(name="box_map", title="box mAP"),
)  # fmt: skip
DEFAULT_BUDGET = f"{MAP} >= -1.0, confidence <= 0.02"
VOCABULARY = Vocabulary(
    models="pose models",
    names="posemap oksmap oks keypointmap keypointsmap kptmap posemap5095 map5095p metricsmap5095p mapp keypointap "
    "oksap poseap",
    others=(("pck pckh", "pose mAP", "PCK is not a budget metric; points against the reference are agreement"),),
)
MARGIN = 0.02
"""A larger change of the mean score counts as "shifted"."""
SHIFT = (0.02, 0.1)
"""Accepted shifts of the objects' mean score: a larger one is a warning, or an error."""
POINT = (0.05, 0.15)
"""Accepted mean movement of one point, relative to the object's size."""
POINT_SCORE = (0.1, 0.3)
"""Accepted change of the mean score of one point."""
OFFSET = (0.01, 0.03)
"""Accepted common movement of all points, relative to the object's size."""


def score(outputs: np.ndarray, items: Sequence[Item], spec: ModelSpec) -> Accuracy:
    """Return mAP and its parts on images with keypoints. There is no score if `items` have no keypoints.

    Raises `InvalidInput` if the images are annotated but contain no object.
    """
    if not _labeled(items):
        return Accuracy(images=len(items), primary=MAP)
    found, once = _matches(outputs, items, spec), np.ones((1, len(items)), np.int64)
    values = {
        name: float(weighted_map(part, once)[0])
        for name, part in ((MAP, found), ("pose_ap50", at(found, 0)), ("pose_ap75", at(found, 5)))
    }
    if of(spec).single is None:
        values["box_map"] = float(weighted_map(matches(outputs[:, :7], items, spec.classes), once)[0])
    return Accuracy(
        images=len(items),
        scores={name: Scored(value=value) for name, value in values.items()},
        primary=MAP,
        contributions=pack(contributions(found, len(items))),
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
        ours, theirs = (_matches(rows, items, spec) for rows in (outputs, reference))
        estimate = paired_difference(ours, theirs, len(items), paired.confidence, paired.seed)
        delta = Delta(
            value=estimate.value, low=estimate.low, high=estimate.high, margin=paired.margin,
            confidence=paired.confidence, verdict=statistics.verdict(estimate.low, estimate.high, paired.margin),
        )  # fmt: skip
        scores[MAP] = msgspec.structs.replace(scores[MAP], delta=delta)
    kept = _confidence(outputs, reference, spec)
    return msgspec.structs.replace(
        result, scores=scores, agreement=likeness(outputs, reference, spec).percent, confidence=kept
    )


def difference(ours: NDArray[np.floating], theirs: NDArray[np.floating], confidence: float = 0.95) -> Estimate:
    """Return the difference of mAP in points, from the contributions `theirs` to `ours`. Each bound is one-sided."""
    return statistics.mean_difference(ours, theirs, confidence)


def at_chance(outputs: np.ndarray, items: Sequence[Item], accuracy: Accuracy) -> AtChance | None:
    """Return why a model with this accuracy on the objects of `items` is at chance, or None."""
    objects = sum(oks.counts(box) for item in items for box in item.boxes or ())
    if accuracy.score is None or accuracy.score >= chance.POINTS or objects < chance.BOXES:
        return None
    return AtChance(
        f"The keypoints of the reference hardly match the {objects} labeled objects (pose mAP {accuracy.score:.2f}%). "
        "Likely causes: the points of the data set are in another order than the model's, values or units are wrong, "
        "images are not crops of one object, or the weights are not trained.",
        objects,
    )


def likeness(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> Likeness:
    """Return PCK@0.05 against the reference: the percentage of its points that are within 5% of the object's size.

    Objects with at least the spec's score count, and of them the points with a score of at least 0.3. All points of a
    lost object are lost.
    """
    near, total = 0, 0
    ours = {j: i for i, j in pairs.matched(answers, reference, spec)}
    for j in np.flatnonzero(reference[:, 5] >= of(spec).score):
        apart, seen = pairs.moved(answers[ours[int(j)]] if int(j) in ours else reference[j], reference[j])
        total += int(seen.sum())
        near += int((apart[seen] <= NEAR).sum()) if int(j) in ours else 0
    return Likeness(100 * near / total if total else 100.0, "the points")


def confidence(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> Moved | None:
    """Return the shift of the mean score of matched objects; None if there are none."""
    found = _confidence(answers, reference, spec)
    return Moved("matched objects", found.before, found.after, SHIFT) if found is not None else None


def drifts(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> list[Drift]:
    """Return the movement and the change of score of the keypoint that changes most, and the common movement of all
    points, each as a mean over the matched objects."""
    d, floor = of(spec), of(spec).score
    both = [(answers[i], reference[j]) for i, j in pairs.matched(answers, reference, spec) if reference[j, 5] >= floor]
    if not both:
        return []
    apart, seen = (np.array(part) for part in zip(*(pairs.moved(a, b) for a, b in both)))
    count = np.maximum(seen.sum(axis=0), 1)
    mean = np.where(seen, np.minimum(apart, 1.0), 0.0).sum(axis=0) / count
    scores = np.array([(a[9::3] - b[9::3]) for a, b in both], np.float64)
    change = np.abs(np.where(seen, scores, 0.0).sum(axis=0)) / count
    names = skeletons.of(d.points, d.names).names or tuple(f"point {k}" for k in range(d.points))
    far, faded = int(mean.argmax()), int(change.argmax())
    shift = pairs.offset(both)
    return [
        Drift("points", f"The keypoint that moves most, {names[far]}, is on average {100 * mean[far]:.1f}% of the "
              "object's size from the reference's", float(mean[far]), POINT),
        Drift("points", f"The score of the keypoint that changes most, {names[faded]}, changes on average by "
              f"{change[faded]:.3f}", float(change[faded]), POINT_SCORE),
        Drift("offset", f"All keypoints together move by {100 * shift:.1f}% of the object's size", shift, OFFSET),
    ]  # fmt: skip


def chosen(outputs: np.ndarray, places: Sequence[int]) -> np.ndarray:
    """Return the rows of only the images at `places`, renumbered in their order."""
    parts = [np.array(outputs[outputs[:, 0] == place]) for place in places]
    for number, part in enumerate(parts):
        part[:, 0] = number
    return np.concatenate(parts)


def _labeled(items: Sequence[Item]) -> bool:
    return any(box.keypoints is not None for item in items for box in item.boxes or ())


def _matches(rows: np.ndarray, items: Sequence[Item], spec: ModelSpec) -> list[Matches]:
    d = of(spec)
    data = next((item.truth for item in items if item.truth is not None), ())
    overlap = oks.overlap(skeletons.sigmas(d.points, d.sigmas or data))
    return matches(rows, items, spec.classes, overlap, oks.MOST, oks.counts)


def _confidence(outputs: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> Confidence | None:
    floor = of(spec).score
    kept = [(i, j) for i, j in pairs.matched(outputs, reference, spec) if reference[j, 5] >= floor]
    if not kept:
        return None
    ours, theirs = (np.array(part) for part in zip(*kept))
    before, after = float(reference[theirs, 5].mean()), float(outputs[ours, 5].mean())
    return Confidence(
        matched=len(kept), lost=int((reference[:, 5] >= floor).sum()) - len(kept), before=before, after=after,
        shift=after - before, margin=MARGIN, verdict="kept" if abs(after - before) <= MARGIN else "shifted",
    )  # fmt: skip
