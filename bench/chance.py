"""Check whether the reference answers better than chance on its data. If it does not, accuracy is unreliable.

The check itself is in the task (`tasks/<name>/metric.py`, `at_chance`).
"""

from __future__ import annotations

from collections.abc import Sequence

from edgewright import tasks
from edgewright.core.spec import ModelSpec
from edgewright.data.sets import Item
from edgewright.tasks.scores import Accuracy

from .accuracy import Outputs
from .budget import Budget
from .results import Finding

CODE = "reference-at-chance"

_ADVICE = (
    "The accuracy in this report is unreliable. Check the preprocessing (used: {spec.input.preprocess}), the class "
    "order and the weights. If your training prepared images in another way, describe it in a TOML file (--spec)."
)


def at_chance(
    outputs: Outputs, items: Sequence[Item], spec: ModelSpec, accuracy: Accuracy | None, budget: Budget
) -> Finding | None:
    """Return a finding if the reference with these `outputs` and this `accuracy` on `items` is at chance, else None.

    Images without labels give None. The level is "error" if the budget judges accuracy, else "warning", because latency
    and agreement with the reference need no labels.
    """
    if accuracy is None or accuracy.score is None:
        return None
    found = tasks.of(spec).metric.at_chance(outputs, items, accuracy)
    if found is None:
        return None
    return Finding(
        level="error" if budget.judges_accuracy else "warning", code=CODE, count=found.seen,
        text=f"{found.why} {_ADVICE.format(spec=spec)}",
    )  # fmt: skip
