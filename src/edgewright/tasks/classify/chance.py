"""Check whether a classifier is at chance.

There are n labeled images, C classes and k right answers. The model is at chance if guessing explains k and a weak
model does not: P(X >= k) > 5% for X ~ Binomial(n, 1/C), and P(X <= k) < 5% for X ~ Binomial(n, u). Here u = 1/C + (1 -
1/C) / 4, a quarter of the way from chance to perfect. With few images, there is no verdict. The model is also at chance
if all images get one class and at least `OTHERS` of them have another label.
"""

from __future__ import annotations

import numpy as np

SIGNIFICANCE = 0.05
"""Significance level of both tests."""
USEFUL = 0.25
"""A weak but useful model is this far from chance (0) to perfect (1)."""
OTHERS = 8
"""Minimum number of images with another label than the one class that all images get."""
_CAUSES = (
    "Likely causes: the classes of the data set are in another order than the model's, preprocessing differs from "
    "training, or the weights are not trained."
)


def of_answers(answers: np.ndarray, labels: np.ndarray, classes: int, right: int) -> str | None:
    """Return why a classifier with these answers is at chance; None if it is not."""
    images = len(labels)
    if classes < 2 or not images:
        return None
    others = int((labels != answers[0]).sum())
    if others >= OTHERS and bool((answers == answers[0]).all()):
        return (
            f"The reference gives all {images} images one class, index {answers[0]}, and {others} of them have another "
            f"label. {_CAUSES}"
        )
    if not _guesses(right, images, classes):
        return None
    return (
        f"The reference gets {right} of {images} images right (top-1 {100 * right / images:.1f}%), and guessing among "
        f"{classes} classes gets {100 / classes:.2g}%. {_CAUSES}"
    )


def _guesses(right: int, images: int, classes: int) -> bool:
    from scipy.stats import binom

    chance = 1 / classes
    useful = chance + USEFUL * (1 - chance)
    return bool(binom.sf(right - 1, images, chance) > SIGNIFICANCE and binom.cdf(right, images, useful) < SIGNIFICANCE)
