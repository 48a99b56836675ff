"""What is built next, and what is left out and why: a run in which latencies and answers are given as a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from edgewright.bench import budget as budgets
from edgewright.core.statistics import Estimate
from edgewright.pipeline import policy
from edgewright.pipeline.candidate import Candidate
from edgewright.pipeline.candidates.base import enumerate_candidates
from edgewright.pipeline.recipe import Recipe
from edgewright.pipeline.state import Build, RunState
from edgewright.targets import catalogue

from .run_states import built, state

Run = Callable[..., tuple[list[str], dict[str, str]]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Build all that the policy wants of the base candidates; returns what was built in order, and what was left out.

    `ms`: by the beginning of an id its latency. `standings`: by the end of an id how it stands to the budget (default:
    proven inside).
    """

    def go(
        ms: dict[str, float], standings: dict[str, str] | None = None, effort: str = "normal", target: str = "x86-vnni",
        budget: str = "top1 >= -1",
    ) -> tuple[list[str], dict[str, str]]:  # fmt: skip
        run_state = state([], target=catalogue.load(target), effort=effort)
        run_state.job = replace(run_state.job, budget=budgets.parse(budget))

        def latency(_: RunState, build: Build) -> float | None:
            return next((value for name, value in ms.items() if build.candidate.id.startswith(name)), None)

        def ratio(_: RunState, one: Build, other: Build) -> Estimate | None:
            ours, theirs = latency(_, one), latency(_, other)
            return Estimate(ours / theirs, 0.98 * ours / theirs, 1.02 * ours / theirs) if ours and theirs else None

        def standing(_: RunState, build: Build) -> str:
            known = standings or {}
            return next((found for end, found in known.items() if build.candidate.id.endswith(end)), "proven")

        monkeypatch.setattr(policy, "screen_new", lambda _: None)
        monkeypatch.setattr(policy, "latency", latency)
        monkeypatch.setattr(policy, "ratio_of", ratio)
        monkeypatch.setattr(policy, "standing", standing)
        monkeypatch.setattr(policy, "is_good_enough", lambda s, build: standing(s, build) == "proven")
        proposed = enumerate_candidates(run_state.job.target, run_state.job.recipe)
        while True:
            candidates, left_out = policy.choose(run_state, proposed)
            if not candidates:
                ids = [build.candidate.id for build in run_state.builds]
                return ids, {build.candidate.id: build.left_out for build in left_out}
            run_state.builds += [Build(candidate=candidate) for candidate in candidates]

    return go


FAST_INT8 = {"openvino-int8": 1.0, "openvino": 2.0, "onnxruntime-int8": 1.1, "onnxruntime": 3.0}
FAST_FLOAT = {"openvino-int8": 2.0, "openvino": 1.0, "onnxruntime-int8": 2.2, "onnxruntime": 3.0}


def test_one_of_each_family_is_enough_where_it_is_proven_inside(run: Run) -> None:
    done, left = run(FAST_INT8)
    assert [id for id in done if "int8" in id] == ["onnxruntime-int8-x86-vnni-minmax", "openvino-int8-vnni-minmax"]
    why = "A cheaper INT8 method of the same scheme is confirmed within the budget."
    assert left["openvino-int8-vnni-round"] == why


def test_where_a_float_wins_int8_is_not_refined(run: Run) -> None:
    done, left = run(FAST_FLOAT, {"minmax": "outside"})
    assert [id for id in done if "int8" in id] == ["onnxruntime-int8-x86-vnni-minmax", "openvino-int8-vnni-minmax"]
    assert left["openvino-int8-vnni-nncf"] == "2x slower than openvino-f32 in screening."


def test_where_the_size_counts_what_is_slower_is_tried_too(run: Run) -> None:
    done, _ = run(FAST_FLOAT, {"minmax": "outside"}, budget="top1 >= -1, size <= 5MB")
    assert "openvino-int8-vnni-nncf" in done


def test_methods_are_tried_one_after_the_other_until_one_is_proven(run: Run) -> None:
    done, _ = run(FAST_INT8, {"minmax": "outside", "nncf": "inside"})
    assert done[-1] == "openvino-int8-vnni-round"
    assert "openvino-int8-vnni-round-mixed" not in done


def test_everything_is_tried_where_nothing_is_inside(run: Run) -> None:
    done, left = run(FAST_INT8, {"": "outside"})
    assert not left
    assert len(done) == len(set(done))


def test_a_quick_run_tries_the_fast_methods_only(run: Run) -> None:
    done, left = run(FAST_INT8, {"": "outside"}, effort="quick")
    assert {id.rpartition("-")[2] for id in done if "int8" in id} == {"minmax", "nncf"}
    assert "--effort quick" in left["openvino-int8-vnni-round"]


def test_a_thorough_run_tries_everything_at_once(run: Run) -> None:
    done, left = run(FAST_FLOAT, effort="thorough")
    assert not left
    assert done == [c.id for c in enumerate_candidates(catalogue.load("x86-vnni"), state([]).job.recipe)]


def test_without_latencies_methods_are_tried_until_one_is_proven(run: Run) -> None:
    done, _ = run({}, {"minmax": "inside"}, target="raspberry-pi-5")
    assert [id for id in done if "int8" in id] == ["onnxruntime-int8-arm-minmax", "onnxruntime-int8-arm-round"]


def test_when_the_time_is_over_the_rest_is_left_out() -> None:
    recipe = Recipe(within_s=60)
    run_state = state([built("openvino")], recipe, catalogue.load("x86-vnni"), effort="normal")
    run_state.deadline = 0.0
    int8: list[Candidate] = [built("openvino", scheme="openvino-vnni", method="minmax").candidate]
    limited = policy.choose(run_state, int8)
    assert limited[0] == []
    assert "time limit" in limited[1][0].left_out
