"""Find change points in a history of values: E-divisive means with a t test.

The split with the largest energy distance between its two sides is a candidate (Matteson and James 2013, "A
Nonparametric Approach for Multiple Change Point Analysis of Multivariate Data"). Welch's t test replaces the random
permutations of the paper (Fleming et al. 2023, "Hunter"), so that the result does not depend on a seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

P_VALUE = 1e-4
"""The largest p of the t test. The best of many splits is tested, so it is stricter than usual."""
LEAST = 5
"""The fewest values on each side of a change point. Fewer runs than this cannot show a change."""

Floats = NDArray[np.floating[Any]]


class Change(NamedTuple):
    """A change point: the values from number `at` on differ from those before. `before`, `after`: the means of the
    segments on both sides. `p`: of Welch's t test between them."""

    at: int
    before: float
    after: float
    p: float


def change_points(values: Sequence[float], p_value: float = P_VALUE, least: int = LEAST) -> list[Change]:
    """Return the change points of `values`, in order.

    `least`: the fewest values in a segment. A longer series is split as long as a split is significant. Then the
    weakest change point is removed until all are significant against their neighbors.
    """
    series = np.asarray(values, np.float64)
    found: list[int] = []
    queue = [(0, len(series))]
    while queue:
        start, end = queue.pop()
        best = _best_split(series[start:end], least)
        if best is None:
            continue
        split, until = start + best[0], start + best[1]
        if _p(series[start:split], series[split:until]) <= p_value:
            found.append(split)
            queue += [(start, split), (split, end)]
    changes = _changes(series, sorted(found))
    while changes and (weakest := max(changes, key=lambda change: change.p)).p > p_value:
        found.remove(weakest.at)
        changes = _changes(series, sorted(found))
    return changes


def _changes(series: Floats, indices: list[int]) -> list[Change]:
    edges = [0, *indices, len(series)]
    parts = [series[start:end] for start, end in pairwise(edges)]
    return [
        Change(index, float(before.mean()), float(after.mean()), _p(before, after))
        for index, (before, after) in zip(indices, pairwise(parts))
    ]


def _best_split(series: Floats, least: int) -> tuple[int, int] | None:
    """Return (start, end) of the right side with the largest energy distance to the left side; None if none differs.

    A right side that may end early finds a short step that later values hide.
    """
    count = len(series)
    if count < 2 * least:
        return None
    sums = np.zeros((count + 1, count + 1))  # sums[i, j]: of all distances between the first i and the first j values
    sums[1:, 1:] = np.abs(series[:, None] - series[None, :]).cumsum(0).cumsum(1)
    split, end = np.arange(least, count - least + 1)[:, None], np.arange(2 * least, count + 1)[None, :]
    left, right = split, end - split
    corner = np.diagonal(sums)
    between = sums[split, end] - corner[split]
    within_right = corner[end] + corner[split] - 2 * sums[split, end]
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = (
            2 * between / (left * right) - corner[split] / (left * (left - 1)) - within_right / (right * (right - 1))
        )
        energy = np.where(right >= least, left * right / (left + right) * apart, -np.inf)
    row, column = np.unravel_index(int(energy.argmax()), energy.shape)
    return (int(row) + least, int(column) + 2 * least) if energy.max() > 0 else None


def _p(before: Floats, after: Floats) -> float:
    """Return the p value of Welch's t test. Equal values on each side differ surely, or not at all."""
    from scipy.stats import ttest_ind

    if np.ptp(before) == 0 and np.ptp(after) == 0:
        return 1.0 if before[0] == after[0] else 0.0
    return float(ttest_ind(before, after, equal_var=False).pvalue)
