"""The integer program finds the best mixture of a made-up machine, obeys its limits, learns from what is measured."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgewright.quantize.mixed import search
from edgewright.quantize.mixed.search import Belief, Observation, Plan, terms

BLOCKS = 9
CROSSINGS = [(i, i + 1) for i in range(BLOCKS - 1)] + [(0, 3)]


def belief(values: np.ndarray, spread: float = 1.0) -> Belief:
    return Belief(mean=tuple(values.tolist()), spread=(spread,) * len(values))


@pytest.fixture(params=range(4))
def machine(request: pytest.FixtureRequest) -> tuple[Belief, Belief]:
    """What INT8 adds to each block's time and each crossing costs; what damage it does."""
    random = np.random.default_rng(request.param)
    time = np.concatenate([random.normal(-1, 2, BLOCKS), random.uniform(0, 1, len(CROSSINGS))])
    return belief(time), belief(random.uniform(0, 1, BLOCKS))


def best_of_all(time: Belief, damage: Belief, limit: float) -> Plan:
    plans = [p for p in itertools.product((False, True), repeat=BLOCKS) if search.predict(damage, p) <= limit]
    return min(plans, key=lambda plan: search.predict(time, plan, CROSSINGS))


@pytest.mark.parametrize("limit", [0.3, 1.5, 100.0])
def test_finds_the_optimum_within_the_limit(machine: tuple[Belief, Belief], limit: float) -> None:
    time, damage = machine
    plan = search.propose(time, CROSSINGS, [(damage, limit)], [])
    assert plan is not None
    assert search.predict(damage, plan) <= limit
    wanted = search.predict(time, best_of_all(time, damage, limit), CROSSINGS)
    assert search.predict(time, plan, CROSSINGS) == pytest.approx(wanted)


def test_proposes_only_what_is_new_and_enough_apart(machine: tuple[Belief, Belief]) -> None:
    time, damage = machine
    known = [(True,) * BLOCKS, (False,) * BLOCKS]
    for _ in range(5):
        plan = search.propose(time, CROSSINGS, [(damage, 2.0)], known, apart=2)
        assert plan is not None
        assert min(sum(a != b for a, b in zip(plan, other)) for other in known) >= 2
        known.append(plan)


def test_says_when_nothing_fits() -> None:
    time, damage = belief(np.array([-1.0, -1.0])), belief(np.array([1.0, 1.0]))
    assert search.propose(time, [], [(damage, 0.5)], [(False, False)]) is None
    assert search.several(time, [], [(damage, 0.5)], [(False, False)], 3) == []


def test_several_limits_give_several_plans(machine: tuple[Belief, Belief]) -> None:
    time, damage = machine
    plans = search.several(time, CROSSINGS, [(damage, 3.0)], [], 3)
    assert len(set(plans)) == len(plans) == 3
    assert all(search.predict(damage, plan) <= 3.0 for plan in plans)


def test_corrections_lead_a_wrong_belief_to_the_optimum(machine: tuple[Belief, Belief]) -> None:
    """The profiler is wrong by half a millisecond a block; what is measured is exact."""
    true, damage = machine
    error = np.random.default_rng(9).normal(0, 0.5, len(true.mean))
    prior = belief(np.array(true.mean) + error)
    seen: dict[Plan, float] = {}
    for _ in range(25):
        observed = [Observation(terms=terms(p, CROSSINGS), value=v, noise=1e-3) for p, v in seen.items()]
        corrected = search.correct(prior, observed)
        plan = search.propose(corrected, CROSSINGS, [(damage, 2.5)], list(seen))
        assert plan is not None
        seen[plan] = search.predict(true, plan, CROSSINGS)
        assert search.predict(search.correct(prior, [
            *observed, Observation(terms=terms(plan, CROSSINGS), value=seen[plan], noise=1e-6)
        ]), plan, CROSSINGS) == pytest.approx(seen[plan], abs=1e-3)  # fmt: skip
    wanted = search.predict(true, best_of_all(true, damage, 2.5), CROSSINGS)
    assert min(seen.values()) == pytest.approx(wanted)


def space(true: Belief, damage: Belief, most: float, is_profiled: bool = True) -> search.Space:
    """What a profiler that is off by up to half a millisecond a block tells of the machine."""
    error = np.random.default_rng(3).normal(0, 0.3, len(true.mean))
    mean = np.array(true.mean) + error if is_profiled else np.full(len(true.mean), np.mean(true.mean[:BLOCKS]))
    return search.Space(
        time=belief(mean), crossings=tuple(CROSSINGS), noise=0.02, is_profiled=is_profiled,
        limits=(search.Limit(damage=damage, most=most, noise=0.01),),
    )  # fmt: skip


def outcome(true: Belief, damage: Belief, plan: Plan) -> search.Outcome:
    told = (search.predict(damage, plan),)
    return search.Outcome(plan=plan, time=search.predict(true, plan, CROSSINGS), damages=told)


@pytest.mark.parametrize("is_profiled", [True, False])
def test_exploring_ends_near_the_optimum(machine: tuple[Belief, Belief], is_profiled: bool) -> None:
    true, damage = machine
    uniform = [outcome(true, damage, (kind,) * BLOCKS) for kind in (False, True)]
    measured: list[Plan] = []

    def measure(plans: list[Plan]) -> list[search.Outcome]:
        measured.extend(plans)
        return [outcome(true, damage, plan) for plan in plans]

    search.explore(space(true, damage, 2.0, is_profiled), uniform, measure, lambda: len(measured) < 60)
    assert len(set(measured)) == len(measured), "a plan was measured twice"
    times = [o.time for o in (outcome(true, damage, p) for p in measured) if o.damages and o.damages[0] <= 2.0]
    wanted = search.predict(true, best_of_all(true, damage, 2.0), CROSSINGS)
    assert min([0.0, *[t for t in times if t is not None]]) <= 0.9 * wanted


def test_exploring_stops_when_the_time_is_up(machine: tuple[Belief, Belief]) -> None:
    true, damage = machine
    uniform = [outcome(true, damage, (kind,) * BLOCKS) for kind in (False, True)]
    assert search.explore(space(true, damage, 2.0), uniform, pytest.fail, lambda: False) == []


def test_a_plan_that_failed_is_not_proposed_again(machine: tuple[Belief, Belief]) -> None:
    true, damage = machine
    uniform = [outcome(true, damage, (kind,) * BLOCKS) for kind in (False, True)]
    measured: list[Plan] = []

    def measure(plans: list[Plan]) -> list[search.Outcome]:
        measured.extend(plans)
        return [search.Outcome(plan=plan) for plan in plans]

    search.explore(space(true, damage, 2.0), uniform, measure, lambda: len(measured) < 12)
    assert len(set(measured)) == len(measured)
