"""The mean absolute error in grey levels. Outputs are (images, 3)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from edgewright.core import statistics
from edgewright.core.spec import ModelSpec
from edgewright.core.statistics import Estimate
from edgewright.data.sets import Item
from edgewright.tasks.scores import (
    PAIRED,
    Accuracy,
    AtChance,
    Delta,
    Drift,
    Likeness,
    Moved,
    Paired,
    Score,
    Scored,
    Vocabulary,
    pack,
)  # fmt: skip

from .spec import of

ERROR = "colour_error"
SCORES = (Score(name=ERROR, title="colour error", unit="levels", better="lower"),)
DEFAULT_BUDGET = f"{ERROR} <= +2.0"
VOCABULARY = Vocabulary(models="colour models", names="colourerror mae")


def score(outputs: np.ndarray, items: Sequence[Item], spec: ModelSpec) -> Accuracy:
    """The error on the images whose colour is known."""
    errors = _errors(outputs, items, spec)
    if not len(errors):
        return Accuracy(images=len(items), primary=ERROR)
    found = {ERROR: Scored(value=float(errors.mean()))}
    return Accuracy(images=len(items), scores=found, primary=ERROR, contributions=pack(errors))


def compare(
    outputs: np.ndarray, reference: np.ndarray, items: Sequence[Item], spec: ModelSpec, paired: Paired = PAIRED
) -> Accuracy:
    """`score`, with the paired difference to the reference."""
    result = score(outputs, items, spec)
    if result.score is not None:
        value, low, high = difference(_errors(outputs, items, spec), _errors(reference, items, spec), paired.confidence)
        # A larger error is the loss here.
        verdict = statistics.verdict(-high, -low, paired.margin)
        delta = Delta(value=value, low=low, high=high, verdict=verdict, margin=paired.margin)
        scores = {ERROR: msgspec.structs.replace(result.scores[ERROR], delta=delta)}
        result = msgspec.structs.replace(result, scores=scores)
    return msgspec.structs.replace(
        result, agreement=likeness(outputs, reference, spec).percent, sqnr_db=statistics.sqnr_db(outputs, reference)
    )


def difference(ours: np.ndarray, theirs: np.ndarray, confidence: float = 0.95) -> Estimate:
    """The mean change of the error, by Student's t over the images."""
    from scipy.stats import t

    change = np.asarray(ours, np.float64) - theirs
    half = float(t.ppf(confidence, len(change) - 1) * change.std(ddof=1) / len(change) ** 0.5)
    return Estimate(float(change.mean()), float(change.mean()) - half, float(change.mean()) + half)


def at_chance(outputs: np.ndarray, items: Sequence[Item], accuracy: Accuracy) -> AtChance | None:
    """A model that answers one colour for all images knows nothing."""
    if len(outputs) > 1 and float(np.ptp(outputs, axis=0).max()) < 1e-3:
        return AtChance("one colour for all images", len(outputs))
    return None


def likeness(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> Likeness:
    """How many images have the same colour within two levels, and the SQNR."""
    apart = np.abs(answers - reference).max(axis=1) * of(spec).levels
    return Likeness(100 * float((apart < 2).mean()), "the images", statistics.sqnr_db(answers, reference))


def confidence(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> Moved | None:
    """Colours have no score of their own."""
    return None


def drifts(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> list[Drift]:
    """The error shows every change."""
    return []


def chosen(outputs: np.ndarray, places: Sequence[int]) -> np.ndarray:
    """The rows of the images at `places`."""
    return np.array(outputs[list(places)])


def _errors(outputs: np.ndarray, items: Sequence[Item], spec: ModelSpec) -> np.ndarray:
    known = [row for row, item in enumerate(items) if item.truth is not None]
    truth = np.array([items[row].truth for row in known], np.float32).reshape(-1, 3)
    return np.abs(outputs[known] * of(spec).levels - truth).mean(axis=1).astype(np.float32)
