"""Choose widths: the lowest loss of importance for the wanted latency, as a knapsack over groups.

Latency comes from a table measured on the target, not from a count of multiplications. The cost of a channel depends on
the widths around it, so the search moves to the wanted latency in steps and computes the costs again at each step (Shen
et al. 2022, "Structural Pruning via Latency-Saliency Knapsack").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgewright.core.errors import InvalidInput

if TYPE_CHECKING:
    from .groups import Group

Cost = Callable[[Mapping[str, int]], float]
"""The latency in ms when this many units of each group (by name) are removed."""
STEPS = 6
"""Steps to the wanted latency. Each removes about the same share of the rest."""


def options(group: Group, block: int, least: float) -> list[int]:
    """How many units of `group` may be removed: counts that leave each block a multiple of `block` channels.

    At least `least` of the group's channels stay. A unit of more than one channel (a head) counts as it is.
    """
    step = 1 if group.grain > 1 else block
    kept = [n for n in range(step, group.units, step) if n * group.channels >= least * group.units]
    return [0, *(group.units - n for n in reversed(kept))]


def choose(
    allowed: Mapping[str, Sequence[int]], lost: Mapping[str, Sequence[float]], cost: Cost, wanted_ms: float
) -> dict[str, int]:
    """The number of units to remove from each group so that `cost` is at most `wanted_ms` with the lowest loss.

    `allowed`: the `options` of each group. `lost`: the loss when the 0, 1, 2 ... least important units of a group are
    removed. Raises `InvalidInput` if the narrowest widths are not fast enough.
    """
    narrowest = {name: max(some) for name, some in allowed.items()}
    now = dict.fromkeys(allowed, 0)
    first, floor = cost(now), cost(narrowest)
    if floor > wanted_ms:
        raise InvalidInput(
            f"Removing channels cannot reduce the latency from {first:.3g} to {wanted_ms:.3g} ms.",
            f"With the fewest channels in every group the predicted latency is {floor:.3g} ms: depth costs the rest.",
            "Ask for a smaller speedup, or remove (more) residual blocks first: --blocks N.",
        )
    step = (wanted_ms / first) ** (1 / STEPS)
    while (latency := cost(now)) > wanted_ms:
        target = max(wanted_ms, latency * min(step, 0.98))
        found = _knapsack(now, allowed, lost, cost, latency, target)
        if found == now:  # The remaining savings are below one step of the widths.
            found = _narrowed(now, allowed, lost, cost, latency)
        now = found
    return now


def uniform(groups: Iterable[Group], share: float, block: Mapping[str, int]) -> dict[str, int]:
    """The number of units to remove from each group for the share `share` of all: the closest of its `options`.

    Raises `InvalidInput` for a share that removes nothing.
    """
    found = {g.name: min(options(g, block[g.name], 0.0), key=lambda gone: abs(gone - share * g.units)) for g in groups}
    if not any(found.values()):
        raise InvalidInput(
            f"A ratio of {share:g} of every layer's channels removes nothing.",
            f"Widths are multiples of {max(block.values(), default=1)} here.",
            "Use a larger ratio, or remove residual blocks: --blocks N.",
        )  # fmt: skip
    return found


def _knapsack(
    now: Mapping[str, int], allowed: Mapping[str, Sequence[int]], lost: Mapping[str, Sequence[float]], cost: Cost,
    latency: float, target: float,
) -> dict[str, int]:  # fmt: skip
    """The options with the lowest loss whose savings reach `target`. Each saving assumes that other groups do not
    change."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    rows: list[tuple[str, int, float, float]] = []
    for name, some in allowed.items():
        for gone in some:
            if gone >= now[name]:
                saved = latency - cost({**now, name: gone}) if gone > now[name] else 0.0
                rows.append((name, gone, lost[name][gone] - lost[name][now[name]], saved))
    names = list(allowed)
    one_of = np.array([[float(row[0] == name) for row in rows] for name in names])
    savings = np.array([[row[3] for row in rows]])
    scale = max(row[2] for row in rows) or 1.0
    need = min(latency - target, _most(rows))
    found = milp(
        np.array([row[2] / scale for row in rows]), integrality=np.ones(len(rows)), bounds=Bounds(0, 1),
        constraints=[LinearConstraint(one_of, 1, 1), LinearConstraint(savings, need * (1 - 1e-9), np.inf)],
    )  # fmt: skip
    if found.x is None:
        return dict(now)
    return {row[0]: row[1] for row, taken in zip(rows, found.x) if taken > 0.5}


def _most(rows: Sequence[tuple[str, int, float, float]]) -> float:
    best: dict[str, float] = {}
    for name, _, _, saved in rows:
        best[name] = max(best.get(name, 0.0), saved)
    return sum(best.values())


def _narrowed(
    now: Mapping[str, int], allowed: Mapping[str, Sequence[int]], lost: Mapping[str, Sequence[float]], cost: Cost,
    latency: float,
) -> dict[str, int]:  # fmt: skip
    """`now` with one group narrowed by one step: the group that loses least per saving. All groups if none saves."""
    steps = {
        name: min(gone for gone in some if gone > now[name]) for name, some in allowed.items() if max(some) > now[name]
    }
    price = {}
    for name, gone in steps.items():
        saved = latency - cost({**now, name: gone})
        if saved > 0:
            price[name] = (lost[name][gone] - lost[name][now[name]]) / saved
    if not price:
        return {**now, **steps}
    best = min(price, key=lambda name: price[name])
    return {**now, best: steps[best]}
