"""Budgets, such as ``top1 >= -1.0, p95 <= 10ms, size <= 5MB, speedup >= 2``.

A budget is a list of terms. A comma, a semicolon, a line end or "and" separates two terms. A variant must meet all of
them. Each task has a primary score (``top1`` for classifiers, ``map`` for detectors). Without a unit, a term on it
limits the difference to the reference on the same images, in points if the score is a percentage. With the score's unit
(``top1 >= 75%``), the term limits the score itself. ``confidence <= 0.02`` limits the shift of a detector's scores.

A term checks the measured value. With ``@95%`` after it (``@99%`` for percentiles), the less favorable bound of the
confidence interval must meet the term.
"""

from __future__ import annotations

import math
import re
from typing import Literal

import msgspec
import numpy as np

from edgewright import tasks
from edgewright.core.errors import UsageError
from edgewright.core.statistics import Estimate, mean_difference
from edgewright.tasks.scores import Accuracy, Interval, unpack

from . import budget_text, metrics
from .figures import quantity
from .metrics import LATENCIES, Metric
from .results import Latency, Measurement, Reference, Term

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
"""Units of a metric, its own first, each as a number of its own units."""
Standing = Literal["proven", "inside", "outside"]
"""The accuracy of a variant against a budget. `inside`: only the measured value meets it. `proven`: the interval does.
"""


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """One term: `metric` must be at least (``>=``) or at most (``<=``) `value`, in the metric's own unit.

    `compares`: the metric is the primary score of a task, which needs labels. `absolute`: the term limits the score
    itself, not its difference to the reference. `confidence`: in percent, if the interval must meet the term.
    """

    text: str
    metric: str
    at_least: bool
    value: float
    unit: str
    compares: bool = False
    absolute: bool = False
    confidence: int | None = None


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed budget; `text` has one spelling. Only code can create a budget without limits, which every variant
    meets."""

    text: str = ""
    limits: tuple[Limit, ...] = ()

    def margin(self) -> float:
        """Return the accepted loss of the primary score, in its unit, for the verdict; 1.0 if the budget has no such
        term."""
        for limit in self.limits:
            if limit.compares and not limit.absolute:
                return max(0.0, -limit.value if limit.at_least else limit.value)
        return 1.0

    @property
    def judges_accuracy(self) -> bool:
        """Whether a term needs labels or boxes. Terms on latency and agreement do not."""
        return any(limit.compares for limit in self.limits)


def parse(text: str) -> Budget:
    """Parse a budget as people type and paste it (`budget_text`). The texts of the result have one spelling.

    Raises `UsageError` with the position of the error and the allowed values, also for an empty budget.
    """
    plain = budget_text.plain(text)
    if not plain.strip():
        raise UsageError(
            "The budget is empty.",
            "A budget needs at least one term. An unset variable also gives an empty budget.",
            "Write e.g. 'top1 >= -1.0', or omit the budget.",
        )
    _require_points(plain)
    limits = tuple(_parse_term(plain, part, start) for start, part in budget_text.parts(plain))
    return Budget(text=", ".join(limit.text for limit in limits), limits=limits)


_OPERATOR = ">=|<=|=>|=<|==|=|>|<|\N{GREATER-THAN OR EQUAL TO}|\N{LESS-THAN OR EQUAL TO}"
_NUMBER = r"[-+]?\s*(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_TERM = re.compile(rf"(?P<name>.*?)\s*(?P<operator>{_OPERATOR})\s*(?P<rest>.*)")
_REST = re.compile(
    rf"(?P<value>{_NUMBER})?\s*(?P<unit>[^@]*?)\s*(?:@\s*(?P<confidence>[0-9]{{1,3}})\s*%?)?\s*", re.DOTALL
)
_COMMA = re.compile(r"(?<=[0-9]),(?=[0-9])")
_THOUSANDS = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")
_SUFFIX = re.compile(r"(?P<stem>.+)[\s_-](?P<unit>us|ms|s|kb|mb|gb|kib|mib|gib|b)", re.IGNORECASE)
_BETTER = {True: ">=", False: "<="}
_SIGNS = {"\N{GREATER-THAN OR EQUAL TO}": ">=", "=>": ">=", "\N{LESS-THAN OR EQUAL TO}": "<=", "=<": "<="}
_EXAMPLES = {
    "points": "-1.0", "": "0.02", "%": "98%", "dB": "30 dB", "x": "2x", "ms": "10ms", "/s": "30/s", "bytes": "5MB",
}  # fmt: skip


def _parse_term(text: str, part: str, start: int) -> Limit:
    if not part.strip():
        raise _refuse(text, start, 1, "there is no term between two separators", "Remove a separator.")
    match = _TERM.fullmatch(part) or _without_operator(part)
    if not match:
        name = part.split(maxsplit=1)[0]
        raise _no_metric(text, start, name, "", part[len(name) :].strip())
    name, operator, rest = (match[group].strip() for group in ("name", "operator", "rest"))
    operator = _SIGNS.get(operator, operator)
    if not name:
        fix = f"Write one of: {', '.join(metrics.known())}."
        raise _refuse(text, start, len(part), f"there is no metric before '{operator}'", fix)
    metric = budget_text.metric(name)
    if metric is None:
        raise _no_metric(text, start, name, operator, rest)
    where, length = start + len(match["name"]), len(part) - len(match["name"])
    if re.search(_OPERATOR, rest):
        raise _refuse(text, where, length, "this is more than one comparison", "Write a comma between two terms.")
    found = _REST.fullmatch(rest)
    if operator != (better := _better(metric)):
        what = f"'{operator}' does not fit {metric}" if operator else f"'{better}' is missing after {metric}"
        raise _refuse(text, where, length, what, _write(_turned(metric, operator, rest), metric))
    if found is None or found["value"] is None:
        what = f"'{rest}' is not a number" if rest else "the number is missing"
        raise _refuse(text, where, length, what, _write(None, metric))
    return _limit(text, start + match.start("rest"), found, metric)


def _without_operator(part: str) -> re.Match[str] | None:
    """Match a term without an operator: the longest name of a metric at its beginning, and the rest."""
    for name in (part[: space.start()] for space in reversed([*re.finditer(r"\s+", part)])):
        if budget_text.metric(name):
            return re.compile(rf"(?P<name>{re.escape(name)})(?P<operator>)(?P<rest>.*)", re.DOTALL).fullmatch(part)
    return re.compile(r"(?P<name>.*)(?P<operator>)(?P<rest>)").fullmatch(part) if budget_text.metric(part) else None


def _limit(text: str, start: int, match: re.Match[str], metric: str) -> Limit:
    about, unit = metrics.known()[metric], match["unit"]
    units = _units(about)
    number, at = re.sub(r"\s", "", match["value"]), start + match.start("value")
    known = {name.lower(): name for name in units}
    name = known.get(budget_text.UNITS.get(unit.lower(), unit).lower())
    if name is None:
        allowed = ", ".join(one for one in units if one)
        what = f"'{unit}' is not a unit of {metric}" if unit else f"{metric} needs a unit"
        span = match.span("unit" if unit else "value")
        raise _refuse(text, start + span[0], span[1] - span[0], what, f"Allowed: {allowed}.")
    value = float(number) * units[name]
    scored = about.score is not None and not about.general
    absolute = about.score is not None and scored and name == about.score.unit
    length = match.end("unit") - match.start("value")
    if why := _out_of_range(about, value, absolute):
        fits = math.isfinite(value) and value <= 100 and name in ("", "%")
        other = f"{metric} >= {number}{'' if absolute else '%'}" if fits else None
        raise _refuse(text, at, length, why, _write(other, metric))
    confidence = int(match["confidence"]) if match["confidence"] else None
    if confidence is not None and (confidence != about.confidence or absolute):
        known_at = "" if absolute else about.confidence
        term = _spelled(metric, number, name)
        fix = f"Write '{term} @{known_at}%' or '{term}'." if known_at else f"Write '{term}'."
        at = start + match.string.index("@")
        raise _refuse(
            text, at, len(match.string) - match.string.index("@"), f"there is no interval at {confidence}%", fix
        )
    behind = f" @{confidence}%" if confidence else ""
    return Limit(
        text=_spelled(metric, number, name) + behind,
        metric=metric,
        at_least=about.at_least,
        value=value,
        unit=name if absolute else about.unit,
        compares=scored,
        absolute=absolute,
        confidence=confidence,
    )


def _units(about: Metric) -> dict[str, float]:
    """The units of a metric, each as a number of its own units. For a task's score: those of the difference."""
    of_score = about.score is not None and about.unit != "points"
    return {"": 1.0, about.unit: 1.0} if of_score else UNITS[about.unit]


def _spelled(metric: str, number: str, unit: str) -> str:
    return f"{metric} {_better(metric)} {number}{' ' if unit in ('dB', 'points', 'pt') else ''}{unit}"


def _out_of_range(about: Metric, value: float, absolute: bool) -> str:
    """Return why an accuracy or a difference cannot have this value, or ""."""
    if not math.isfinite(value):
        return "this number is too large"
    if about.score is None or about.score.unit != "%":
        return ""
    if absolute and value <= 0:
        return "with %, this is the accuracy itself, which must be above 0%"
    if absolute and value > 100:
        return "an accuracy is at most 100%"
    if not absolute and value > 20:
        return "without %, this is the difference to the reference in points, at most 20"
    return ""


def _better(metric: str) -> str:
    return _BETTER[metrics.known()[metric].at_least]


def _refuse(text: str, start: int, length: int, what: str, fix: str) -> UsageError:
    at, whole = (" ".join(one.split()) for one in (text[start : start + max(length, 1)], text))
    return UsageError(f"Budget '{whole}': {what}.", f"At '{at or whole}', column {start + 1}.", fix)


# --- advice: only terms that can be parsed and have the same meaning ------------------------------------------------


def _require_points(text: str) -> None:
    """Refuse a decimal comma and a thousands separator. A comma ends a term, and no term begins with a digit."""
    found = _COMMA.search(text)
    if found is None:
        return
    readings = [text for text in (_COMMA.sub(".", text), _THOUSANDS.sub("", text)) if not _COMMA.search(text)]
    spelled = [f"'{budget.text}'" for one in readings if (budget := _readable(one))]
    fix = f"Write {' or '.join(spelled)}." if spelled else "Write numbers as in 'top1 >= -1.5'."
    raise _refuse(text, found.start(), 1, "a comma separates terms and is not a decimal point", fix)


def _no_metric(text: str, start: int, name: str, operator: str, rest: str) -> UsageError:
    """Return the error for an unknown metric, with the intended term if it is clear."""
    number, turned = _REST.fullmatch(name), budget_text.metric(rest)
    if number and number["value"] and turned and operator in (">=", "<="):  # "10ms >= p95"
        other = f"{turned} {_BETTER[operator == '<=']} {name}"
        return _refuse(text, start, len(name), "a term begins with its metric", _write(other, turned))
    if suffix := _SUFFIX.fullmatch(name):  # "size_mb <= 5"
        metric = budget_text.metric(suffix["stem"])
        if metric and operator in ("", _better(metric)):
            fix = _write(f"{metric} {_better(metric)} {rest}{suffix['unit']}", metric)
            return _refuse(text, start, len(name), "the unit belongs after the number", fix)
    answer = budget_text.answer(name)
    fix = _instead(answer, operator, rest) if answer else f"Allowed: {', '.join(metrics.known())}."
    return _refuse(text, start, len(name), f"'{name}' is not a metric", fix)


def _instead(answer: budget_text.Answer, operator: str, rest: str) -> str:
    """Return advice: terms with the same meaning if there are any, else the names of the metrics."""
    terms = [(f"'{term}'", what) for metric, what in answer.metrics if (term := _meant(answer, metric, operator, rest))]
    choices = [name + (f" ({what})" if what else "") for name, what in terms or answer.metrics]
    listed = " or ".join([*([", ".join(choices[:-1])] if choices[1:] else []), choices[-1]])
    return f"{answer.note + '. ' if answer.note else ''}{'Write' if terms else 'Use'} {listed}."


def _meant(answer: budget_text.Answer, metric: str, operator: str, rest: str) -> str | None:
    """Return the term on `metric` that has the meaning of the written one, or None if there is none."""
    match = _REST.fullmatch(rest)
    if not answer.same or not match or match["value"] is None:
        return None
    number = float(re.sub(r"\s", "", match["value"]))
    if answer.lost:
        if not metrics.known()[metric].at_least:
            return None
        if number > 0:
            term = None if operator[:1] == ">" else _loss(metric, match)
        else:
            term = None if operator[:1] == "<" else f"{metric} >= {rest}"
    elif operator not in ("", "=", "==", _better(metric), _better(metric)[0]):
        return None
    elif answer.share and 0 < number <= 1 and not match["unit"]:
        term = None if match["confidence"] else f"{metric} >= {100 * number:.10g}%"
    else:
        term = f"{metric} {_better(metric)} {rest}"
    budget = _readable(term) if term else None
    score = metrics.known()[metric].score
    if term and budget is None and score and not match["unit"] and not match["confidence"]:
        budget = _readable(f"{term}{score.unit}")
    return budget.text if budget else None


def _turned(metric: str, operator: str, rest: str) -> str | None:
    """Return the term with the correct operator. For an accuracy, "<= 1" means a loss of one point: ">= -1"."""
    match = _REST.fullmatch(rest)
    if match is None or match["value"] is None:
        return None
    about = metrics.known()[metric]
    if about.score and about.at_least and operator[:1] == "<" and 0 < float(re.sub(r"\s", "", match["value"])) <= 20:
        return _loss(metric, match)
    return f"{metric} {_better(metric)} {rest}"


def _loss(metric: str, match: re.Match[str]) -> str:
    """Return the term for a loss in points (or percent of the images), as a negative difference."""
    unit, confidence = match["unit"].removesuffix("%"), match["confidence"]
    number = re.sub(r"[\s+]", "", match["value"])
    return f"{metric} >= -{number}{unit}" + (f" @{confidence}%" if confidence else "")


def _write(term: str | None, metric: str) -> str:
    """Return the advice to write `term`, or an example for `metric` if `term` cannot be parsed."""
    if term and (budget := _readable(term)):
        return f"Write '{budget.text}'."
    return f"Write e.g. '{metric} {_better(metric)} {_EXAMPLES.get(metrics.known()[metric].unit, '1.0')}'."


def _readable(text: str) -> Budget | None:
    try:
        return parse(text)
    except UsageError:
        return None


def default(task: str) -> Budget:
    """Return the default budget of a task."""
    return parse(tasks.get(task).metric.DEFAULT_BUDGET)


def require_task(budget: Budget, task: str) -> None:
    """Raise `UsageError` for a term on the score of another task."""
    right = metrics.of_task(task).name
    wrong = next((limit for limit in budget.limits if limit.compares and limit.metric != right), None)
    if wrong is not None:
        raise UsageError(
            f"Budget '{budget.text}': {wrong.metric} is not a metric of this model.",
            f"Its task is {task}, whose metric is {right}.",
            f"Write '{wrong.text.replace(wrong.metric, right)}'.",
        )


# --- checking -----------------------------------------------------------------------------------------------------


def check(measurement: Measurement, reference: Reference | None, budget: Budget) -> tuple[Term, ...]:
    """Check each term of the budget for one measurement: met, missed or unknown, and the distance to the limit."""
    return tuple(_check(measurement, reference, limit) for limit in budget.limits)


def standing(accuracy: Accuracy | None, budget: Budget) -> Standing:
    """Return the state of an accuracy by the terms on answers. Terms on size and speed do not count here.

    `inside`: the measured value meets each term. `proven`: the less favorable bound of each score's interval does too
    (`bounds`). Agreement, SQNR and confidence have no interval, so their measured values count. Without a term on
    answers, the result is `proven`.
    """
    row = Measurement(id="", variant="", runtime="", precision="", status="ok", accuracy=accuracy)
    limits = [limit for limit in budget.limits if limit.compares or limit.metric in metrics.OF_ANSWERS]
    if any(_check(row, None, limit).status != "met" for limit in limits):
        return "outside"
    return "proven" if all(is_proven(accuracy, limit) for limit in limits if judges(limit, accuracy)) else "inside"


def judges(limit: Limit, accuracy: Accuracy | None) -> bool:
    """Whether a term limits the primary score: of a task that needs labels, or of one that compares outputs."""
    return limit.compares or (accuracy is not None and limit.metric == accuracy.primary)


def bounds(accuracy: Accuracy | None, limit: Limit) -> Estimate | None:
    """Return the value and interval that a term on a score limits: the difference to the reference, or the score
    itself.

    Each bound is one-sided at 95% (97.5% for the interval of the score itself). None if there is no interval.
    """
    if accuracy is None or accuracy.primary not in accuracy.scores:
        return None
    found = accuracy.scores[accuracy.primary]
    if limit.compares and not limit.absolute:
        return Estimate(found.delta.value, found.delta.low, found.delta.high) if found.delta else None
    if found.interval:
        return Estimate(found.value, found.interval.low, found.interval.high)
    if accuracy.contributions is None:
        return None
    each = unpack(accuracy.contributions)
    return mean_difference(each, np.zeros_like(each))


def is_proven(accuracy: Accuracy | None, limit: Limit) -> bool:
    """Whether the less favorable bound of the interval meets a term on a score."""
    found = bounds(accuracy, limit)
    return found is not None and (found.low - limit.value if limit.at_least else limit.value - found.high) >= -1e-9


def _check(measurement: Measurement, reference: Reference | None, limit: Limit) -> Term:
    term = Term(text=limit.text, metric=limit.metric, limit=limit.value, unit=limit.unit, status="unknown")
    value, why = _value(measurement, reference, limit)
    if value is None:
        return msgspec.structs.replace(term, why=why)
    by = value - limit.value if limit.at_least else limit.value - value
    met = by >= -1e-9
    latency = measurement.latency
    if not met and limit.metric in LATENCIES and latency and not latency.valid:
        # Load from other processes only makes a model slower. A term that is met under load would also be met without.
        return msgspec.structs.replace(term, value=value, by=by, why=f"the latency is unreliable: {latency.why}")
    return msgspec.structs.replace(term, status="met" if met else "missed", value=value, by=by)


def _value(measurement: Measurement, reference: Reference | None, limit: Limit) -> tuple[float | None, str]:
    """Return the value that a limit checks (with a confidence: the less favorable bound), or None with the reason."""
    if measurement.status != "ok":
        return None, measurement.reason or f"the variant is {measurement.status}, not measured"
    if limit.compares:
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
        "cosine": accuracy.scores["cosine"].value if accuracy and "cosine" in accuracy.scores else None,
        "throughput": latency.throughput_per_s if latency else None,
        "cold_start": measurement.cold_start_ms,
        "size": measurement.size_bytes,
        "memory": measurement.peak_memory_bytes,
    }
    if limit.confidence:
        found = bounds(accuracy, limit) if judges(limit, accuracy) else None
        return found.low if found else None, f"{limit.metric} has an interval only for the task tensors"
    if limit.metric == "confidence" and accuracy:
        return figures["confidence"], "the reference has no answer with a score high enough to compare"
    return figures[limit.metric], "it was not measured"


def _score(measurement: Measurement, limit: Limit) -> tuple[float | None, str]:
    accuracy = measurement.accuracy
    if accuracy and accuracy.score is not None and accuracy.primary != limit.metric:
        return None, f"{limit.metric} is a metric of {metrics.known()[limit.metric].models}"
    if limit.absolute:
        return accuracy.score if accuracy else None, "the images have no labels"
    if accuracy is None or accuracy.delta is None:
        return None, "no comparison with the reference: the images have no labels, or the reference failed"
    worst = accuracy.delta.low if limit.at_least else accuracy.delta.high
    return worst if limit.confidence else accuracy.delta.value, ""


def _latency(latency: Latency | None, limit: Limit) -> tuple[float | None, str]:
    if latency is None:
        return None, "latency was not measured"
    if limit.confidence:
        interval: Interval | None = getattr(latency, f"{limit.metric}_interval_ms")
        return interval.high if interval else None, f"{latency.samples} samples are too few for it"
    return getattr(latency, f"{limit.metric}_ms"), f"{latency.samples} samples are too few for it"


def _speedup(measurement: Measurement, reference: Reference | None, limit: Limit) -> tuple[float | None, str]:
    if measurement.speedup:
        return measurement.speedup.low if limit.confidence else measurement.speedup.value, ""
    ours, theirs = measurement.latency, reference and reference.latency
    if limit.confidence or not (ours and theirs and ours.p50_ms and theirs.p50_ms):
        return None, "the reference's latency was not measured in the same run"
    return theirs.p50_ms / ours.p50_ms, ""


def describe(term: Term) -> str:
    """Return a term as one line: the term, the measured value, and the distance to the limit if it is missed."""
    if term.value is None or term.limit is None:
        return f"{term.text}: unknown ({term.why})"
    found = f"{term.text}: {quantity(term.value, term.unit)}"
    if term.status == "missed":
        return f"{found}, missed by {quantity(abs(term.by or 0), term.unit).lstrip('+')}"
    return f"{found}, {'met' if term.status == 'met' else f'unknown ({term.why})'}"
