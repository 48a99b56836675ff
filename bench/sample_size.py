"""How many images would prove that a variant is inside a budget: a power calculation from what was observed."""

from __future__ import annotations

import math

import numpy as np

from edgewright.tasks.scores import Accuracy, unpack

from .budget import Budget, Limit, bounds, is_proven

CONFIDENCE_Z, POWER_Z = 1.645, 0.842
"""Of a normal distribution: one-sided 95 % confidence, and 80 % of the tries that show what is there."""
MOST = 10_000_000
"""More images are none that anyone would take."""


def images_to_decide(accuracy: Accuracy | None, reference: Accuracy | None, budget: Budget) -> int | None:
    """Images in all, rounded up to two digits, on which each term on a score would be proven, if the rest stays.

    With 80 % probability, where the difference and its spread are as observed (Connett, Smith & McHugh, "Sample size
    and power for pair-matched case-control studies", 1987). None where no number would: a value at the limit, or
    without an interval.
    """
    if accuracy is None:
        return None
    open_terms = [limit for limit in budget.limits if limit.compares and not is_proven(accuracy, limit)]
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
    discordant = None if limit.absolute else _discordance(accuracy, reference)
    if discordant is None:  # from the interval's width, which shrinks with the root of the images
        spread, least = half * math.sqrt(accuracy.images) / CONFIDENCE_Z, 0.0
    else:  # of equal answers too the bound is z^2 / (n + z^2) away
        spread, least = discordant, CONFIDENCE_Z**2 * max(100 / distance - 1, 0.0)
    return max(least, ((CONFIDENCE_Z + POWER_Z) * spread / distance) ** 2)


def _discordance(accuracy: Accuracy, reference: Accuracy | None) -> float | None:
    """Standard deviation in points of an image's difference, of answers that are right or wrong; None of others.

    Half an image is added to either side: that few images differ is no proof that none would.
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
