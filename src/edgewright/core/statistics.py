"""The statistics of the measurements: pure functions of arrays, each with the source of its method.

Latencies are in any one unit; percentiles are fractions (0.9); accuracies are fractions here, points in the report.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Verdict = Literal["not_worse", "worse", "undecided"]
"""Of a paired difference against a margin: proven not worse, proven worse, or too few images to tell."""

MAX_SQNR_DB = 150.0
"""What equal outputs get: about the resolution of float32; infinity has no JSON."""


class Estimate(NamedTuple):
    """A value with a confidence interval."""

    value: float
    low: float
    high: float


@functools.cache
def minimum_samples(q: float, confidence: float = 0.99) -> int:
    """The smallest sample count that supports the `q` percentile: 64, 130 and 662 for p90, p95 and p99 at 99 %.

    The rule of MLPerf LoadGen's early stopping: even with one sample beyond it set aside, chance alone puts so few of n
    samples past the percentile with a probability of at most 1 - confidence, P(Binomial(n, 1 - q) <= 1) <= 1 - c.
    Below the median the same holds mirrored.
    """
    from scipy.stats import binom

    tail = min(q, 1 - q)
    n = 2
    while binom.cdf(1, n, tail) > 1 - confidence:
        n += 1
    return n


def percentile(samples: Floats, q: float, confidence: float = 0.99) -> Estimate | None:
    """The `q` percentile with a distribution-free interval; None where the samples do not support it.

    The interval's ends are order statistics whose ranks come from the binomial distribution (Hahn & Meeker,
    "Statistical Intervals", 1991, section 5.2). It takes samples as independent; interleaved rounds keep drift out of
    comparisons.
    """
    from scipy.stats import binom

    n = len(samples)
    if n < minimum_samples(q, confidence):
        return None
    ordered = np.sort(samples)
    tail = (1 - confidence) / 2
    low = int(binom.ppf(tail, n, q))  # a rank from 1; 0 would mean that there is no lower bound
    high = int(binom.ppf(1 - tail, n, q)) + 1
    value = float(np.quantile(ordered, q))
    return Estimate(value, float(ordered[max(low, 1) - 1]), float(ordered[min(high, n) - 1]))


def ratio_of_medians(base: Sequence[Floats], other: Sequence[Floats], confidence: float = 0.95) -> Estimate | None:
    """How many times larger the median of `base` is than that of `other`, both measured in the same rounds.

    The interval comes from the rounds, in pairs, not from the samples, since samples next to each other in time are not
    independent (Kalibera & Jones, "Rigorous Benchmarking in Reasonable Time", 2013). None with fewer than three rounds.
    """
    pairs = [(float(np.median(a)), float(np.median(b))) for a, b in zip(base, other) if len(a) and len(b)]
    if len(pairs) < 3:
        return None
    value = float(np.median(np.concatenate(base)) / np.median(np.concatenate(other)))
    return ratio_of_rounds(value, [a for a, _ in pairs], [b for _, b in pairs], confidence)


def ratio_of_rounds(
    value: float, base: Sequence[float], other: Sequence[float], confidence: float = 0.95
) -> Estimate | None:
    """The ratio `value` with its interval, from the medians of `base` and `other` in the rounds both were measured in.

    None with fewer than three rounds.
    """
    logs = np.log([a / b for a, b in zip(base, other)])
    if len(logs) < 3:
        return None
    from scipy.stats import t

    # With a handful of rounds a bootstrap is too narrow; Student's t of the rounds' log-ratios is not.
    half = float(t.ppf(0.5 + confidence / 2, len(logs) - 1) * logs.std(ddof=1) / math.sqrt(len(logs)))
    return Estimate(value, value * math.exp(-half), value * math.exp(half))


def is_steady(samples: Floats, window: int = 10, tolerance: float = 0.03) -> bool:
    """Whether the last three windows of samples have medians within `tolerance` of each other (warm-up is over)."""
    if len(samples) < 3 * window:
        return False
    medians = np.median(samples[-3 * window :].reshape(3, window), axis=1)
    return bool(medians.max() - medians.min() <= tolerance * medians.min())


def proportion(right: NDArray[np.bool_], confidence: float = 0.95) -> Estimate:
    """A share with its Wilson score interval (E. B. Wilson, 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(int(right.sum()), len(right)).proportion_ci(confidence, method="wilson")
    return Estimate(float(right.mean()), float(interval.low), float(interval.high))


def paired_difference(
    right: NDArray[np.bool_], reference: NDArray[np.bool_], confidence: float = 0.95, seed: int = 0
) -> Estimate:
    """Share of `right` minus share of `reference` on the same images; each bound is one-sided at `confidence`.

    The wider of the paired bootstrap (Efron & Tibshirani, 1993) and Tango's score interval (Statistics in Medicine 17,
    1998): where few images differ the bootstrap knows of no others and is far too narrow (empty where none differ).
    """
    lost = int((~right & reference).sum())
    won = int((right & ~reference).sum())
    n = len(right)
    bootstrap = _bootstrap(won, lost, n, confidence, seed)
    score = _tango(won, lost, n, confidence)
    return Estimate((won - lost) / n, min(bootstrap[0], score[0]), max(bootstrap[1], score[1]))


def _bootstrap(won: int, lost: int, n: int, confidence: float, seed: int) -> tuple[float, float]:
    # A resample's mean depends only on how often it holds +1, 0 and -1: one multinomial draw a resample, exactly the
    # bootstrap's distribution, in milliseconds for any number of images.
    counts = np.random.default_rng(seed).multinomial(n, [won / n, lost / n, 1 - (won + lost) / n], size=9999)
    low, high = np.quantile((counts[:, 0] - counts[:, 1]) / n, [1 - confidence, confidence])
    return float(low), float(high)


def _tango(won: int, lost: int, n: int, confidence: float) -> tuple[float, float]:
    from scipy.optimize import brentq
    from scipy.stats import norm

    z = float(norm.ppf(confidence))

    def score(delta: float) -> float:
        b = -won - lost + (2 * n - won + lost) * delta
        c = -lost * delta * (1 - delta)
        share = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
        variance = max(n * (2 * share + delta * (1 - delta)), 1e-12)
        return float((won - lost - n * delta) / math.sqrt(variance))

    value, edge = (won - lost) / n, 1 - 1e-9
    low = brentq(lambda d: score(d) - z, -edge, value) if score(-edge) > z and value > -edge else -1.0
    high = brentq(lambda d: score(d) + z, value, edge) if score(edge) < -z and value < edge else 1.0
    return float(low), float(high)


def mean_difference(ours: NDArray[np.floating], theirs: NDArray[np.floating], confidence: float = 0.95) -> Estimate:
    """The mean of `ours` minus that of `theirs`, paired; each bound is one-sided at `confidence`, by Student's t.

    The bounds of fewer than two pairs are infinite.
    """
    from scipy.stats import t

    difference = ours.astype(np.float64) - theirs
    n = len(difference)
    if n < 2:
        return Estimate(float(difference.mean()) if n else math.nan, -math.inf, math.inf)
    value = float(difference.mean())
    half = float(t.ppf(confidence, n - 1) * difference.std(ddof=1) / n**0.5)
    return Estimate(value, value - half, value + half)


def verdict(low: float, high: float, margin: float) -> Verdict:
    """Non-inferiority: not worse than `margin` (a positive loss) if the whole interval says so, worse if none of it."""
    if low >= -margin:
        return "not_worse"
    return "worse" if high < -margin else "undecided"


def sqnr_db(outputs: NDArray[np.floating], reference: NDArray[np.floating]) -> float:
    """Signal-to-quantization-noise ratio of `outputs`: 10 log10(sum r^2 / sum (r - o)^2) dB, at most `MAX_SQNR_DB`."""
    signal = noise = 0.0
    for start in range(0, len(reference), 4096):  # blocks: float64 copies of everything would not fit beside a model
        r = reference[start : start + 4096].astype(np.float64)
        signal += float(np.square(r).sum())
        noise += float(np.square(r - outputs[start : start + 4096]).sum())
    if noise == 0 or signal == 0:
        return MAX_SQNR_DB if noise == 0 else -MAX_SQNR_DB
    return float(np.clip(10 * math.log10(signal / noise), -MAX_SQNR_DB, MAX_SQNR_DB))


def agreement(outputs: NDArray[np.floating], reference: NDArray[np.floating]) -> float:
    """Share of rows whose largest value stands at the same place."""
    return float((outputs.argmax(axis=1) == reference.argmax(axis=1)).mean())


def top_k(outputs: NDArray[np.floating], labels: NDArray[np.integer], k: int) -> NDArray[np.bool_]:
    """For each row, whether its label is among the `k` largest values; of equal ones the lower index goes first."""
    own = np.take_along_axis(outputs, labels[:, None], axis=1)
    earlier = np.arange(outputs.shape[1]) < labels[:, None]
    return np.asarray(((outputs > own) | ((outputs == own) & earlier)).sum(axis=1) < k)
