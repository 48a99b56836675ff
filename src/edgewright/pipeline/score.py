"""The accuracy of evaluated builds, against the reference on the same images."""

from __future__ import annotations

import msgspec

from edgewright.bench import accuracy, budget, chance, metrics
from edgewright.bench.budget import Standing
from edgewright.bench.results import Finding, Measurement, Term
from edgewright.core.store import Entry
from edgewright.pipeline.stages import score as scores
from edgewright.pipeline.state import Build, RunState
from edgewright.tasks.scores import Accuracy, Paired


def is_of_answers(metric: str) -> bool:
    """Whether a variant has this metric before it is measured; others (size, p95) count in the final choice only."""
    return metric in metrics.OF_ANSWERS or metrics.is_score(metric)


def score(state: RunState, build: Build) -> Accuracy | None:
    """The accuracy of `build`. None if it or the reference was not evaluated, or if scoring failed.

    It is computed once, right after the evaluation.
    """
    can_be = build.failure is None or build.failure.stage != "score"
    if build.scored is None and build.answers is not None and state.reference.answers is not None and can_be:
        build.scored = _score(state, build, build.answers, state.reference.answers)
    return build.scored


def _score(state: RunState, build: Build, evaluation: Entry, reference: Entry) -> Accuracy:
    job, is_reference = state.job, build is state.reference
    assert job.budget is not None
    margin = job.budget.margin() if job.budget.judges_accuracy else job.recipe.margin
    asked = scores.Scoring(
        answers=evaluation, reference=None if is_reference else reference, images=state.images.evaluation,
        spec=state.spec, paired=Paired(margin=margin, seed=job.recipe.seed),
    )  # fmt: skip
    build.results["score"] = entry = scores.score(state.runner, build.candidate.id, asked)
    found = scores.read(entry)
    return found if is_reference else msgspec.structs.replace(found, results=evaluation.key)


def checked(state: RunState, build: Build) -> tuple[Term, ...]:
    """The terms of the budget, checked against the accuracy of `build`."""
    assert state.job.budget is not None
    row = Measurement(
        id=build.candidate.id, variant=build.candidate.variant.name, runtime=build.candidate.options.runtime,
        precision=build.candidate.precision, status="ok", accuracy=score(state, build),
    )  # fmt: skip
    return budget.check(row, None, state.job.budget)


def at_chance(state: RunState) -> Finding | None:
    """The finding that the reference is no better than chance; None if it is better, or was not evaluated."""
    if state.reference.answers is None or state.job.budget is None:
        return None
    outputs = accuracy.load_outputs(state.reference.answers.path)
    items, found = state.images.evaluation.items, score(state, state.reference)
    return chance.at_chance(outputs, items, state.spec, found, state.job.budget)


def standing(state: RunState, build: Build) -> Standing:
    """The state of `build` against the accuracy terms of the budget: `"proven"`, `"inside"` or `"outside"`."""
    assert state.job.budget is not None
    return budget.standing(score(state, build), state.job.budget)


def is_good_enough(state: RunState, build: Build) -> bool:
    """Whether no more accurate variant is needed: `build` is confirmed within the budget.

    If not even the float32 build is confirmed, the images are too few to confirm any. Then "inside" is good enough.
    """
    if build.answers is None:
        return False
    found = standing(state, build)
    exact = [b for b in state.builds if b.alive and b.candidate.precision == "f32" and b.answers is not None]
    provable = not exact or any(standing(state, b) == "proven" for b in exact)
    return found == "proven" or (found == "inside" and not provable)


def is_inside(state: RunState, build: Build) -> bool:
    """Whether `build` meets all accuracy terms of the budget, confirmed or not."""
    return standing(state, build) != "outside"
