"""Mean IoU of weighted images, the difference of two models on the same images, and the contribution of each image.

The IoU of a class is a ratio of two sums over images. A bootstrap weights the images of both sums alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgewright.core import statistics
from edgewright.core.statistics import Estimate

from .tally import Floats, Tally

RESAMPLES = 1000


def mean_iou(found: Tally) -> float:
    """Return the mean IoU in percent over the classes in the truth."""
    return float(weighted(found, np.ones((1, len(found.hits))))[0])


def weighted(found: Tally, weights: NDArray[np.floating]) -> Floats:
    """Return the mean IoU in percent (B,) of sets in which image i occurs weights[b, i] times.

    A class without a pixel in the truth of a set is not in its mean.
    """
    hits, union, there = (weights @ part for part in (found.hits, found.union, found.there))
    present = there > 0
    iou = np.where(present, hits / np.maximum(union, 1), 0.0)
    return np.asarray(100 * iou.sum(1) / np.maximum(present.sum(1), 1))


def difference(ours: Tally, theirs: Tally, confidence: float = 0.95, seed: int = 0) -> Estimate:
    """Return the mean IoU of `ours` minus that of `theirs` in points. Each bound is one-sided at `confidence`.

    The wider of the paired bootstrap over images (Efron & Tibshirani, 1993) and Student's t of the contributions. With
    few images the bootstrap alone is too narrow.
    """
    value = mean_iou(ours) - mean_iou(theirs)
    weights = _resamples(len(ours.hits), seed)
    low, high = np.quantile(weighted(ours, weights) - weighted(theirs, weights), [1 - confidence, confidence])
    each = statistics.mean_difference(contributions(ours), contributions(theirs), confidence)
    return Estimate(value, min(float(low), each.low, value), max(float(high), each.high, value))


def interval(found: Tally, confidence: float = 0.95, seed: int = 0) -> Estimate:
    """Return the mean IoU with its two-sided interval by the bootstrap over images."""
    value, outside = mean_iou(found), (1 - confidence) / 2
    low, high = np.quantile(weighted(found, _resamples(len(found.hits), seed)), [outside, 1 - outside])
    return Estimate(value, min(float(low), value), max(float(high), value))


def contributions(found: Tally) -> Floats:
    """Return the contribution of each image to the mean IoU, in points (I,). Their mean is the mean IoU.

    They are the jackknife's pseudo-values (Tukey, 1958) without bias correction, as for mAP: the mean IoU plus the
    influence of the image, minus the mean influence. A class that only one image has stays in the mean without it.
    """
    hits, union, there = (part.astype(np.float64) for part in (found.hits, found.union, found.there))
    present = there.sum(0) > 0
    hits, union, there = hits[:, present], union[:, present], there[:, present]
    whole = hits.sum(0) / np.maximum(union.sum(0), 1)
    left = union.sum(0) - union
    without = np.where(
        (there.sum(0) - there > 0) & (left > 0), (hits.sum(0) - hits) / np.maximum(left, 1), whole
    )  # fmt: skip
    influence = (len(hits) - 1) * (whole - without).mean(1)
    return np.asarray(100 * (whole.mean() + influence - influence.mean()))


def _resamples(images: int, seed: int) -> Floats:
    draws = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=RESAMPLES)
    return draws.astype(np.float64)
