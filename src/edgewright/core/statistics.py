"""Statistics of measurements: pure functions of arrays, each with the source of its method.

Latencies have any one unit. Percentiles are fractions (0.9). Accuracies are fractions here, and points in the report.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Verdict = Literal["not_worse", "worse", "undecided"]
"""The verdict on a paired difference against a margin; `"undecided"` (inconclusive) if there are too few images."""

FEW = 8
"""The number of rounds below which their order says too little."""
MAX_SQNR_DB = 150.0
"""The SQNR in dB of equal outputs: about the resolution of float32. JSON has no infinity."""


class Estimate(NamedTuple):
    """A value with a confidence interval."""

    value: float
    low: float
    high: float


@functools.cache
def minimum_samples(q: float, confidence: float = 0.99) -> int:
    """The smallest sample count that supports the `q` percentile: 64, 130 and 662 for p90, p95 and p99 at 99%.

    The rule of MLPerf LoadGen's early stopping, with one sample beyond the percentile set aside: the smallest n with
    P(Binomial(n, 1 - q) <= 1) <= 1 - c. Below the median the same holds mirrored.
    """
    from scipy.stats import binom

    tail = min(q, 1 - q)
    n = 2
    while binom.cdf(1, n, tail) > 1 - confidence:
        n += 1
    return n


def percentile(rounds: Sequence[Floats], q: float, confidence: float = 0.99, spread: float = 0.0) -> Estimate | None:
    """The `q` percentile of samples in `rounds`, in the order of time. None if there are too few samples.

    The interval is Woodruff's ("Confidence Intervals for Medians and Other Position Measures", 1952). First the
    interval of the share of samples up to the percentile is computed from the rounds. The ends are the percentiles at
    the ends of that share. No distribution is assumed, and a machine that is slow for seconds makes the interval wide,
    however many samples there are. `spread`: a relative standard deviation that rounds cannot show, such as that
    between processes.
    """
    merged = np.concatenate(rounds)
    if len(merged) < minimum_samples(q, confidence):
        return None
    if len(rounds) < FEW:  # consecutive samples serve as rounds
        rounds = np.array_split(merged, min(2 * FEW, len(merged)))
    value = float(np.quantile(merged, q))
    half = _half_share([int((part <= value).sum()) for part in rounds], [len(part) for part in rounds], confidence)
    return _widened(Estimate(value, *_between(merged, q - half, q + half)), spread, confidence)


def ratio_of_rounds(
    base: Sequence[float], other: Sequence[float], confidence: float = 0.95, spread: float = 0.0
) -> Estimate | None:
    """How many times larger `base` is than `other`, by the medians of the rounds that both were measured in.

    Values at the same index are of the same round, in which both ran next to each other, so drift of the machine
    affects both. Returns the median of the rounds' ratios with the interval of `percentile`. With few rounds: their
    geometric mean with Student's t. None with fewer than three. `spread`: of the ratio, as in `percentile`. Needs only
    numpy.
    """
    logs = np.log([a / b for a, b in zip(base, other)])
    if len(logs) < 3:
        return None
    if len(logs) < FEW:
        half = _student(confidence, len(logs) - 1) * float(logs.std(ddof=1)) / math.sqrt(len(logs))
        found = (float(logs.mean()), float(logs.mean()) - half, float(logs.mean()) + half)
    else:
        value = float(np.median(logs))
        half = _half_share([float(log < value) + 0.5 * (log == value) for log in logs], [1] * len(logs), confidence)
        found = (value, *_between(logs, 0.5 - half, 0.5 + half))
    return _widened(Estimate(*map(math.exp, found)), spread, confidence)


def levels(medians: Sequence[Sequence[float]]) -> Floats:
    """The relative slowness of the machine in each round, common to all artifacts of the round; the middle one is 1.

    `medians`: for each artifact the medians of its rounds, from the first round on. Only artifacts that were measured
    to the end are used. A machine with two equally frequent modes has no stable median: one more slice in the slow mode
    moves it from one mode to the other. The median of samples divided by the level of their round is stable, and equal
    artifacts have equal medians.
    """
    last = max(map(len, medians))
    logs = np.log([rounds for rounds in medians if len(rounds) == last])
    own = np.median(logs - logs.mean(axis=0), axis=1, keepdims=True)
    found: Floats = np.median(logs - own, axis=0)
    return np.exp(found - np.median(found))


def launch_spread(launches: Sequence[Sequence[Floats]], known: float, freedom: int) -> float:
    """The relative standard deviation between launches (processes) of the same artifact.

    `launches`: for each artifact its launches, for each launch the medians of its rounds, divided by their `levels`.
    All artifacts have the same number of launches. A handful of launches is too few for an estimate: `known` is
    combined with it as an estimate with `freedom` degrees of freedom.
    """
    logs = np.array([[np.median(np.log(launch)) for launch in each] for each in launches], np.float64)
    if logs.ndim < 2 or min(logs.shape) < 2:
        return known
    rest = logs - logs.mean(axis=0) - logs.mean(axis=1, keepdims=True) + logs.mean()
    own = (logs.shape[0] - 1) * (logs.shape[1] - 1)
    return math.sqrt((freedom * known**2 + float(np.square(rest).sum())) / (freedom + own))


def _widened(found: Estimate, spread: float, confidence: float) -> Estimate:
    """`found` with an interval that also covers a `spread` of its logarithm."""
    if not spread or found.low <= 0:
        return found
    more = NormalDist().inv_cdf(0.5 + confidence / 2) * spread
    low, high = (math.hypot(math.log(end / found.value), more) for end in (found.low, found.high))
    return Estimate(found.value, found.value * math.exp(-low), found.value * math.exp(high))


def _half_share(counts: Sequence[float], sizes: Sequence[int], confidence: float) -> float:
    """Half the width of the interval of a share: in each round, `counts` of `sizes` samples have the property.

    Neighboring rounds may be alike (the machine stays slow for seconds). So they are also combined in twos, fours and
    so on (batch means: Conway, "Some tactical problems in digital simulation", 1963). The widest result counts, and at
    least that of the same number of independent samples.
    """
    share, total = sum(counts) / sum(sizes), sum(sizes)
    errors = np.asarray(counts, np.float64) - share * np.asarray(sizes, np.float64)
    widest, together = 0.0, 1
    while (batches := len(errors) // together) >= 6 or together == 1:
        sums = np.array([part.sum() for part in np.array_split(errors, batches)])
        deviation = math.sqrt(batches / (batches - 1) * float(np.square(sums).sum())) / total
        widest = max(widest, _student(confidence, batches - 1) * deviation)
        together *= 2
    return max(widest, _student(confidence, len(errors) - 1) * math.sqrt(share * (1 - share) / total))


def _between(samples: Floats, low: float, high: float) -> tuple[float, float]:
    """The samples at two shares, rounded outward."""
    bottom = np.quantile(samples, max(low, 0.0), method="lower")
    return float(bottom), float(np.quantile(samples, min(high, 1.0), method="higher"))


def _student(confidence: float, freedom: int) -> float:
    """The two-sided quantile of Student's t (Abramowitz & Stegun 26.7.5), since devices have no scipy."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + float(sum(term / freedom**power for power, term in enumerate(terms, 1)))


def is_steady(samples: Floats, window: int = 10, tolerance: float = 0.03) -> bool:
    """Whether the warm-up is over: the last of three windows of samples is not faster than the others by `tolerance`.

    It may be slower: that comes from the machine, not from the warm-up.
    """
    if len(samples) < 3 * window:
        return False
    medians = np.median(samples[-3 * window :].reshape(3, window), axis=1)
    return bool(medians.max() <= (1 + tolerance) * medians[-1])


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
    1998). If only a few images differ, the bootstrap is far too narrow (empty if none differ).
    """
    lost = int((~right & reference).sum())
    won = int((right & ~reference).sum())
    n = len(right)
    bootstrap = _bootstrap(won, lost, n, confidence, seed)
    score = _tango(won, lost, n, confidence)
    return Estimate((won - lost) / n, min(bootstrap[0], score[0]), max(bootstrap[1], score[1]))


def _bootstrap(won: int, lost: int, n: int, confidence: float, seed: int) -> tuple[float, float]:
    # The mean of a resample depends only on its counts of +1, 0 and -1: one multinomial draw per resample gives exactly
    # the distribution of the bootstrap, in milliseconds for any number of images.
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

    With fewer than two pairs the bounds are infinite.
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
    """The non-inferiority verdict: not worse if the whole interval is above -`margin`, worse if none of it is."""
    if low >= -margin:
        return "not_worse"
    return "worse" if high < -margin else "undecided"


def sqnr_db(outputs: NDArray[np.floating], reference: NDArray[np.floating]) -> float:
    """Signal-to-quantization-noise ratio of `outputs`: 10 log10(sum r^2 / sum (r - o)^2) dB, at most `MAX_SQNR_DB`."""
    signal = noise = 0.0
    for start in range(0, len(reference), 4096):  # in blocks: float64 copies of everything would take too much memory
        r = reference[start : start + 4096].astype(np.float64)
        signal += float(np.square(r).sum())
        noise += float(np.square(r - outputs[start : start + 4096]).sum())
    if noise == 0 or signal == 0:
        return MAX_SQNR_DB if noise == 0 else -MAX_SQNR_DB
    return float(np.clip(10 * math.log10(signal / noise), -MAX_SQNR_DB, MAX_SQNR_DB))


def agreement(outputs: NDArray[np.floating], reference: NDArray[np.floating]) -> float:
    """The share of rows whose largest value has the same index."""
    return float((outputs.argmax(axis=1) == reference.argmax(axis=1)).mean())


def top_k(outputs: NDArray[np.floating], labels: NDArray[np.integer], k: int) -> NDArray[np.bool_]:
    """For each row, whether its label is among the `k` largest values; of equal values the lower index comes first."""
    own = np.take_along_axis(outputs, labels[:, None], axis=1)
    earlier = np.arange(outputs.shape[1]) < labels[:, None]
    return np.asarray(((outputs > own) | ((outputs == own) & earlier)).sum(axis=1) < k)
