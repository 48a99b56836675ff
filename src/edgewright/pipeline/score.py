"""The accuracy of what was evaluated, against the reference on the same images."""

from __future__ import annotations

import msgspec

from edgewright.bench import accuracy, budget, chance, detection_accuracy
from edgewright.bench.results import Accuracy, Finding, Measurement, Term
from edgewright.core.store import Entry
from edgewright.pipeline.state import Build, RunState

ACCURACIES = frozenset({"top1", "map", "agreement", "sqnr", "confidence"})
"""Metrics that a variant has before it is timed; others (size, p95) are left to the final choice."""


def score(state: RunState, build: Build) -> Accuracy | None:
    """The accuracy of `build`; None where it, or the reference, was not evaluated. It is computed once."""
    if build.scored is None and build.evaluation is not None and state.reference.evaluation is not None:
        build.scored = _score(state, build, build.evaluation, state.reference.evaluation)
    return build.scored


def _score(state: RunState, build: Build, evaluation: Entry, reference: Entry) -> Accuracy:
    assert state.job.budget is not None
    asked = any(x.metric in budget.ACCURACIES for x in state.job.budget.limits)
    margin, seed = state.job.budget.margin() if asked else state.job.recipe.margin, state.job.recipe.seed
    items = state.images.evaluation.items
    labels = [item.label for item in items]
    outputs = accuracy.load_outputs(evaluation.path)
    truth = accuracy.load_outputs(reference.path)
    if state.spec.detect:
        if build is state.reference:
            return detection_accuracy.score(outputs, items, state.spec.classes)
        found = detection_accuracy.compare(
            outputs, truth, items, state.spec.classes, margin=margin, seed=seed, floor=state.spec.detect.score
        )
    else:
        if build is state.reference:
            return accuracy.score(outputs, labels)
        found = accuracy.compare(outputs, truth, labels, margin=margin, seed=seed)
    return msgspec.structs.replace(found, results=evaluation.key)


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
    if state.reference.evaluation is None or state.job.budget is None:
        return None
    outputs = accuracy.load_outputs(state.reference.evaluation.path)
    return chance.at_chance(outputs, state.images.evaluation.items, score(state, state.reference), state.job.budget)


def is_inside(state: RunState, build: Build) -> bool:
    """Whether `build` meets all that the budget asks of its accuracy."""
    return all(term.status == "met" for term in checked(state, build) if term.metric in ACCURACIES)
