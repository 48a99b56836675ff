"""The accuracy of what was evaluated, against the reference on the same images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from edgewright.bench import accuracy, budget, detection_accuracy
from edgewright.bench.results import Accuracy

if TYPE_CHECKING:
    from edgewright.pipeline.run import Made, Work


def score(made: Made, work: Work) -> Accuracy | None:
    """The accuracy of `work`; None where it, or the reference, was not evaluated."""
    if work.evaluation is None or made.reference.evaluation is None:
        return None
    assert made.job.budget is not None
    asked = any(x.metric in budget.ACCURACIES for x in made.job.budget.limits)
    margin, seed = made.job.budget.margin() if asked else made.job.recipe.margin, made.job.recipe.seed
    items = made.images.evaluation.items
    labels = [item.label for item in items]
    outputs = accuracy.load_outputs(work.evaluation.path)
    truth = accuracy.load_outputs(made.reference.evaluation.path)
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
    return msgspec.structs.replace(found, results=work.evaluation.key)
