"""How far outputs are from the float model's: SQNR, cosine and largest difference of each output.

SQNR is the signal-to-quantization-noise ratio, 10 log10(sum r^2 / sum (r - o)^2) dB over the values of one output for
one sample. A sample counts with its worst output, so that no output hides another. The float model is the reference, so
the scores have no difference to it. Integers and booleans count by the share of values that differ: as its inverse.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgewright.core import statistics
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.core.statistics import Estimate
from edgewright.data.items import Item
from edgewright.tasks.scores import (
    PAIRED,
    Accuracy,
    AtChance,
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

from .loss import errors
from .outputs import is_float, parts

SQNR, COSINE, LARGEST = "sqnr", "cosine", "largest_difference"
SCORES = (
    Score(name=SQNR, title="SQNR", unit="dB"),
    Score(name=COSINE, title="cosine", unit="of 1"),
    Score(name=LARGEST, title="largest difference", unit="of the largest value", better="lower"),
)
DEFAULT_BUDGET = "sqnr >= 20 dB, cosine >= 0.99"
VOCABULARY = Vocabulary(models="models of any outputs (task tensors)")
HIGHEST = 100.0
"""SQNR of equal outputs, in dB."""
ALIKE = 20.0
"""SQNR in dB above which two answers to a sample count as the same, in the audit."""
SCALE = (0.02, 0.1)
"""Accepted deviations of an output's scale from 1: a larger one is a warning, or an error."""


def score(outputs: np.ndarray, items: Sequence[Item], spec: ModelSpec) -> Accuracy:
    """Return no score, because only the comparison with a reference has one."""
    return Accuracy(images=len(outputs), primary=SQNR)


def compare(
    outputs: np.ndarray, reference: np.ndarray, items: Sequence[Item], spec: ModelSpec, paired: Paired = PAIRED
) -> Accuracy:
    """Return the scores against the reference: SQNR (the mean over samples of the worst output), cosine (the lowest of
    an output and sample), the largest difference, and the SQNR of each output.

    Raises `InvalidInput` if the two are not outputs for the same samples.
    """
    if outputs.shape != reference.shape:
        raise InvalidInput(
            f"Outputs of shape {outputs.shape} cannot be compared with the reference's {reference.shape}.",
            "Both must be (samples, values) for the same samples and outputs.",
            "Evaluate both on one set of samples.",
        )
    each = decibels(outputs, reference, spec)
    worst = each.min(axis=0)
    value, half = float(worst.mean()), _half(worst)
    found = {SQNR: Scored(value=value, interval=Interval(low=value - half, high=value + half))}
    cosines, gaps = _cosines(outputs, reference, spec), _gaps(outputs, reference, spec)
    found[COSINE] = Scored(value=min([1.0, *cosines]))
    found[LARGEST] = Scored(value=max(gaps))
    if len(each) > 1:
        for name, row in zip(spec.outputs, each):
            found[f"{SQNR} {name}"] = Scored(value=float(row.mean()))
    return Accuracy(
        images=len(outputs), scores=found, primary=SQNR, sqnr_db=value,
        contributions=pack(worst.astype(np.float32)),
    )  # fmt: skip


def decibels(outputs: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> NDArray[np.float64]:
    """Return the SQNR of each output and sample in dB, from -`HIGHEST` to `HIGHEST`; (outputs, samples)."""
    rows = []
    for a, b, exact in zip(parts(reference, spec), parts(outputs, spec), is_float(spec)):
        found = errors(a if exact else a.astype(np.int64), b if exact else b.astype(np.int64))
        rows.append(np.clip(-10 * np.log10(np.maximum(found, 1e-300)), -HIGHEST, HIGHEST))
    return np.array(rows)


def difference(ours: NDArray[np.floating], theirs: NDArray[np.floating], confidence: float = 0.95) -> Estimate:
    """Return the mean difference of the SQNR in dB, paired. Each bound is one-sided."""
    return statistics.mean_difference(ours, theirs, confidence)


def at_chance(outputs: np.ndarray, items: Sequence[Item], accuracy: Accuracy) -> AtChance | None:
    """Return that all samples give the same outputs, if they do; None otherwise."""
    if len(outputs) > 1 and not any(np.ptp(outputs[:, k : k + 4096], axis=0).any() for k in _starts(outputs)):
        return AtChance(f"The reference gives the same outputs for all {len(outputs)} samples.", len(outputs))
    return None


def likeness(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> Likeness:
    """Return the percentage of samples with an SQNR of at least 20 dB, and the mean SQNR."""
    worst = decibels(answers, reference, spec).min(axis=0)
    db = float(worst.mean())
    return Likeness(
        100 * float((worst >= ALIKE).mean()), "the samples", statistics.MAX_SQNR_DB if db >= HIGHEST else db
    )


def confidence(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> Moved | None:
    """Return None, because arrays have no score."""
    return None


def drifts(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> list[Drift]:
    """Return how much the scale of the most changed output differs from 1: its projection on the reference."""
    scales = []
    for name, a, b, exact in zip(spec.outputs, parts(reference, spec), parts(answers, spec), is_float(spec)):
        energy = float(np.square(a, dtype=np.float64).sum())
        if exact and energy > 0:
            scales.append((float((a.astype(np.float64) * b).sum()) / energy, name))
    if not scales:
        return []
    scale, name = max(scales, key=lambda one: abs(one[0] - 1))
    text = f"The output '{name}' has {scale:.3f} times the scale of the reference"
    return [Drift("scale", text, abs(scale - 1), SCALE)]


def chosen(outputs: np.ndarray, places: Sequence[int]) -> np.ndarray:
    """Return the rows of only the samples at `places`, in their order."""
    return np.array(outputs[list(places)])


def _half(worst: NDArray[np.float64]) -> float:
    """Return half the width of the 95% interval of the mean, by Student's t; infinite for one sample."""
    if len(worst) < 2:
        return float("inf")
    from scipy.stats import t

    return float(t.ppf(0.975, len(worst) - 1) * worst.std(ddof=1) / len(worst) ** 0.5)


def _cosines(outputs: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> list[float]:
    """Return the mean cosine over samples of each output of floating-point numbers."""
    found = []
    for a, b, exact in zip(parts(reference, spec), parts(outputs, spec), is_float(spec)):
        if not exact:
            continue
        x, y = a.astype(np.float64), b.astype(np.float64)
        norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
        equal = (x == y).all(axis=1).astype(np.float64)
        found.append(float(np.where(norms > 0, (x * y).sum(1) / np.maximum(norms, 1e-300), equal).mean()))
    return found


def _gaps(outputs: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> list[float]:
    """Return the largest difference of each output, relative to its largest value."""
    pairs = zip(parts(reference, spec), parts(outputs, spec))
    return [float(np.abs(a - b).max()) / max(float(np.abs(a).max()), 1e-12) for a, b in pairs]


def _starts(outputs: np.ndarray) -> range:
    return range(0, outputs.shape[1], 4096)
