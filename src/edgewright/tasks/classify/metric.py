"""Top-1 and top-5 of a classifier, and the paired comparison with its reference. Outputs are (images, classes)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgewright.core import statistics
from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.core.outputs import probabilities
from edgewright.core.spec import ModelSpec
from edgewright.core.statistics import Estimate
from edgewright.data.sets import Item
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

from . import chance
from .spec import of

Outputs = NDArray[np.float32]

TOP1, TOP5 = "top1", "top5"
SCORES = (Score(name=TOP1, title="top-1"), Score(name=TOP5, title="top-5"))
DEFAULT_BUDGET = "top1 >= -1.0"
VOCABULARY = Vocabulary(
    models="classifiers",
    names="top1 top1accuracy top1acc acc1 accuracy1 prec1 acctop1 accuracytop1",
    others=(("top5 acc5 top5accuracy accuracy5 top3 top10", "classifiers", "Only the first answer counts"),),
)
SHIFT = (0.05, 0.15)
"""Accepted shifts of the mean confidence: a larger one is a warning, or an error."""


def score(outputs: Outputs, items: Sequence[Item], spec: ModelSpec) -> Accuracy:
    """Return top-1 and top-5 on the labeled ones of `items`, without a reference. There is no score without labels.

    Raises `RuntimeFailed` for outputs that are not finite, and `InvalidInput` for labels without a class of the model.
    """
    require_finite(outputs)
    rows, labels = _labelled(outputs, items)
    if not len(labels):
        return Accuracy(images=len(outputs), primary=TOP1)
    right = statistics.top_k(outputs[rows], labels, 1)
    share = statistics.proportion(right)
    interval = Interval(low=share.low * 100, high=share.high * 100)
    found = {TOP1: Scored(value=share.value * 100, interval=interval)}
    if outputs.shape[1] > 5:
        found[TOP5] = Scored(value=float(statistics.top_k(outputs[rows], labels, 5).mean()) * 100)
    return Accuracy(
        images=len(labels), scores=found, primary=TOP1, contributions=pack(100.0 * right.astype(np.float32))
    )


def compare(
    outputs: Outputs, reference: Outputs, items: Sequence[Item], spec: ModelSpec, paired: Paired = PAIRED
) -> Accuracy:
    """Return the result of `score`, and the comparison with the reference: delta, agreement, SQNR.

    Without labels there is no delta. Raises `InvalidInput` if the two are not outputs for the same images and classes.
    """
    if outputs.shape != reference.shape:
        raise InvalidInput(
            f"Outputs of shape {outputs.shape} cannot be compared with the reference's {reference.shape}.",
            "Both must be (images, classes) for the same images and the same classes.",
            "Evaluate both on one image set; check `classes` of the model's spec.",
        )
    require_finite(reference)
    result = score(outputs, items, spec)
    rows, labels = _labelled(outputs, items)
    found = dict(result.scores)
    if len(labels):
        ours, theirs = (statistics.top_k(array[rows], labels, 1) for array in (outputs, reference))
        estimate = statistics.paired_difference(ours, theirs, paired.confidence, paired.seed)
        value, low, high = (part * 100 for part in estimate)
        verdict = statistics.verdict(low, high, paired.margin)
        delta = Delta(
            value=value, low=low, high=high, verdict=verdict, margin=paired.margin, confidence=paired.confidence
        )
        found[TOP1] = msgspec.structs.replace(found[TOP1], delta=delta)
    return msgspec.structs.replace(
        result,
        scores=found,
        agreement=statistics.agreement(outputs, reference) * 100,
        sqnr_db=statistics.sqnr_db(outputs, reference),
    )


def difference(ours: NDArray[np.floating], theirs: NDArray[np.floating], confidence: float = 0.95) -> Estimate:
    """Return the difference of top-1 in points, from the contributions `theirs` to `ours`. Each bound is one-sided."""
    found = statistics.paired_difference(ours > 0, theirs > 0, confidence)
    return Estimate(*(part * 100 for part in found))


def at_chance(outputs: Outputs, items: Sequence[Item], accuracy: Accuracy) -> AtChance | None:
    """Return why a model with these outputs and this accuracy only guesses, or None; see `chance`."""
    labels = np.array([-1 if item.label is None else item.label for item in items])
    rows = labels >= 0
    # The count of right answers is that of the accuracy, which has its own rule for ties.
    right = round((accuracy.score or 0.0) / 100 * accuracy.images)
    why = chance.of_answers(outputs.argmax(1)[rows], labels[rows], outputs.shape[1], right)
    return AtChance(why, int(rows.sum())) if why else None


def likeness(answers: Outputs, reference: Outputs, spec: ModelSpec) -> Likeness:
    """Return the percentage of images with the same answer, and the SQNR."""
    return Likeness(
        100 * statistics.agreement(answers, reference), "the images", statistics.sqnr_db(answers, reference)
    )


def confidence(answers: Outputs, reference: Outputs, spec: ModelSpec) -> Moved | None:
    """Return the shift of the mean score of the top class."""
    before, after = (
        float(probabilities(np.asarray(part), of(spec).scores).max(1).mean()) for part in (reference, answers)
    )
    return Moved("the top answer", before, after, SHIFT)


def drifts(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> list[Drift]:
    """Return no drifts, because the primary score shows every change of an answer."""
    return []


def chosen(outputs: Outputs, places: Sequence[int]) -> Outputs:
    """Return the outputs of only the images at `places`, in their order."""
    return np.array(outputs[list(places)])


def require_finite(outputs: Outputs) -> None:
    """Raise `RuntimeFailed` with the number of rows that contain a NaN or an infinity."""
    bad = sum(int((~np.isfinite(outputs[i : i + 4096]).all(axis=1)).sum()) for i in range(0, len(outputs), 4096))
    if bad:
        raise RuntimeFailed(
            f"The model's outputs are not finite for {bad} of {len(outputs)} images.",
            "NaN or infinity is not an answer.",
            "This variant is unusable; try another precision or calibration method.",
        )


def _labelled(outputs: Outputs, items: Sequence[Item]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows that have a label, and their labels."""
    given = [item.label for item in items]
    if len(given) != len(outputs):
        raise InvalidInput(
            f"{len(given)} labels for {len(outputs)} images.", "Each image needs one.", "Read both from one image set."
        )
    rows = np.array([row for row, label in enumerate(given) if label is not None], np.intp)
    known = np.array([label for label in given if label is not None], np.intp)
    if len(known) and (known.min() < 0 or known.max() >= outputs.shape[1]):
        raise InvalidInput(
            f"Label {known.max() if known.max() >= outputs.shape[1] else known.min()} is not a class of the model.",
            f"The model has {outputs.shape[1]} classes: labels are 0 to {outputs.shape[1] - 1}.",
            "Use the data set that the model was trained for, or map its labels to the model's classes.",
        )
    return rows, known
