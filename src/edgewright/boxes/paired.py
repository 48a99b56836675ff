"""mAP of weighted images, the difference of two detectors on the same images, and the contribution of each image.

Matches do not depend on other images, so they are computed once. Precision and recall are computed again with the
weight of each image. With weights of one, the result is exactly the mAP of `average_precision`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgewright.core.statistics import Estimate

from .matching import Floats, Ints, Matches

RESAMPLES = 1000
_RECALLS = np.linspace(0.0, 1.0, 101)
_BLOCK = 4_000_000  # size of one array of the bootstrap: 32 MB
_MANY = 100  # images with objects of a class; above it, the precision without one image is linear enough


def paired_difference(
    ours: Sequence[Matches], theirs: Sequence[Matches], images: int, confidence: float = 0.95, seed: int = 0
) -> Estimate:
    """Return the mAP (IoU 0.50 to 0.95) of `ours` minus that of `theirs` in points, by a paired bootstrap over images.

    A resample draws as many images as there are, with replacement, the same ones for both. A class without an object in
    the resample is in neither mean. Each bound is one-sided at `confidence` (percentile bootstrap, Efron & Tibshirani,
    1993), and the interval contains the value. If every resample has the same difference, the interval is empty.
    """
    once = np.ones((1, images), np.int64)
    value = float((weighted_map(ours, once) - weighted_map(theirs, once))[0])
    rng = np.random.default_rng(seed)
    largest = max((len(one.image) for one in (*ours, *theirs)), default=0)
    block = max(1, _BLOCK // max(largest, images, 1))
    differences = list[Floats]()
    for start in range(0, RESAMPLES, block):
        size = min(block, RESAMPLES - start)
        weights = rng.multinomial(images, np.full(images, 1 / images), size=size)
        differences.append(weighted_map(ours, weights) - weighted_map(theirs, weights))
    low, high = np.quantile(np.concatenate(differences), [1 - confidence, confidence])
    return Estimate(value, min(float(low), value), max(float(high), value))


def contributions(found: Sequence[Matches], images: int) -> Floats:
    """Return the contribution of each image to the mAP of `found`, in points (I,). The mean is the mAP.

    The contributions are the jackknife's pseudo-values (Tukey, 1958) without bias correction: the mAP plus the
    influence of the image, minus the mean influence. The influence is I - 1 times the loss of mAP without the image. So
    two detectors are compared like two means of paired numbers. The variance is rather too large than too small (Efron
    & Stein, "The Jackknife Estimate of Variance", 1981). This matters for classes with few images, where a bootstrap
    gives too narrow intervals.
    """
    present = [one for one in found if one.objects.any()]
    total, counted, value = np.zeros(images), np.zeros(images), 0.0
    for one in present:
        whole, without = _without_each(one)
        left = one.objects < one.objects.sum()  # without its only image, a class is in no mean
        value += whole / len(present)
        total += np.where(left, without, 0.0)
        counted += left
    influences = (images - 1) * (value - total / np.maximum(counted, 1))
    return np.asarray(100 * (value + influences - influences.mean()))


def at(found: Sequence[Matches], iou: int) -> list[Matches]:
    """Return the matches at only one IoU, the threshold at place `iou` in `IOUS`."""
    return [one._replace(hit=one.hit[iou : iou + 1], ignored=one.ignored[iou : iou + 1]) for one in found]


def weighted_map(matches: Sequence[Matches], weights: Ints) -> Floats:
    """Return the mAP in percent (B,) of sets in which image i occurs weights[b, i] times; `weights` (B, I).

    Precision can only peak at a hit, so only hits are evaluated. COCOeval.accumulate gives the same value.
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
    return total / (len(_RECALLS) * len(one.hit))


def _without_each(one: Matches) -> tuple[float, Floats]:
    """Return the average precision (0 to 1, the mean over the IoUs), and that without each image (I,).

    For a class with many images, the first derivative gives the change without one image.
    """
    hits = np.flatnonzero(one.hit.any(axis=0))
    last = hits[-1] + 1 if len(hits) else 0  # later positions are beyond all recall
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
    """Return the derivative (I,) of the average precision (0 to 1, the mean over the IoUs) by the weight of each image.

    With weights w, the interpolated precision of a hit is that of the next peak: hits / count up to the peak. Hits,
    count and the number of objects are sums of weights. So the derivative by the weight of one detection is a sum over
    later peaks.
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
    return total / len(one.hit)


def _sums_from(values: Floats) -> Floats:
    """Return the sum from each position on, and a zero at the end."""
    return np.append(np.cumsum(values[::-1])[::-1], 0.0)


def _levels(recall: Floats) -> Ints:
    """Return how many of the 101 recall levels each recall reaches (like searchsorted from the right, but faster)."""
    k = (recall * 100).astype(np.int64)
    above = np.append(_RECALLS, np.inf)
    return k + (above[k] <= recall) + (above[k + 1] <= recall)
