"""Budgets: what may be lost and what must be reached, e.g. ``top1 >= -1.0, p95 <= 10ms, size <= 5MB, speedup >= 2``.

Terms are separated by commas and must all be met. ``top1`` (classifiers) and ``map`` (detectors) without a unit are the
difference to the reference in points on the same images; with ``%`` (``top1 >= 75%``) the accuracy itself.
``confidence <= 0.02`` bounds how far a detector's scores may move. A term is checked with the measured
value; ``@95%`` behind it (``@99%`` behind percentiles) demands that the bad end of the confidence interval meets it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

import msgspec

from edgewright.bench.figures import quantity
from edgewright.bench.results import Choice, Interval, Latency, Measurement, Reference, Term
from edgewright.bench.statistics import ratio_of_rounds
from edgewright.core.errors import UsageError

LATENCIES = ("p50", "p90", "p95", "p99", "mean")
UNITS: dict[str, dict[str, float]] = {
    "ms": {"ms": 1.0, "": 1.0, "us": 1e-3, "s": 1e3},
    "bytes": {"B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30},
    "points": {"": 1.0, "points": 1.0, "pt": 1.0, "%": 1.0},
    "%": {"%": 1.0, "": 1.0},
    "x": {"x": 1.0, "": 1.0},
    "dB": {"dB": 1.0, "": 1.0},
    "/s": {"/s": 1.0, "": 1.0},
    "": {"": 1.0},
}
"""Units of a metric (its own first) and how many of its own they are."""

METRICS: dict[str, str] = {
    "top1": "points", "map": "points", "confidence": "", "agreement": "%", "sqnr": "dB", "speedup": "x",
    **dict.fromkeys(LATENCIES, "ms"), "throughput": "/s", "cold_start": "ms", "size": "bytes", "memory": "bytes",
}  # fmt: skip
CONFIDENCE = {"top1": 95, "map": 95, "speedup": 95, "p50": 99, "p90": 99, "p95": 99, "p99": 99}
"""The confidence, in percent, of the intervals that a report holds."""

ACCURACIES = {"top1": "classify", "map": "detect"}
"""The metrics that compare with labels, and the task that each belongs to."""

DEFAULTS = {"classify": "top1 >= -1.0", "detect": "map >= -1.0, confidence <= 0.02"}
"""The budget of a task where none is given."""

HIGHER_IS_BETTER = frozenset({*ACCURACIES, "agreement", "sqnr", "throughput", "speedup"})
PRECISE = ("f32", "f16", "bf16")
TIE = 1.02
"""Medians closer than this factor count as equal: repeated runs on one machine differ by as much."""


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """One term: `metric` must be at least (``>=``) or at most (``<=``) `value`, in the metric's own unit."""

    text: str
    metric: str
    at_least: bool
    value: float
    unit: str
    absolute: bool = False
    confidence: int | None = None


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed budget. `text` is as the user wrote it; no limits: everything is inside."""

    text: str = ""
    limits: tuple[Limit, ...] = ()

    def margin(self) -> float:
        """The loss of top-1 or mAP in points that the budget allows, for the verdict; 1.0 where it does not say."""
        for limit in self.limits:
            if limit.metric in ACCURACIES and not limit.absolute:
                return max(0.0, -limit.value)
        return 1.0


def parse(text: str) -> Budget:
    """Read a budget; `UsageError` points at what is wrong in it and says what is allowed."""
    limits, start = [], 0
    for part in text.split(","):
        if part.strip():
            limits.append(_parse_term(text, part, start))
        elif text.strip():
            raise _refuse(text, start, len(part), "there is no term between the commas", "Remove a comma.")
        start += len(part) + 1
    return Budget(text=text.strip(), limits=tuple(limits))


TERM = re.compile(
    r"\s*(?P<metric>[A-Za-z_]\w*)\s*(?P<operator>>=|<=|≥|≤|==|=|>|<)?\s*(?P<value>[-+]?\d+(\.\d*)?|[-+]?\.\d+)?"
    r"\s*(?P<unit>[^\s@]+)?\s*(@\s*(?P<confidence>\d+)\s*%?)?\s*$"
)


def _parse_term(text: str, part: str, start: int) -> Limit:
    match = TERM.match(part)
    lead = start + len(part) - len(part.lstrip())
    if not match:
        raise _refuse(text, lead, len(part.strip()), "this is no term", "Write e.g. 'top1 >= -1.0' or 'p95 <= 10ms'.")
    metric = match["metric"]
    if metric not in METRICS:
        close = get_close_matches(metric.lower(), METRICS, 1)
        hint = f"Did you mean '{close[0]}'? " if close else ""
        raise _refuse(text, lead, len(metric), f"'{metric}' is no metric", f"{hint}Allowed: {', '.join(METRICS)}.")
    where = start + max(match.end("metric"), 0)
    better = ">=" if metric in HIGHER_IS_BETTER else "<="
    operator = {"≥": ">=", "≤": "<="}.get(match["operator"] or "", match["operator"])
    if operator != better:
        what = f"'{operator}' does not fit {metric}" if operator else f"'{better}' is missing after {metric}"
        raise _refuse(text, where, len(part) - match.end("metric"), what, f"Write '{metric} {better} ...'.")
    if match["value"] is None:
        raise _refuse(
            text, where, len(part) - match.end("metric"), "the number is missing", f"Write '{metric} {better} 1'."
        )
    return _limit(text, start, part, match, metric)


def _limit(text: str, start: int, part: str, match: re.Match[str], metric: str) -> Limit:
    own, unit = METRICS[metric], match["unit"] or ""
    scale = next((scale for name, scale in UNITS[own].items() if name.lower() == unit.lower()), None)
    if scale is None:
        allowed = ", ".join(name for name in UNITS[own] if name)
        what = f"'{unit}' is no unit of {metric}" if unit else f"{metric} needs a unit"
        span = ("unit", len(unit)) if unit else ("value", len(match["value"]))
        raise _refuse(text, start + match.start(span[0]), span[1], what, f"Allowed: {allowed}.")
    value = float(match["value"]) * scale
    absolute = metric in ACCURACIES and unit == "%"
    where, length = start + match.start("value"), match.end("unit" if unit else "value") - match.start("value")
    if absolute and value <= 0:
        fix = f"Write '{metric} >= {match['value']}' for the difference to the reference in points."
        raise _refuse(text, where, length, "with % this is the accuracy itself, which is never negative", fix)
    if metric in ACCURACIES and not absolute and value > 20:
        fix = f"Write '{metric} >= {match['value']}%' for the accuracy itself."
        raise _refuse(text, where, length, "without % this is the difference to the reference in points", fix)
    confidence = int(match["confidence"]) if match["confidence"] else None
    if confidence is not None and (confidence != CONFIDENCE.get(metric) or absolute):
        known = CONFIDENCE.get(metric)
        fix = f"Write '@{known}%' or leave it out." if known and not absolute else "Leave it out."
        raise _refuse(text, start + part.index("@"), len(part) - part.index("@"), "there is no such interval", fix)
    return Limit(
        text=" ".join(part.split()),
        metric=metric,
        at_least=metric in HIGHER_IS_BETTER,
        value=value,
        unit="%" if absolute else own,
        absolute=absolute,
        confidence=confidence,
    )


def _refuse(text: str, start: int, length: int, what: str, fix: str) -> UsageError:
    at = text[start : start + max(length, 1)].strip() or text.strip()
    return UsageError(f"Budget '{text.strip()}': {what}.", f"At '{at}', column {start + 1}.", fix)


def require_task(budget: Budget, task: str) -> None:
    """Raise `UsageError` for a term that belongs to another task."""
    wrong = next((limit for limit in budget.limits if ACCURACIES.get(limit.metric, task) != task), None)
    if wrong is not None:
        right = next(metric for metric, of in ACCURACIES.items() if of == task)
        raise UsageError(
            f"Budget '{budget.text}': {wrong.metric} is no metric of this model.",
            f"Its task is {task}, whose metric is {right}.",
            f"Write '{wrong.text.replace(wrong.metric, right)}'.",
        )


# --- checking -----------------------------------------------------------------------------------------------------


def check(measurement: Measurement, reference: Reference | None, budget: Budget) -> tuple[Term, ...]:
    """Each term of the budget against one measurement: met, missed or unknown, and by how much."""
    return tuple(_check(measurement, reference, limit) for limit in budget.limits)


def _check(measurement: Measurement, reference: Reference | None, limit: Limit) -> Term:
    term = Term(text=limit.text, metric=limit.metric, limit=limit.value, unit=limit.unit, status="unknown")
    value, why = _value(measurement, reference, limit)
    if value is None:
        return msgspec.structs.replace(term, why=why)
    by = value - limit.value if limit.at_least else limit.value - value
    met = by >= -1e-9
    latency = measurement.latency
    if not met and limit.metric in LATENCIES and latency and not latency.valid:
        # Load beside it only ever slows a model down: what was fast enough under load is, what was not may be.
        return msgspec.structs.replace(term, value=value, by=by, why=f"measured while {latency.why}")
    return msgspec.structs.replace(term, status="met" if met else "missed", value=value, by=by)


def _value(measurement: Measurement, reference: Reference | None, limit: Limit) -> tuple[float | None, str]:
    """The figure that a limit is about (the bad end of its interval where a confidence is asked), or None and why."""
    if measurement.status != "ok":
        return None, measurement.reason or f"the variant is {measurement.status}, not measured"
    if limit.metric in ACCURACIES:
        return _score(measurement, limit)
    if limit.metric == "speedup":
        return _speedup(measurement, reference, limit)
    if limit.metric in LATENCIES:
        return _latency(measurement.latency, limit)
    accuracy, latency = measurement.accuracy, measurement.latency
    figures = {
        "agreement": accuracy.agreement if accuracy else None,
        "confidence": abs(accuracy.confidence.shift) if accuracy and accuracy.confidence else None,
        "sqnr": accuracy.sqnr_db if accuracy else None,
        "throughput": latency.throughput_per_s if latency else None,
        "cold_start": measurement.cold_start_ms,
        "size": measurement.size_bytes,
        "memory": measurement.peak_memory_bytes,
    }
    if limit.metric == "confidence" and accuracy:
        return figures["confidence"], "no box of the reference is sure enough to compare its score"
    return figures[limit.metric], "it was not measured"


def _score(measurement: Measurement, limit: Limit) -> tuple[float | None, str]:
    accuracy = measurement.accuracy
    if accuracy and getattr(accuracy, limit.metric) is None and accuracy.score is not None:
        return None, f"{limit.metric} is a metric of {'classifiers' if limit.metric == 'top1' else 'detectors'}"
    if limit.absolute:
        return accuracy.score if accuracy else None, "the images have no labels"
    if accuracy is None or accuracy.delta is None:
        return None, "there is no difference to the reference: the images have no labels, or the reference failed"
    return accuracy.delta.low if limit.confidence else accuracy.delta.value, ""


def _latency(latency: Latency | None, limit: Limit) -> tuple[float | None, str]:
    if latency is None:
        return None, "latency was not measured"
    if limit.confidence:
        interval: Interval | None = getattr(latency, f"{limit.metric}_interval_ms")
        return interval.high if interval else None, f"{latency.samples} samples do not support it"
    return getattr(latency, f"{limit.metric}_ms"), f"{latency.samples} samples do not support it"


def _speedup(measurement: Measurement, reference: Reference | None, limit: Limit) -> tuple[float | None, str]:
    if measurement.speedup:
        return measurement.speedup.low if limit.confidence else measurement.speedup.value, ""
    ours, theirs = measurement.latency, reference and reference.latency
    if limit.confidence or not (ours and theirs and ours.p50_ms and theirs.p50_ms):
        return None, "the reference's latency was not measured in the same run"
    return theirs.p50_ms / ours.p50_ms, ""


# --- choosing -----------------------------------------------------------------------------------------------------


def choose(measurements: Sequence[Measurement], reference: Reference | None, budget: Budget) -> Choice:
    """The fastest measured variant inside the budget, by median latency (p50, which has the narrowest interval).

    Of those within 2 % of the fastest the more precise is taken, then the one closer to the reference; that a still
    more precise one may be as fast is told. A mixture is left out unless it is faster than each uniform variant beyond
    doubt, by the rounds that both were measured in, and by more than 2 %. An unknown term is not met, and what the
    audit found in error is left out. Where nothing is inside, the choice has no id, and names the nearest variant and
    what it misses.
    """
    measured = [m for m in measurements if m.status == "ok" and m.latency and m.latency.p50_ms]
    sound = [m for m in measured if not _errors(m)]
    inside = [m for m in sound if all(term.status == "met" for term in check(m, reference, budget))]
    if not inside:
        return _nothing(measured, measurements, reference, budget)
    uniform = [m for m in inside if not m.float_layers]
    proven = [m for m in inside if not any(_may_be_as_fast(u, m) for u in uniform if m.float_layers)]
    fastest = min(proven, key=_p50)
    equal = [m for m in proven if _p50(m) <= TIE * _p50(fastest)]
    best = min(equal, key=lambda m: (_rank(m), -_closeness(m), _p50(m), m.id))
    of = f"{len(inside)} of {len(measurements)} variants inside '{budget.text}'"
    why = f"The fastest of {of if budget.text else f'{len(measured)} measured variants'}"
    if best is not fastest:
        times = f"{_p50(fastest):.3g} against {_p50(best):.3g} ms"
        why += f"; {fastest.id} is not faster by more than {TIE - 1:.0%} ({times}) and no more precise"
    passed = min(inside, key=_p50)
    if passed.float_layers and passed not in proven:
        why += f"; the mixture {passed.id} ({_p50(passed):.3g} ms) is not faster than a uniform variant beyond doubt"
    rivals = sorted((m for m in proven if _rank(m) < _rank(best) and _may_be_as_fast(m, best)), key=_p50)
    return Choice(id=best.id, why=" ".join([f"{why}.", *_doubts(best, rivals)]))


def describe(term: Term) -> str:
    """A term in words: what was asked, what was found, by how much it is missed."""
    if term.value is None or term.limit is None:
        return f"{term.text}: unknown, {term.why}"
    found = f"{term.text}: {quantity(term.value, term.unit)}"
    if term.status == "missed":
        return f"{found}, misses by {quantity(abs(term.by or 0), term.unit).lstrip('+')}"
    return f"{found}, {'met' if term.status == 'met' else f'unknown, {term.why}'}"


def _doubts(best: Measurement, rivals: Sequence[Measurement]) -> Iterator[str]:
    """What the choice rests on that is not proven; `rivals` are more precise and may be as fast."""
    if rivals:
        times = f"{_p50(best):.3g} against {_p50(rivals[0]):.3g} ms"
        yield f"That it is faster than {rivals[0].id}, which is more precise, is not beyond doubt ({times})."
    delta = best.accuracy.delta if best.accuracy else None
    if best.accuracy and delta and delta.verdict == "undecided":
        margin = quantity(delta.margin, "points").lstrip("+")
        yield (
            f"That it loses at most {margin} is not proven with {delta.confidence:.0%} confidence: "
            f"on {best.accuracy.images} images the loss may be {-delta.low:.2f}."
        )
    if best.latency and not best.latency.valid:
        yield f"Its latency is no firm evidence: {best.latency.why}."


def _nothing(
    measured: list[Measurement], every: Sequence[Measurement], reference: Reference | None, budget: Budget
) -> Choice:
    if not measured:
        failed = sum(m.status == "failed" for m in every)
        return Choice(why=f"No variant was measured: {failed} failed, {len(every) - failed} were only built.")
    checked = {m.id: check(m, reference, budget) for m in measured}
    nearest = min(measured, key=lambda m: (sum(map(_shortfall, checked[m.id])), _p50(m)))
    missed = (*_errors(nearest), *(describe(term) for term in checked[nearest.id] if term.status != "met"))
    why = f"None of {len(measured)} measured variants is inside '{budget.text}'; {nearest.id} comes nearest."
    return Choice(why=why, nearest=nearest.id, misses=missed)


def _errors(measurement: Measurement) -> list[str]:
    """What the audit found in error: such a variant is not chosen."""
    return [f"{finding.code}: {finding.text}" for finding in measurement.findings if finding.level == "error"]


def _shortfall(term: Term) -> float:
    """How far a term is missed, relative to its limit (differences in points: to one point)."""
    if term.status == "met":
        return 0.0
    if term.by is None or term.limit is None:
        return 10.0
    return abs(term.by) / max(abs(term.limit), 1.0 if term.unit == "points" else 1e-9)


def _p50(measurement: Measurement) -> float:
    assert measurement.latency and measurement.latency.p50_ms
    return measurement.latency.p50_ms


def _may_be_as_fast(one: Measurement, other: Measurement) -> bool:
    """Whether the median of `one` is within 2 % of the `other`'s, or cannot be told from it."""
    if _p50(one) <= TIE * _p50(other):
        return True
    assert one.latency and other.latency
    ratio = ratio_of_rounds(_p50(one) / _p50(other), one.latency.rounds_p50_ms, other.latency.rounds_p50_ms)
    if ratio:
        return ratio.low <= 1
    ours, theirs = one.latency.p50_interval_ms, other.latency.p50_interval_ms  # too few rounds
    return bool(ours and theirs and ours.low <= theirs.high)


def _rank(measurement: Measurement) -> int:
    """0 for float32, 1 for half precisions, 2 for anything quantized, 3 for a mixture, taken only if it is faster."""
    if measurement.float_layers:
        return 3
    if measurement.scheme or measurement.precision not in PRECISE:
        return 2
    return min(PRECISE.index(measurement.precision), 1)


def _closeness(measurement: Measurement) -> float:
    accuracy = measurement.accuracy
    return (accuracy.agreement if accuracy else None) or 0.0
