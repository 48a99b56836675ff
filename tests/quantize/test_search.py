"""The integer program finds the best mixture of a made-up machine, obeys its limits, learns from what is measured."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgewright.quantize import search
from edgewright.quantize.search import Belief, Observation, Plan, terms

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
    for _ in range(40):
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
