"""The accuracy of what was evaluated, against the reference on the same images."""

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
    """Whether a variant has this metric before it is timed; others (size, p95) are left to the final choice."""
    return metric in metrics.OF_ANSWERS or metrics.is_score(metric)


def score(state: RunState, build: Build) -> Accuracy | None:
    """The accuracy of `build`; None where it, or the reference, was not evaluated, and where it cannot be told.

    It is computed once: right after it answered, beside what else is done then.
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
    build.results["score"] = made = scores.score(state.runner, build.candidate.id, asked)
    found = scores.read(made)
    return found if is_reference else msgspec.structs.replace(found, results=evaluation.key)


def checked(state: RunState, build: Build) -> tuple[Term, ...]:
    """The budget's terms against what is known of `build` now: its accuracy."""
    assert state.job.budget is not None
    row = Measurement(
        id=build.candidate.id, variant=build.candidate.variant.name, runtime=build.candidate.options.runtime,
        precision=build.candidate.precision, status="ok", accuracy=score(state, build),
    )  # fmt: skip
    return budget.check(row, None, state.job.budget)


def at_chance(state: RunState) -> Finding | None:
    """The finding that the reference does not know the evaluation images; None where it does, or was not evaluated."""
    if state.reference.answers is None or state.job.budget is None:
        return None
    outputs = accuracy.load_outputs(state.reference.answers.path)
    items, found = state.images.evaluation.items, score(state, state.reference)
    return chance.at_chance(outputs, items, state.spec, found, state.job.budget)


def standing(state: RunState, build: Build) -> Standing:
    """Where `build` stands by what the budget asks of its accuracy: proven inside, inside, or outside."""
    assert state.job.budget is not None
    return budget.standing(score(state, build), state.job.budget)


def is_good_enough(state: RunState, build: Build) -> bool:
    """Whether no more accurate variant is needed beside `build`: it is proven inside the budget.

    Where not even the float model in float32 is proven to be, there are too few images for any proof, and inside does.
    """
    if build.answers is None:
        return False
    found = standing(state, build)
    exact = [b for b in state.builds if b.alive and b.candidate.precision == "f32" and b.answers is not None]
    provable = not exact or any(standing(state, b) == "proven" for b in exact)
    return found == "proven" or (found == "inside" and not provable)


def is_inside(state: RunState, build: Build) -> bool:
    """Whether `build` meets all that the budget asks of its accuracy."""
    return standing(state, build) != "outside"
