"""The number of images that would confirm a variant within a budget: a power calculation from the observations."""

from __future__ import annotations

import math

import numpy as np

from edgewright.tasks.scores import Accuracy, unpack

from .budget import Budget, Limit, bounds, is_proven, judges

CONFIDENCE_Z, POWER_Z = 1.645, 0.842
"""Quantiles of the normal distribution: one-sided 95% confidence, and 80% power."""
MOST = 10_000_000
"""Larger numbers of images are not practical, so they are not reported."""


def images_to_decide(accuracy: Accuracy | None, reference: Accuracy | None, budget: Budget) -> int | None:
    """Return the total number of images, rounded up to two digits, that would confirm each term on a score.

    The probability is 80% if the difference and its spread are as observed (Connett, Smith & McHugh, "Sample size and
    power for pair-matched case-control studies", 1987). None if no number is enough: the value is at the limit or has
    no interval.
    """
    if accuracy is None:
        return None
    open_terms = [limit for limit in budget.limits if judges(limit, accuracy) and not is_proven(accuracy, limit)]
    most = 0.0
    for limit in open_terms:
        count = _images(accuracy, reference, limit)
        if count is None or count > MOST:
            return None
        most = max(most, count)
    return _round_up(max(most, accuracy.images + 1)) if open_terms else None


def _images(accuracy: Accuracy, reference: Accuracy | None, limit: Limit) -> float | None:
    found = bounds(accuracy, limit)
    if found is None or not accuracy.images:
        return None
    distance = found.value - limit.value if limit.at_least else limit.value - found.value
    half = found.value - found.low if limit.at_least else found.high - found.value
    if distance <= 1e-9 or not math.isfinite(half):
        return None
    discordant = None if limit.absolute or not limit.compares else _discordance(accuracy, reference)
    if discordant is None:  # from the width of the interval, which is proportional to 1 / sqrt(images)
        spread, least = half * math.sqrt(accuracy.images) / CONFIDENCE_Z, 0.0
    else:  # with equal answers, the bound is still z^2 / (n + z^2) away
        spread, least = discordant, CONFIDENCE_Z**2 * max(100 / distance - 1, 0.0)
    return max(least, ((CONFIDENCE_Z + POWER_Z) * spread / distance) ** 2)


def _discordance(accuracy: Accuracy, reference: Accuracy | None) -> float | None:
    """Return the standard deviation of the difference per image, in points.

    None for scores that are not right or wrong (0 or 100) for each image. Half an image is added to each side, because
    few differing images do not show that others are equal.
    """
    if accuracy.contributions is None or reference is None or reference.contributions is None:
        return None
    ours, theirs = unpack(accuracy.contributions), unpack(reference.contributions)
    if len(ours) != len(theirs) or not np.isin(np.concatenate([ours, theirs]), (0.0, 100.0)).all():
        return None
    won, lost = ((ours > theirs).sum() + 0.5) / len(ours), ((ours < theirs).sum() + 0.5) / len(ours)
    return float(100 * math.sqrt(max(won + lost - (won - lost) ** 2, 0.0)))


def _round_up(number: float) -> int:
    unit: int = 10 ** max(len(str(math.ceil(number))) - 2, 0)
    return unit * math.ceil(number / unit)
