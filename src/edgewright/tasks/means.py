"""Scores that are means over images: tasks whose metric gives one number an image use them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from edgewright.core import statistics

from .scores import Accuracy, Delta, Interval, Paired, Scored, pack


def score(images: int, each: Mapping[str, np.ndarray], primary: str) -> Accuracy:
    """Return the mean of each score over images. `each`: for each name one number per image; empty without labels."""
    if not len(each[primary]):
        return Accuracy(images=images, primary=primary)
    scores = {}
    for name, values in each.items():
        known = values[np.isfinite(values)]
        if len(known):
            mean = statistics.mean_difference(known, np.zeros(len(known)), 0.975)
            certain = np.isfinite(mean.low)
            scores[name] = Scored(
                value=mean.value, interval=Interval(low=mean.low, high=mean.high) if certain else None
            )
    contributions = pack(each[primary]) if np.isfinite(each[primary]).all() else None
    return Accuracy(images=images, scores=scores, primary=primary, contributions=contributions)


def compared(accuracy: Accuracy, ours: np.ndarray, theirs: np.ndarray, paired: Paired, lower: bool = False) -> Accuracy:
    """Return `accuracy` with the paired difference of its primary score to the reference's numbers `theirs`.

    `lower`: lower scores are better, so an increase is the loss.
    """
    if accuracy.score is None:
        return accuracy
    value, low, high = statistics.mean_difference(ours, theirs, paired.confidence)
    verdict = statistics.verdict(*((-high, -low) if lower else (low, high)), paired.margin)
    delta = Delta(value=value, low=low, high=high, verdict=verdict, margin=paired.margin, confidence=paired.confidence)
    own = msgspec.structs.replace(accuracy.scores[accuracy.primary], delta=delta)
    return msgspec.structs.replace(accuracy, scores={**accuracy.scores, accuracy.primary: own})
