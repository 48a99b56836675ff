"""Whether the reference answers better than chance on its data. If it does not, accuracy is unreliable.

The check itself is the task's (`tasks/<name>/metric.py`, `at_chance`).
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
    "The accuracy in this report is unreliable. Look at some answers (`edgewright run`), then correct the data, the "
    "preprocessing or the weights."
)


def at_chance(
    outputs: Outputs, items: Sequence[Item], spec: ModelSpec, accuracy: Accuracy | None, budget: Budget
) -> Finding | None:
    """The finding that the reference with these `outputs` and this `accuracy` on `items` is at chance, else None.

    Unlabelled images give none. It is an "error" where the budget judges accuracy, else a "warning": latency and
    agreement with the reference need no labels.
    """
    if accuracy is None or accuracy.score is None:
        return None
    found = tasks.of(spec).metric.at_chance(outputs, items, accuracy)
    if found is None:
        return None
    return Finding(
        level="error" if budget.judges_accuracy else "warning", code=CODE, text=f"{found.why} {_ADVICE}",
        count=found.seen,
    )  # fmt: skip
