"""What a budget may be about: figures that every model has, and the primary score of each task."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import msgspec

from edgewright import tasks
from edgewright.tasks.scores import Score, Vocabulary

LATENCIES = ("p50", "p90", "p95", "p99", "mean")


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """A metric of budgets: its own unit, whether more of it is better, the confidence (percent) of its interval.

    Of a task's primary `score` the unit is that of its difference to the reference, and `models` says what has it.
    """

    name: str
    unit: str
    at_least: bool = False
    confidence: int | None = None
    score: Score | None = None
    task: str = ""
    models: str = ""


GENERAL = (
    Metric(name="confidence", unit=""), Metric(name="agreement", unit="%", at_least=True),
    Metric(name="sqnr", unit="dB", at_least=True), Metric(name="speedup", unit="x", at_least=True, confidence=95),
    *(Metric(name=name, unit="ms", confidence=None if name == "mean" else 99) for name in LATENCIES),
    Metric(name="throughput", unit="/s", at_least=True), Metric(name="cold_start", unit="ms"),
    Metric(name="size", unit="bytes"), Metric(name="memory", unit="bytes"),
)  # fmt: skip
"""Of every model, whatever its task."""
OF_ANSWERS = frozenset({"agreement", "sqnr", "confidence"})
"""Those of `GENERAL` that are of the answers, and known before anything is timed."""


def known() -> Mapping[str, Metric]:
    """All metrics by name, those of tasks first."""
    return _known(tuple(tasks.names()))


def of_task(task: str) -> Metric:
    """The metric of a task; `InvalidInput` for a task that there is not."""
    score = tasks.get(task).metric.SCORES[0]
    return known()[score.name]


def is_score(name: str) -> bool:
    """Whether a metric is a task's primary score."""
    return (found := known().get(name)) is not None and found.score is not None


def title(name: str) -> str:
    """What tables call a task's primary score; "score" where no task has it."""
    found = known().get(name)
    return found.score.title if found and found.score else "score"


def vocabularies() -> list[tuple[str, Vocabulary]]:
    """(name of the primary score, how people write of it) of each task."""
    every = [tasks.get(name).metric for name in tasks.names()]
    return [(metric.SCORES[0].name, metric.VOCABULARY) for metric in every]


@functools.cache
def _known(names: tuple[str, ...]) -> Mapping[str, Metric]:
    return {metric.name: metric for metric in (*map(_of, names), *GENERAL)}


def _of(task: str) -> Metric:
    metric = tasks.get(task).metric
    score = metric.SCORES[0]
    return Metric(
        name=score.name, unit="points" if score.unit == "%" else score.unit, at_least=score.better == "higher",
        confidence=95, score=score, task=task, models=metric.VOCABULARY.models,
    )  # fmt: skip
