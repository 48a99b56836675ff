"""Mean IoU of a segmentation model, with other scores of its pixels, and the paired difference to the reference.

Outputs are runs of classes (see `runs`). The IoU of a class is a ratio of pixels summed over all images, so it is no
mean over images. See `intervals`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgewright.core import statistics
from edgewright.core.spec import ModelSpec
from edgewright.core.statistics import Estimate
from edgewright.data import pairs
from edgewright.data.items import Item
from edgewright.tasks.scores import (
    PAIRED,
    Accuracy,
    AtChance,
    Delta,
    Drift,
    Interval,
    Likeness,
    Moved,
    Paired,
    Score,
    Scored,
    Vocabulary,
    pack,
)

from . import drift, intervals, tally
from .tally import Tally

MIOU = "miou"
SCORES = (
    Score(name=MIOU, title="mIoU"),
    Score(name="pixel_accuracy", title="pixel accuracy"),
    Score(name="boundary_iou", title="boundary IoU"),
    Score(name="iou_images", title="IoU per image"),
)
DEFAULT_BUDGET = f"{MIOU} >= -1.0"
VOCABULARY = Vocabulary(
    models="segmentation models",
    names="miou meaniou iou jaccard meanjaccard meanintersectionoverunion",
    others=(
        ("pixelaccuracy pixelacc pixacc pacc aacc", "the IoU of all classes",
         "Pixel accuracy hides classes with few pixels"),
        ("boundaryiou biou", "the IoU of all classes", "boundary IoU alone is not a budget metric"),
        ("iouimages", "the IoU of all classes", "a mean over images is not a budget metric"),
    ),
)  # fmt: skip
CHANCE_IMAGES = 8
"""The minimum number of images for the verdict that a model is at chance."""


def score(outputs: np.ndarray, items: Sequence[Item], spec: ModelSpec) -> Accuracy:
    """Return mIoU and the other scores on images with masks. There is no score without masks.

    Raises `InvalidInput` for a mask that does not fit its image or the model's classes.
    """
    if not any(item.pair for item in items):
        return Accuracy(images=len(items), primary=MIOU)
    return _scored(tally.tallies([outputs], items, spec)[0])


def compare(
    outputs: np.ndarray, reference: np.ndarray, items: Sequence[Item], spec: ModelSpec, paired: Paired = PAIRED
) -> Accuracy:
    """Return the result of `score`, and the comparison with the reference: delta, and the share of equal pixels."""
    agreement = likeness(outputs, reference, spec).percent
    if not any(item.pair for item in items):
        return Accuracy(images=len(items), primary=MIOU, agreement=agreement)
    ours, theirs = tally.tallies([outputs, reference], items, spec)
    result = _scored(ours)
    estimate = intervals.difference(ours, theirs, paired.confidence, paired.seed)
    delta = Delta(
        value=estimate.value, low=estimate.low, high=estimate.high, margin=paired.margin,
        confidence=paired.confidence, verdict=statistics.verdict(estimate.low, estimate.high, paired.margin),
    )  # fmt: skip
    found = dict(result.scores)
    if MIOU in found:
        found[MIOU] = msgspec.structs.replace(found[MIOU], delta=delta)
    return msgspec.structs.replace(result, scores=found, agreement=agreement)


def difference(ours: NDArray[np.floating], theirs: NDArray[np.floating], confidence: float = 0.95) -> Estimate:
    """Return the difference of mIoU in points, from the contributions `theirs` to `ours`. Each bound is one-sided."""
    return statistics.mean_difference(ours, theirs, confidence)


def at_chance(outputs: np.ndarray, items: Sequence[Item], accuracy: Accuracy) -> AtChance | None:
    """Return why a model is no better than one class for all pixels, or None."""
    labeled = [item for item in items if item.pair]
    if accuracy.score is None or len(labeled) < CHANCE_IMAGES:
        return None
    counts = np.zeros(pairs.IGNORE, np.int64)
    for item in labeled:
        truth = pairs.class_map(item)
        counts += np.bincount(truth[truth != pairs.IGNORE], minlength=pairs.IGNORE)
    present = np.flatnonzero(counts)
    constant = 100 * float(counts.max() / counts.sum()) / len(present)
    if len(present) < 2 or accuracy.score > constant:
        return None
    why = (
        f"The reference has a mean IoU of {accuracy.score:.2f}%. One class for all pixels of the {len(labeled)} images "
        f"reaches {constant:.2f}%. Likely causes: the ids of the masks are in another order than the model's classes "
        "([segment] ids), preprocessing differs from training, or the weights are not trained."
    )
    return AtChance(why, len(labeled))


def likeness(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> Likeness:
    """Return the percentage of pixels with the same class."""
    same = total = 0
    for ours, theirs in tally.both(answers, reference):
        same += int(np.count_nonzero(ours == theirs))
        total += theirs.size
    return Likeness(100 * same / max(total, 1), "the pixels")


def confidence(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> Moved | None:
    """Return None, because a pixel has a class and no score."""
    return None


def drifts(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> list[Drift]:
    """Return changed classes, changed outlines, and a shift of the regions; see `drift`."""
    return drift.drifts(list(tally.both(answers, reference)), spec)


def chosen(outputs: np.ndarray, places: Sequence[int]) -> np.ndarray:
    """Return the runs of only the images at `places`, renumbered in their order."""
    number = np.asarray(outputs[:, 0])
    parts = []
    for new, place in enumerate(places):
        start, end = np.searchsorted(number, [place, place + 1])
        part = np.array(outputs[start:end])
        part[:, 0] = new
        parts.append(part)
    return np.concatenate(parts) if parts else np.array(outputs[:0])


def _scored(found: Tally) -> Accuracy:
    if not found.there.any():
        return Accuracy(images=len(found.there), primary=MIOU)
    each = intervals.contributions(found)
    interval = intervals.interval(found)
    scores = {
        MIOU: Scored(value=intervals.mean_iou(found), interval=Interval(low=interval.low, high=interval.high)),
        "pixel_accuracy": Scored(value=100 * float(found.hits.sum() / found.there.sum())),
        "boundary_iou": Scored(value=_boundary(found)),
        "iou_images": Scored(value=per_image(found)),
    }
    return Accuracy(images=len(found.there), scores=scores, primary=MIOU, contributions=pack(each))


def _boundary(found: Tally) -> float:
    present = found.there.sum(0) > 0
    hits, union = found.edge_hits.sum(0)[present], found.edges.sum(0)[present]
    return 100 * float((hits / np.maximum(union, 1)).mean())


def per_image(found: Tally) -> float:
    """Return the mean over images of the IoU in percent: of the foreground for two classes, else of the classes in the
    image's mask. Images whose mask has none of these classes do not count."""
    counted = found.there > 0
    if counted.shape[1] == 2:
        counted[:, 0] = False
    iou = np.where(counted, found.hits / np.maximum(found.union, 1), 0.0)
    some = counted.any(axis=1)
    return 100 * float((iou.sum(1)[some] / counted.sum(1)[some]).mean()) if some.any() else 0.0
