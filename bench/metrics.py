"""The metrics of budgets: those of every model, and the primary score of each task."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import msgspec

from edgewright import tasks
from edgewright.tasks.scores import Score, Vocabulary

LATENCIES = ("p50", "p90", "p95", "p99", "mean")


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """A metric of budgets. `unit`: its own unit. `at_least`: more is better. `confidence`: of its interval, in percent.

    `score` is the task's primary score, if it is one. Then `unit` is the unit of its difference to the reference, and
    `models` describes the models that have it. `general`: every model has the metric, and it is itself a comparison
    with the reference.
    """

    name: str
    unit: str
    at_least: bool = False
    confidence: int | None = None
    score: Score | None = None
    task: str = ""
    models: str = ""
    general: bool = False


GENERAL = (
    Metric(name="confidence", unit=""), Metric(name="agreement", unit="%", at_least=True),
    Metric(name="sqnr", unit="dB", at_least=True), Metric(name="cosine", unit="", at_least=True),
    Metric(name="speedup", unit="x", at_least=True, confidence=95),
    *(Metric(name=name, unit="ms", confidence=None if name == "mean" else 99) for name in LATENCIES),
    Metric(name="throughput", unit="/s", at_least=True), Metric(name="cold_start", unit="ms"),
    Metric(name="size", unit="bytes"), Metric(name="memory", unit="bytes"),
)  # fmt: skip
"""The metrics of every model, whatever its task."""
OF_ANSWERS = frozenset({"agreement", "sqnr", "cosine", "confidence"})
"""The metrics in `GENERAL` that depend only on answers. They are known before any latency is measured."""


def known() -> Mapping[str, Metric]:
    """Return all metrics by name, those of tasks first."""
    return _known(tuple(tasks.names()))


def of_task(task: str) -> Metric:
    """Return the primary metric of a task. Raises `InvalidInput` for an unknown task."""
    score = tasks.get(task).metric.SCORES[0]
    return known()[score.name]


def is_score(name: str) -> bool:
    """Whether a metric is a task's primary score."""
    return (found := known().get(name)) is not None and found.score is not None


def title(name: str) -> str:
    """Return the title of a task's primary score in tables, or "score" if no task has it."""
    found = known().get(name)
    return found.score.title if found and found.score else "score"


def vocabularies() -> list[tuple[str, Vocabulary]]:
    """Return (name of the primary score, vocabulary) for each task."""
    every = [tasks.get(name).metric for name in tasks.names()]
    return [(metric.SCORES[0].name, metric.VOCABULARY) for metric in every]


@functools.cache
def _known(names: tuple[str, ...]) -> Mapping[str, Metric]:
    found = {metric.name: metric for metric in map(_of, names)}
    for metric in GENERAL:
        own = found.get(metric.name)
        found[metric.name] = msgspec.structs.replace(own, general=True) if own else metric
    return found


def _of(task: str) -> Metric:
    metric = tasks.get(task).metric
    score = metric.SCORES[0]
    return Metric(
        name=score.name, unit="points" if score.unit == "%" else score.unit, at_least=score.better == "higher",
        confidence=95, score=score, task=task, models=metric.VOCABULARY.models,
    )  # fmt: skip
