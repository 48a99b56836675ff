"""The figures of a variant as named values, and the outcome of its budget terms. All formats use them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from edgewright import tasks
from edgewright.bench import budget as budgets
from edgewright.bench.results import Measurement, Reference, Report, Term
from edgewright.tasks.scores import Better, Interval

PERCENTILES = ("p50", "p90", "p95", "p99")


class Value(NamedTuple):
    """A figure: its `name` in budgets, its value, `unit` and direction, and the ends of its interval, if it has one."""

    name: str
    value: float
    unit: str
    better: Better
    low: float | None = None
    high: float | None = None


def of(found: Measurement | Reference, report: Report) -> list[Value]:
    """Return every figure of a measured variant. A figure that was not measured is absent."""
    return [*_latencies(found), *_scores(found, report), *_resources(found)]


def variants(report: Report) -> Iterator[tuple[str, Measurement | Reference]]:
    """Yield (name, result) of everything that was measured, the reference first."""
    if report.reference and report.reference.status == "ok":
        yield "reference", report.reference
    yield from ((found.id, found) for found in report.measurements if found.status == "ok")


def title(report: Report) -> str:
    """Return "model on target"."""
    return f"{report.model.name} on {report.target.title or report.target.name}"


class Outcome(NamedTuple):
    """The outcome of a budget term as a test: "passed", "failed" or "skipped", and the reason."""

    status: Literal["passed", "failed", "skipped"]
    why: str = ""


def outcome(term: Term, found: Measurement, report: Report) -> Outcome:
    """Return the outcome of a term of the variant `found`.

    Only the variant that ships can fail: the chosen one, or without a choice the one that comes closest. A term that is
    met by the measured value, but not confirmed, is skipped.
    """
    text = budgets.describe(term)
    if not ships(found, report):
        return Outcome("passed", text) if term.status == "met" else Outcome("skipped", f"{text}. It is not chosen.")
    if term.status != "met":
        return Outcome("failed", text)
    if term.metric == primary(report) and (why := inconclusive(found, report)):
        return Outcome("skipped", f"{text}. {why}")
    return Outcome("passed", text)


def ships(found: Measurement, report: Report) -> bool:
    """Whether `found` is the chosen variant, or without a choice the nearest one."""
    choice = report.choice
    return choice is not None and found.id == (choice.id or choice.nearest)


def primary(report: Report) -> str:
    """Return the name of the task's primary score."""
    return tasks.get(report.model.task).metric.SCORES[0].name


def inconclusive(found: Measurement, report: Report) -> str:
    """Return why the accuracy of a variant is inconclusive, or "" if it is decided."""
    delta = found.accuracy.delta if found.accuracy else None
    if delta is None or delta.verdict != "undecided":
        return ""
    images = next((one.images for one in (report.choice.unproven if report.choice else ()) if one.id == found.id), None)
    more = f" About {images} images decide it." if images else ""
    return f"Inconclusive at {delta.confidence:.0%} confidence: from {delta.low:+.2f} to {delta.high:+.2f}.{more}"


def _latencies(found: Measurement | Reference) -> Iterator[Value]:
    latency = found.latency
    if latency is None:
        return
    for name in PERCENTILES:
        value: float | None = getattr(latency, f"{name}_ms")
        interval: Interval | None = getattr(latency, f"{name}_interval_ms")
        if value is not None:
            ends = (interval.low, interval.high) if interval else (None, None)
            yield Value(name, value, "ms", "lower", *ends)
    if latency.throughput_per_s is not None:
        yield Value("throughput", latency.throughput_per_s, "1/s", "higher")


def _scores(found: Measurement | Reference, report: Report) -> Iterator[Value]:
    accuracy = found.accuracy
    if accuracy is None:
        return
    for score in tasks.get(report.model.task).metric.SCORES:
        if one := accuracy.scores.get(score.name):
            ends = (one.interval.low, one.interval.high) if one.interval else (None, None)
            yield Value(score.name, one.value, score.unit, score.better, *ends)
    if accuracy.agreement is not None:
        yield Value("agreement", accuracy.agreement, "%", "higher")
    if accuracy.sqnr_db is not None:
        yield Value("sqnr", accuracy.sqnr_db, "dB", "higher")


def _resources(found: Measurement | Reference) -> Iterator[Value]:
    for name, unit, value in (
        ("size", "bytes", found.size_bytes), ("memory", "bytes", found.peak_memory_bytes),
        ("cold_start", "ms", found.cold_start_ms), ("energy", "mJ", found.energy_mj),
    ):  # fmt: skip
        if value is not None:
            yield Value(name, float(value), unit, "lower")
