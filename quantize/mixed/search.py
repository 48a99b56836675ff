"""The search for a mixture: which blocks run in INT8 and which in float, as an integer program over a model of time and
damage, which every measured mixture corrects.

A plan is a tuple of booleans, one a block, True for INT8. Time and damage are taken to be sums over blocks, time with a
cost for each tensor that crosses from INT8 to float or back. Neither is quite true (runtimes fuse, errors correlate):
what is measured tells by how much, and the search goes on from there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Plan = tuple[bool, ...]
Crossing = tuple[int, int]


class Belief(msgspec.Struct, frozen=True, kw_only=True):
    """What is believed of each term of a sum: `mean` and `spread` (one standard deviation), in the sum's own unit."""

    mean: tuple[float, ...]
    spread: tuple[float, ...]


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """A measured sum: how often each term is in it, its value, and the value's standard deviation."""

    terms: tuple[float, ...]
    value: float
    noise: float


def terms(plan: Plan, crossings: Sequence[Crossing] = ()) -> tuple[float, ...]:
    """Of a plan: 1 for each block in INT8, then 1 for each crossing between INT8 and float."""
    return (*map(float, plan), *(float(plan[a] != plan[b]) for a, b in crossings))


def correct(belief: Belief, observed: Sequence[Observation]) -> Belief:
    """`belief` after the observations: Bayesian linear regression with independent Gaussian priors.

    (Bishop 2006, "Pattern Recognition and Machine Learning", section 3.3.) What the terms' errors have to do with one
    another is left out of the result, so every correction starts from the same prior with all that was observed.
    """
    if not observed:
        return belief
    design = np.array([o.terms for o in observed])
    mean, variance = np.array(belief.mean), np.square(belief.spread)
    noise = np.diag([max(o.noise, 1e-12) ** 2 for o in observed])
    gap = np.array([o.value for o in observed]) - design @ mean
    gain = np.linalg.solve((design * variance) @ design.T + noise, design * variance).T  # (terms, observations)
    left = np.sqrt(np.maximum(variance - (gain * (design * variance).T).sum(axis=1), 0.0))
    return Belief(mean=tuple((mean + gain @ gap).tolist()), spread=tuple(left.tolist()))


def hope(belief: Belief) -> Belief:
    """Each term lower by its spread: what is not known yet looks good, and is tried."""
    return Belief(mean=tuple(m - s for m, s in zip(belief.mean, belief.spread)), spread=belief.spread)


def predict(belief: Belief, plan: Plan, crossings: Sequence[Crossing] = ()) -> float:
    """The sum that is believed of `plan`."""
    return float(np.dot(belief.mean, terms(plan, crossings)))


def propose(
    time: Belief,
    crossings: Sequence[Crossing],
    limits: Sequence[tuple[Belief, float]],
    known: Sequence[Plan],
    apart: int = 1,
) -> Plan | None:
    """The plan of least time whose every damage is at most its limit, and that differs from all of `known`.

    `time`: what INT8 adds to the time of each block (less than zero where it is faster), then what each of `crossings`
    costs. `limits`: (damage of each block in INT8, most that all may do). A plan differs from `known` ones in at least
    `apart` blocks. None where there is no such plan. By HiGHS (scipy.optimize.milp).
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    costs = np.maximum(time.mean, [-np.inf] * (len(time.mean) - len(crossings)) + [0.0] * len(crossings))
    blocks, size = len(costs) - len(crossings), len(costs)
    rows, low, high = [], [], []

    def require(row: Floats, least: float, most: float) -> None:
        rows.append(row)
        low.append(least)
        high.append(most)

    for number, (a, b) in enumerate(crossings):  # a crossing costs unless both sides are alike
        for first, second in ((a, b), (b, a)):
            row = np.zeros(size)
            row[first], row[second], row[blocks + number] = 1, -1, -1
            require(row, -np.inf, 0)
    for damage, most in limits:
        require(np.pad(np.maximum(damage.mean, 0.0), (0, len(crossings))), -np.inf, most)
    for plan in known:
        row = np.pad(np.where(plan, -1.0, 1.0), (0, len(crossings)))
        require(row, apart - sum(plan), np.inf)
    found = milp(
        costs,
        integrality=np.pad(np.ones(blocks), (0, len(crossings))),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(np.array(rows), low, high) if rows else (),
        options={"time_limit": 10.0},
    )
    return None if found.x is None else tuple(bool(value > 0.5) for value in found.x[:blocks])


def several(
    time: Belief,
    crossings: Sequence[Crossing],
    limits: Sequence[tuple[Belief, float]],
    known: Sequence[Plan],
    count: int,
    shares: Sequence[float] = (1.0, 0.6, 0.3),
) -> list[Plan]:
    """Up to `count` plans that differ from `known` and from one another, the fastest first.

    The integer program is solved with the whole of each limit and with `shares` of it; without limits they differ in a
    twentieth of the blocks, so that each measurement tells something new.
    """
    apart = max(1, (len(time.mean) - len(crossings)) // 20)
    found: list[Plan] = []
    for number in range(count):
        share = shares[number % len(shares)]
        scaled = [(damage, share * most) for damage, most in limits]
        plan = propose(time, crossings, scaled, [*known, *found], apart)
        if plan is not None:
            found.append(plan)
    return sorted(found, key=lambda plan: predict(time, plan, crossings))


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """What all blocks together may damage: the `damage` believed of each, at most `most`, measured within `noise`."""

    damage: Belief
    most: float
    noise: float


class Space(msgspec.Struct, frozen=True, kw_only=True):
    """What is believed before anything was measured: `time` of `propose` in ms, measured within `noise`.

    `beat`: what a plan must be faster than to be of use, in ms more than all float.
    """

    time: Belief
    crossings: tuple[Crossing, ...]
    noise: float
    limits: tuple[Limit, ...] = ()
    is_profiled: bool = True
    beat: float = float("inf")

    @property
    def blocks(self) -> int:
        """How many there are."""
        return len(self.time.mean) - len(self.crossings)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of a plan: milliseconds more than all float, damage by the limits; None: not measured.

    `noise`: standard deviation of `time`, where it is more than the space's.
    """

    plan: Plan
    time: float | None = None
    noise: float = 0.0
    damages: tuple[float, ...] | None = None


PATIENCE = 2
"""Rounds in a row that find nothing better and end a search."""

Measure = Callable[[Sequence[Plan]], Sequence[Outcome]]
"""Builds and measures plans beside one another: an outcome for each, and for known ones that were measured again."""


def explore(
    space: Space, known: Sequence[Outcome], measure: Measure, has_time: Callable[[], bool], count: int = 3
) -> list[Outcome]:
    """Propose plans, have them measured, correct, and again, until nothing new looks better or the time is up.

    Where nothing is believed to be better any more, what might be within the spread of the belief is tried; `PATIENCE`
    rounds that find nothing better are the end.
    `known`: what was measured of the uniform plans. Where no profiler told the blocks' times (`is_profiled`), they are
    learnt by difference first: from plans with a quarter of the blocks in INT8. Returns the outcomes of new plans.
    """
    found = list(known)
    if not space.is_profiled and has_time():
        found += measure(_quarters(space.blocks))
    fruitless, least = 0, np.inf
    while has_time() and fruitless < PATIENCE:
        time = correct(space.time, [_seen(o, o.time, space) for o in found if o.time is not None])
        limits = [(_damage(limit, number, found), limit.most) for number, limit in enumerate(space.limits)]
        best = min((o.time for o in found if o.time is not None and _is_inside(o, space)), default=np.inf)
        best = min(best, space.beat)
        fruitless, least = fruitless + 1 if best >= least else 0, best
        for believed in (time, hope(time)):
            plans = several(believed, space.crossings, limits, [o.plan for o in found], count)
            better = [p for p in plans if predict(believed, p, space.crossings) < best - space.noise / 2]
            if better:
                break
        if not better:
            break
        new = measure(better)
        again = {o.plan for o in new}
        found = [o for o in found if o.plan not in again] + list(new)
    uniform = {o.plan for o in known}
    return [o for o in found if o.plan not in uniform]


def _seen(outcome: Outcome, time: float, space: Space) -> Observation:
    noise = max(outcome.noise, space.noise)
    return Observation(terms=terms(outcome.plan, space.crossings), value=time, noise=noise)


def _damage(limit: Limit, number: int, found: Sequence[Outcome]) -> Belief:
    seen = [
        Observation(terms=terms(o.plan), value=o.damages[number], noise=limit.noise)
        for o in found
        if o.damages is not None
    ]
    return correct(limit.damage, seen)


def _is_inside(outcome: Outcome, space: Space) -> bool:
    return outcome.damages is not None and all(d <= x.most for d, x in zip(outcome.damages, space.limits))


def _quarters(blocks: int) -> list[Plan]:
    marks = [blocks * part // 4 for part in range(5)]
    return [tuple(low <= i < high for i in range(blocks)) for low, high in itertools.pairwise(marks) if high > low]
