"""The accuracy of what was evaluated, against the reference on the same images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from edgewright.bench import accuracy, budget, chance, detection_accuracy
from edgewright.bench.results import Accuracy, Finding, Measurement, Term
from edgewright.core.store import Entry

if TYPE_CHECKING:
    from edgewright.pipeline.run import Made, Work

ACCURACIES = frozenset({"top1", "map", "agreement", "sqnr", "confidence"})
"""Metrics that a variant has before it is timed; others (size, p95) are left to the final choice."""


def score(made: Made, work: Work) -> Accuracy | None:
    """The accuracy of `work`; None where it, or the reference, was not evaluated. It is computed once."""
    if work.scored is None and work.evaluation is not None and made.reference.evaluation is not None:
        work.scored = _score(made, work, work.evaluation, made.reference.evaluation)
    return work.scored


def _score(made: Made, work: Work, evaluation: Entry, reference: Entry) -> Accuracy:
    assert made.job.budget is not None
    asked = any(x.metric in budget.ACCURACIES for x in made.job.budget.limits)
    margin, seed = made.job.budget.margin() if asked else made.job.recipe.margin, made.job.recipe.seed
    items = made.images.evaluation.items
    labels = [item.label for item in items]
    outputs = accuracy.load_outputs(evaluation.path)
    truth = accuracy.load_outputs(reference.path)
    if made.spec.detect:
        if work is made.reference:
            return detection_accuracy.score(outputs, items, made.spec.classes)
        found = detection_accuracy.compare(
            outputs, truth, items, made.spec.classes, margin=margin, seed=seed, floor=made.spec.detect.score
        )
    else:
        if work is made.reference:
            return accuracy.score(outputs, labels)
        found = accuracy.compare(outputs, truth, labels, margin=margin, seed=seed)
    return msgspec.structs.replace(found, results=evaluation.key)


def checked(made: Made, work: Work) -> tuple[Term, ...]:
    """The budget's terms against what is known of `work` now: its accuracy."""
    assert made.job.budget is not None
    row = Measurement(
        id=work.candidate.id, variant=work.candidate.variant.name, runtime=work.candidate.options.runtime,
        precision=work.candidate.precision, status="ok", accuracy=score(made, work),
    )  # fmt: skip
    return budget.check(row, None, made.job.budget)


def at_chance(made: Made) -> Finding | None:
    """The finding that the reference does not know the evaluation images; None where it does, or was not evaluated."""
    if made.reference.evaluation is None or made.job.budget is None:
        return None
    outputs = accuracy.load_outputs(made.reference.evaluation.path)
    return chance.at_chance(outputs, made.images.evaluation.items, score(made, made.reference), made.job.budget)


def is_inside(made: Made, work: Work) -> bool:
    """Whether `work` meets all that the budget asks of its accuracy."""
    return all(term.status == "met" for term in checked(made, work) if term.metric in ACCURACIES)
