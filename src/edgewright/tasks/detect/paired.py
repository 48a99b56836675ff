"""mAP of weighted images, and from it how two detectors differ on the same images and what each image contributes.

Matches do not depend on the other images: they are made once, and precision and recall counted again with each image's
weight. With weights of one this is exactly the mAP of `average_precision`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgewright.core.statistics import Estimate
from edgewright.data.sets import Item

from .matching import IOUS, Boxes, Floats, Ints, Matches, matches, require_objects

RESAMPLES = 1000
_RECALLS = np.linspace(0.0, 1.0, 101)
_BLOCK = 4_000_000  # numbers of one array of the bootstrap: 32 MB
_MANY = 100  # images with objects of a class; from there on its precision without one of them is linear enough


def paired_difference(
    found: Boxes,
    reference: Boxes,
    items: Sequence[Item],
    classes: int,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """The mAP (IoU 0.50 to 0.95) of `found` minus that of `reference` in points, with a paired bootstrap over images.

    A resample draws as many images as there are, with replacement, the same ones for both; a class without an object in
    it is left out of both means. Each bound is one-sided at `confidence` (the percentile bootstrap of Efron &
    Tibshirani, 1993), and the interval holds the value. Where every resample has the same difference it is empty.
    """
    require_objects(items)
    ours, theirs = matches(found, items, classes), matches(reference, items, classes)
    once = np.ones((1, len(items)), np.int64)
    value = float((weighted_map(ours, once) - weighted_map(theirs, once))[0])
    rng = np.random.default_rng(seed)
    largest = max((len(one.image) for one in (*ours, *theirs)), default=0)
    block = max(1, _BLOCK // max(largest, len(items), 1))
    differences = list[Floats]()
    for start in range(0, RESAMPLES, block):
        size = min(block, RESAMPLES - start)
        weights = rng.multinomial(len(items), np.full(len(items), 1 / len(items)), size=size)
        differences.append(weighted_map(ours, weights) - weighted_map(theirs, weights))
    low, high = np.quantile(np.concatenate(differences), [1 - confidence, confidence])
    return Estimate(value, min(float(low), value), max(float(high), value))


def contributions(found: Boxes, items: Sequence[Item], classes: int) -> Floats:
    """What each image contributes to the mAP of `found`: numbers in points (I,), whose mean is that mAP.

    A contribution is the mAP plus the image's influence, I - 1 times what leaving the image out takes from the mAP,
    less the mean of the influences: the jackknife's pseudo-values (Tukey, 1958) without their correction of the bias.
    So two detectors are compared on the same images as two means of paired numbers are. The variance that follows is
    too large rather than too small (Efron & Stein, "The Jackknife Estimate of Variance", 1981), which matters where a
    class has few images: there a bootstrap is too sure.
    """
    require_objects(items)
    present = [one for one in matches(found, items, classes) if one.objects.any()]
    total, counted, value = np.zeros(len(items)), np.zeros(len(items)), 0.0
    for one in present:
        whole, without = _without_each(one)
        left = one.objects < one.objects.sum()  # without its only image a class is in no mean
        value += whole / len(present)
        total += np.where(left, without, 0.0)
        counted += left
    influences = (len(items) - 1) * (value - total / np.maximum(counted, 1))
    return np.asarray(100 * (value + influences - influences.mean()))


def weighted_map(matches: Sequence[Matches], weights: Ints) -> Floats:
    """mAP in percent (B,) of sets in which image i occurs weights[b, i] times; `weights` (B, I).

    Precision can only peak at a hit, so it is looked at there alone: COCOeval.accumulate gives the same value.
    """
    total, counted = np.zeros(len(weights)), np.zeros(len(weights))
    for one in matches:
        objects = weights @ one.objects
        if objects.any():
            total += np.where(objects > 0, _weighted_ap(one, weights, np.maximum(objects, 1)), 0.0)
            counted += objects > 0
    return 100 * total / np.maximum(counted, 1)


def _weighted_ap(one: Matches, weights: Ints, objects: Ints) -> Floats:
    total = np.zeros(len(weights))
    seen = np.cumsum(weights[:, one.image], axis=1)
    for hit, ignored in zip(one.hit, one.ignored):
        at, left_out = np.flatnonzero(hit), np.flatnonzero(ignored)
        if not len(at):
            continue
        found = np.cumsum(weights[:, one.image[at]], axis=1)
        count = seen[:, at]
        if len(left_out):
            sums = np.cumsum(weights[:, one.image[left_out]], axis=1)
            count = count - np.pad(sums, ((0, 0), (1, 0)))[:, np.searchsorted(left_out, at)]
        precision = found / (count + np.spacing(1))
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        reached = _levels(found / objects[:, None])
        total += (best * np.diff(reached, axis=1, prepend=0)).sum(axis=1)
    return total / (len(_RECALLS) * len(IOUS))


def _without_each(one: Matches) -> tuple[float, Floats]:
    """The average precision (0 to 1, the mean over the IoUs), and that without each image (I,).

    A class with objects in many images changes little by one of them: by the first derivative.
    """
    hits = np.flatnonzero(one.hit.any(axis=0))
    last = hits[-1] + 1 if len(hits) else 0  # what comes later lies behind all recall
    used = np.union1d(one.image[:last], np.flatnonzero(one.objects))
    small = Matches(
        np.searchsorted(used, one.image[:last]), one.hit[:, :last], one.ignored[:, :last], one.objects[used]
    )  # fmt: skip
    every = np.ones((1, len(used)), np.int64)
    whole = float(_weighted_ap(small, every, every @ small.objects)[0])
    without = np.full(len(one.objects), whole)
    if np.count_nonzero(one.objects) > _MANY:
        without[used] -= _derivatives(small)
        return whole, without
    block = max(1, _BLOCK // max(last, len(used)))
    for start in range(0, len(used), block):
        rows = np.arange(start, min(start + block, len(used)))
        weights = np.ones((len(rows), len(used)), np.int64)
        weights[np.arange(len(rows)), rows] = 0
        without[used[rows]] = _weighted_ap(small, weights, np.maximum(weights @ small.objects, 1))
    return whole, without


def _derivatives(one: Matches) -> Floats:
    """Derivative (I,) of the average precision (0 to 1, the mean over the IoUs) by the weight of each image.

    With weights w the interpolated precision of a hit is that of the next peak, hits / count up to there; hits, count
    and the number of objects are sums of weights, so that the derivative by the weight of one detection is a sum over
    the peaks behind it.
    """
    total = np.zeros(len(one.objects))
    objects = float(one.objects.sum())
    for hit, ignored in zip(one.hit, one.ignored):
        at = np.flatnonzero(hit)
        if not len(at):
            continue
        count = np.cumsum(~ignored)[at]
        precision = np.arange(1, len(at) + 1) / count
        best = np.maximum.accumulate(precision[::-1])[::-1]
        peaks = np.flatnonzero(precision >= best)
        width = np.diff(peaks, prepend=-1) / objects  # recall over which the peak's precision is the interpolated one
        gain = _sums_from(width / count[peaks])
        cost = _sums_from(width / count[peaks] * precision[peaks])
        behind = np.searchsorted(at[peaks], np.arange(len(one.image)))
        each = np.where(hit, gain[behind], 0.0) - np.where(ignored, 0.0, cost[behind])
        each[at] += best / objects
        total += np.bincount(one.image, each, len(total)) - one.objects * (best.sum() / objects**2)
    return total / len(IOUS)


def _sums_from(values: Floats) -> Floats:
    """The sum from each position on, and a zero behind the last."""
    return np.append(np.cumsum(values[::-1])[::-1], 0.0)


def _levels(recall: Floats) -> Ints:
    """How many of the 101 recall levels each recall reaches (searchsorted from the right, several times faster)."""
    k = (recall * 100).astype(np.int64)
    above = np.append(_RECALLS, np.inf)
    return k + (above[k] <= recall) + (above[k + 1] <= recall)
