"""Compare a report with an earlier one: accuracy image by image, and latency if both are from the same machine.

Both reports must be of the same model and the same images. A part that cannot be compared is reported with its reason.
It never counts as equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgewright import tasks
from edgewright.tasks.contract import Metric
from edgewright.tasks.scores import Accuracy, unpack

from .results import Environment, Latency, Measurement, Report

Part = Literal["accuracy", "latency"]
"""The parts of two reports that are compared."""

SLOWER = 1.05
"""A latency counts as changed if the two intervals are apart by more than this factor. Between days, latencies of
unchanged files differ as much."""

ROUNDING = 0.01
"""Points that no table shows. The mean of per-image results may differ from the score by this much, and a loss counts
from here on."""

CONFIDENCE = 0.95
_FLIPS = 9999
_BLOCK = 4_000_000  # signs in one array of the sign-flip test

REPORT, BASELINE = "the report", "the baseline"
OTHER_MACHINE = "Measure the baseline on this machine too, or compare accuracy alone (--compare accuracy)."
UNLABELLED = (
    "Label the images, or compare latency alone (--compare latency) and bound agreement by the budget "
    "('agreement >= 98%')."
)

Floats = NDArray[np.float64]


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """The reason why a part was not compared. `about`: the part. `fix`: what to do."""

    about: Literal["model", "data", "accuracy", "latency"]
    why: str
    fix: str


class Comparison(NamedTuple):
    """The result of a comparison: `failures` (what got worse), the parts that were not compared, and `notes`."""

    failures: tuple[str, ...] = ()
    not_compared: tuple[Reason, ...] = ()
    notes: tuple[str, ...] = ()


def compare(
    report: Report, baseline: Report, now: Measurement, margin: float, parts: tuple[Part, ...]
) -> Comparison:  # fmt: skip
    """Compare the measured variant `now` of `report` with the one that `baseline` chose, or else with the same id.

    `margin`: the accepted loss of the primary score, in its unit. `parts`: the parts to compare.
    """
    chosen = baseline.choice.id if baseline.choice and baseline.choice.id else now.id
    before = next((m for m in baseline.measurements if m.id == chosen), None)
    if before is None or before.status != "ok":
        why = f"the baseline chose no variant and has no measurement of '{chosen}'"
        return Comparison(not_compared=(Reason(about="model", why=why, fix="Use a report that chose a variant."),))
    if other := tuple(_other_subject(report, baseline)):
        return Comparison(not_compared=other)
    accuracy, latency = Comparison(), Comparison()
    if "accuracy" in parts:
        accuracy = _accuracy(tasks.get(report.model.task).metric, now.accuracy, before.accuracy, margin)
        if codes := ", ".join(dict.fromkeys(finding.code for finding in baseline.errors)):
            fix = "Correct its data or its reference, then write the report again."
            accuracy = _missing("accuracy", f"the data or the reference of the baseline has an error ({codes})", fix)
    if "latency" in parts:
        latency = _latency(report.environment, baseline.environment, now, before)
    return Comparison(
        accuracy.failures + latency.failures,
        accuracy.not_compared + latency.not_compared,
        accuracy.notes + latency.notes,
    )


def _other_subject(report: Report, baseline: Report) -> Iterator[Reason]:
    """Yield the reasons why the reports are about different models or different images."""
    for name in ("name", "task", "classes"):
        ours, theirs = getattr(report.model, name), getattr(baseline.model, name)
        if ours != theirs:
            why = f"the two reports are of different models: {name} {_of_both(ours, theirs)}"
            yield Reason(about="model", why=why, fix="Use a report of the same model as baseline.")
    if not (report.data and baseline.data and report.data.digest and baseline.data.digest):
        whose = REPORT if not (report.data and report.data.digest) else BASELINE
        yield Reason(about="data", why=f"{whose} does not say which images it used", fix=_again(whose))
        return
    fix = "Measure both on the same images."
    if report.data.images != baseline.data.images:
        why = f"the data sets differ: {_of_both(report.data.images, baseline.data.images)} images"
        yield Reason(about="data", why=why, fix=fix)
    elif report.data.digest != baseline.data.digest:
        why = f"the images or their order differ: {_of_both(report.data.name, baseline.data.name)}"
        yield Reason(about="data", why=why, fix=fix)
    elif report.data.truth and baseline.data.truth and report.data.truth != baseline.data.truth:
        yield Reason(about="data", why="the labels of the images differ from the baseline", fix=_again(BASELINE))


# --- accuracy ---------------------------------------------------------------------------------------------------------


def _accuracy(metric: Metric, now: Accuracy | None, before: Accuracy | None, margin: float) -> Comparison:
    if now is None or before is None:
        whose = REPORT if now is None else BASELINE
        return _missing("accuracy", f"{whose} has no accuracy", _again(whose))
    if now.score is None or before.score is None:
        return _by_agreement(now, before, margin)
    primary = metric.SCORES[0]
    change = f"{primary.title} {before.score:.2f} -> {now.score:.2f} {primary.unit}"
    allowed = f"by more than {_points(margin, primary.unit)}"
    lost = before.score - now.score if primary.better == "higher" else now.score - before.score
    whose, doubt = next(
        ((who, why) for who, one in ((REPORT, now), (BASELINE, before)) if (why := _doubt(one))), ("", "")
    )
    if not doubt and now.images != before.images:
        whose, doubt = BASELINE, f"has {_of_both(now.images, before.images)} images with labels"
    if doubt:
        if lost > margin + 1e-9:
            return Comparison((f"less accurate than the baseline: {change}, {allowed} (not paired: {whose} {doubt})",))
        return _missing("accuracy", f"{change}, but {whose} {doubt}", _again(whose))
    high, chance = _paired(metric, now, before)
    bound = f"{high:+.2f} {'points' if primary.unit == '%' else primary.unit}"
    how = f"paired on {now.images} images, {CONFIDENCE:.0%} upper bound {bound}"
    if lost > margin + 1e-9:
        return Comparison((f"less accurate than the baseline: {change}, {allowed} ({how})",))
    if lost > ROUNDING and high < 0 and chance <= 1 - CONFIDENCE:
        return Comparison((f"less accurate than the baseline: {change}, by more than chance ({how})",))
    return Comparison(notes=(f"accuracy is not measurably worse than the baseline: {change} ({how})",))


def _by_agreement(now: Accuracy, before: Accuracy, margin: float) -> Comparison:
    """Compare agreement, for images without labels. Agreement has no per-image results in a report, so only the value
    counts."""
    if (now.score is None) != (before.score is None):
        whose = "the report's" if now.score is None else "the baseline's"
        return _missing("accuracy", f"{whose} images have no labels, but those of the other report have", UNLABELLED)
    if now.agreement is None or before.agreement is None:
        return _missing("accuracy", "the images have no labels", UNLABELLED)
    change = f"agreement with the reference {before.agreement:.2f} -> {now.agreement:.2f}%"
    if before.agreement - now.agreement > margin + 1e-9:
        return Comparison((f"less accurate than the baseline: {change}, by more than {_points(margin)}",))
    return _missing("accuracy", f"{change}, but the images have no labels", UNLABELLED)


def _doubt(found: Accuracy) -> str:
    """Return why the per-image results of `found` do not agree with its score, or "" if they do."""
    assert found.score is not None
    try:
        if found.contributions is None:
            return "has no per-image results"
        numbers = unpack(found.contributions).astype(np.float64)
    except ValueError:
        return "has per-image results that cannot be read"
    if len(numbers) != found.images:
        return f"has per-image results of {len(numbers)} images, not {found.images}"
    mean = float(numbers.mean()) if len(numbers) else float("nan")
    if not abs(mean - found.score) <= ROUNDING:  # the condition is also true for NaN
        return f"has per-image results of another score ({mean:.2f}%, not {found.score:.2f}%)"
    return ""


def _paired(metric: Metric, now: Accuracy, before: Accuracy) -> tuple[float, float]:
    """Return (one-sided upper bound of the change, in the score's unit; probability of such a loss by chance).

    The task computes the bound (`difference`). If few images differ, the bound alone claims too much. Therefore a loss
    must also be significant by the sign-flip test.
    """
    assert now.contributions is not None and before.contributions is not None
    ours, theirs = (unpack(text).astype(np.float64) for text in (now.contributions, before.contributions))
    found = metric.difference(ours, theirs, CONFIDENCE)
    if metric.SCORES[0].better == "higher":
        return found.high, _chance(ours - theirs)
    return -found.low, _chance(theirs - ours)


def _chance(difference: Floats) -> float:
    """Return the one-sided probability of a mean as low as this if the signs are random.

    This is Fisher's sign-flip test (1935). It needs no normal distribution. If four images differ and all are worse,
    the result is 1 in 16. For right and wrong answers, it is McNemar's exact test.
    """
    differing = difference[difference != 0]
    if not len(differing):
        return 1.0
    rng, low, observed = np.random.default_rng(0), 0, differing.sum()
    block = max(1, _BLOCK // len(differing))
    for start in range(0, _FLIPS, block):
        signs = rng.integers(0, 2, (min(block, _FLIPS - start), len(differing)), np.int8) * 2 - 1
        low += int((signs @ differing <= observed + 1e-9 * abs(observed)).sum())
    return (low + 1) / (_FLIPS + 1)


# --- latency ----------------------------------------------------------------------------------------------------------


def _latency(here: Environment, there: Environment, now: Measurement, before: Measurement) -> Comparison:
    differing = [f"{name} {_of_both(ours, theirs)}" for name, ours, theirs in _settings(here, there, now, before)]
    if differing:
        return _missing("latency", "; ".join(differing), OTHER_MACHINE)
    for whose, one in ((REPORT, now.latency), (BASELINE, before.latency)):
        if one is None or one.p50_ms is None or one.p50_interval_ms is None:
            return _missing("latency", f"{whose} has no median latency with an interval", _again(whose))
        if not one.valid:
            fix = "Measure again on a quiet machine, or compare accuracy alone (--compare accuracy)."
            return _missing("latency", f"{whose} has an unreliable latency ({one.why or 'reason unknown'})", fix)
    assert now.latency and before.latency
    return _slower(now.latency, before.latency)


def _settings(
    here: Environment, there: Environment, now: Measurement, before: Measurement
) -> Iterator[tuple[str, Any, Any]]:
    """Yield differences of machine and threads, which also affect latency: (name, value here, value there)."""
    for name in ("cpu", "arch", "cores", "physical_cores", "board", "power_mode"):
        if getattr(here, name) != getattr(there, name):
            yield name.replace("_", " "), getattr(here, name), getattr(there, name)
    ours, theirs = set(here.isa), set(there.isa)
    if ours != theirs:
        yield "instruction sets", _more(ours - theirs), _more(theirs - ours)
    if _gpus(here) != _gpus(there):
        yield "GPU", _gpus(here), _gpus(there)
    for where in ("options", "described"):
        own, other = getattr(now, where).get("threads"), getattr(before, where).get("threads")
        if own != other and (where == "options" or None not in (own, other)):
            yield "threads", own, other
            return


def _more(names: set[str]) -> str:
    return f"also {' '.join(sorted(names))}" if names else "none more"


def _gpus(machine: Environment) -> str:
    return ", ".join(f"{gpu.name} with driver {gpu.driver or 'unknown'}" for gpu in machine.gpus) or "none"


def _slower(now: Latency, before: Latency) -> Comparison:
    failures, notes = [], []
    for name in ("p50", "p90"):
        ours, theirs = getattr(now, f"{name}_interval_ms"), getattr(before, f"{name}_interval_ms")
        value, was = getattr(now, f"{name}_ms"), getattr(before, f"{name}_ms")
        if ours and theirs and value is not None and was is not None:
            change = f"{name} {was:.3g} -> {value:.3g} ms"
            if ours.low > theirs.high * SLOWER:
                failures.append(f"slower than the baseline: {change}, intervals apart by more than {SLOWER - 1:.0%}")
            elif ours.high * SLOWER < theirs.low:
                notes.append(f"faster than the baseline: {change}")
            elif name == "p50":
                notes.append(f"latency is not measurably slower than the baseline: {change}")
    return Comparison(tuple(failures), (), tuple(notes))


def _points(margin: float, unit: str = "%") -> str:
    return f"{margin:g} point{'' if margin == 1 else 's'}" if unit == "%" else f"{margin:g} {unit}"


def _missing(about: Part, why: str, fix: str) -> Comparison:
    return Comparison(not_compared=(Reason(about=about, why=f"{about} not compared: {why}", fix=fix),))


def _again(whose: str) -> str:
    return f"Write {whose} again with this version, on the same images."


def _of_both(ours: Any, theirs: Any) -> str:
    return f"({_shown(ours)}; baseline: {_shown(theirs)})"


def _shown(value: Any) -> str:
    return "unknown" if value in (None, "") else str(value)
