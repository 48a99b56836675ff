"""Whether the reference knows its data at all. Where it does not, no figure of accuracy is evidence.

A classifier, of n labelled images, C classes and k right answers, is at chance where guessing explains k and a weak
model does not: P(X >= k) > 5 % for X ~ Binomial(n, 1/C), and P(X <= k) < 5 % for X ~ Binomial(n, u) with
u = 1/C + (1 - 1/C) / 4, a quarter of the way from chance to perfect. So few images give no verdict. It is at chance,
too, where all images get one class and at least `OTHERS` of them have another label.

A detector is at chance with an mAP (50-95) below one point on at least `BOXES` labelled boxes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgewright.data.sets import Item

from .accuracy import Outputs
from .budget import Budget
from .results import Accuracy, Finding

CODE = "reference-at-chance"
SIGNIFICANCE = 0.05
"""Of both tests of a classifier."""
USEFUL = 0.25
"""A weak but useful model is so far from chance (0) to perfect (1)."""
OTHERS = 8
"""So many images must have another label than the one class that all images get."""
POINTS, BOXES = 1.0, 20
"""mAP in points below which a detector is at chance, on so many boxes."""

_CAUSES = "preprocessing differs from training, or the weights are not trained"
_ADVICE = (
    "Accuracy figures of this report are no evidence. Look at some answers (`edgewright run`), and correct data, "
    "preprocessing or weights."
)


def at_chance(outputs: Outputs, items: Sequence[Item], accuracy: Accuracy | None, budget: Budget) -> Finding | None:
    """The finding that the reference with these `outputs` and this `accuracy` on `items` is at chance, else None.

    Unlabelled images give none. It is an "error" where the budget judges accuracy, else a "warning": latency and
    agreement with the reference need no labels.
    """
    if accuracy is None or accuracy.score is None:
        return None
    if accuracy.map is not None:
        boxes = sum(not box.crowd for item in items for box in item.boxes or ())
        count, text = boxes, of_boxes(accuracy.map, boxes)
    else:
        labels = np.array([-1 if item.label is None else item.label for item in items])
        rows = labels >= 0
        # The count of right answers is the accuracy's own, which has its own rule for ties.
        right = round((accuracy.top1 or 0.0) / 100 * accuracy.images)
        count, text = int(rows.sum()), of_answers(outputs.argmax(1)[rows], labels[rows], outputs.shape[1], right)
    if text is None:
        return None
    return Finding(
        level="error" if budget.judges_accuracy else "warning", code=CODE, text=f"{text} {_ADVICE}", count=count
    )


def of_answers(answers: np.ndarray, labels: np.ndarray, classes: int, right: int) -> str | None:
    """What is wrong where a classifier with `right` of these class indices right is at chance, and why; else None."""
    images = len(labels)
    if classes < 2 or not images:
        return None
    causes = f"Likely causes: the classes of the data set are in another order than the model's, {_CAUSES}."
    others = int((labels != answers[0]).sum())
    if others >= OTHERS and bool((answers == answers[0]).all()):
        return (
            f"The reference gives all {images} images one class, index {answers[0]}, and {others} of them have another "
            f"label. {causes}"
        )
    if not _guesses(right, images, classes):
        return None
    return (
        f"The reference gets {right} of {images} images right (top-1 {100 * right / images:.1f} %), and guessing among "
        f"{classes} classes gets {100 / classes:.2g} %. {causes}"
    )


def of_boxes(points: float, boxes: int) -> str | None:
    """What is wrong where a detector of this mAP on so many labelled boxes is at chance, and why; else None."""
    if points >= POINTS or boxes < BOXES:
        return None
    return (
        f"The boxes of the reference hardly match the {boxes} labelled ones (mAP {points:.2f} %; chance is about 0). "
        "Likely causes: the classes of the data set are in another order than the model's, its boxes are wrong, "
        f"{_CAUSES}."
    )


def _guesses(right: int, images: int, classes: int) -> bool:
    from scipy.stats import binom

    chance = 1 / classes
    useful = chance + USEFUL * (1 - chance)
    return bool(binom.sf(right - 1, images, chance) > SIGNIFICANCE and binom.cdf(right, images, useful) < SIGNIFICANCE)
