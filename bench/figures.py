"""How every report formats figures: units, digits, signs. A missing figure is an empty string."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from edgewright import tasks
from edgewright.core.statistics import Verdict
from edgewright.tasks.scores import Accuracy, Delta, Score

from .audit import DRIFTS
from .results import Finding, Latency, Measurement, Ratio, Reference, Report

MINUS = "\N{MINUS SIGN}"
VERDICTS: dict[Verdict, str] = {"not_worse": "not worse", "worse": "worse", "undecided": "inconclusive"}

EMULATED = "emulated"
"""The code of the finding for an accuracy that was emulated on another runtime."""

AUDIT = frozenset(
    {
        "audit", "batch-rows", "batch-size", "census", "confidence", "runtime-parity", "saturation", *DRIFTS,
    }
)  # fmt: skip
"""Checks of variants whose errors and warnings are also printed below the table (docs/reference/audit.md)."""

_LEVELS = ("error", "warning", "note", "ok")


def metric(report: Report) -> str:
    """Return the title of the task's primary score, such as "mAP" or "Top-1"."""
    return score(report).title


def score(report: Report) -> Score:
    """Return the primary score of the report's task."""
    return tasks.get(report.model.task).metric.SCORES[0]


def column(report: Report) -> str:
    """Return the heading of the primary score's column, with its unit: `Top-1 %`."""
    return f"{tasks.get(report.model.task).report.HEADING} {score(report).unit}"


def others(report: Report, found: Accuracy | None) -> list[tuple[str, float]]:
    """Return the scores that are shown below the primary one: (title, value)."""
    task = tasks.get(report.model.task)
    titles = {one.name: one.title for one in task.metric.SCORES}
    values = found.scores if found else {}
    return [(titles[name], values[name].value) for name in task.report.SHOWN if name in values]


def ms(value: float | None) -> str:
    """Return milliseconds with three digits, without the unit."""
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def percent(value: float | None, digits: int = 2) -> str:
    """Return a percentage without the percent sign."""
    return "" if value is None else f"{value:.{digits}f}"


def with_unit(value: float, unit: str, digits: int = 2) -> str:
    """Return a score with its unit: "99.00%", "12.30 px"."""
    return f"{value:.{digits}f}{'' if unit == '%' else ' '}{unit}".rstrip()


def signed(value: float, digits: int = 2) -> str:
    """Return a difference with its sign (a real minus). A value that rounds to zero has no sign."""
    text = f"{abs(value):.{digits}f}"
    return text if float(text) == 0 else f"{'+' if value > 0 else MINUS}{text}"


def delta(found: Delta | None, digits: int = 2) -> str:
    """Return a difference in points with its interval."""
    if found is None:
        return ""
    digits = max(digits, 2) if found.margin < 0.5 else digits  # differences of decibels are small
    return f"{signed(found.value, digits)} [{signed(found.low, digits)}, {signed(found.high, digits)}]"


def size(value: int | float | None) -> str:
    """Return a number of bytes in decimal units with three digits."""
    if value is None:
        return ""
    for scale, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(value) >= scale:
            scaled = value / scale
            return f"{scaled:.0f} {name}" if scaled >= 99.95 else f"{scaled:.1f} {name}"
    return f"{value:.0f} B"


def times(found: Ratio | None) -> str:
    """Return a speedup: "2.31x"."""
    if found is None:
        return ""
    return f"{found.value:.1f}x" if found.value >= 9.995 else f"{found.value:.2f}x"


def energy(value: float | None) -> str:
    """Return an energy in mJ with three digits, without the unit."""
    return ms(value)


def missed(camera: Latency) -> str:
    """Return the number of a camera's frames without an answer in time: "3 of 130"."""
    return f"{camera.missed} of {camera.frames}"


def pace(camera: Latency | None) -> tuple[str, str, str]:
    """Return the median, p90 (``~``: unreliable) and missed frames of a latency at a camera's rate."""
    if camera is None:
        return ("", "", "")
    return (("" if camera.valid else "~") + ms(camera.p50_ms), ms(camera.p90_ms), missed(camera))


def paced(report: Report) -> list[tuple[str, Reference | Measurement]]:
    """Return (name, result) of all results at a camera's rate or with an energy, the reference first."""
    every: list[tuple[str, Reference | Measurement]] = [("reference", report.reference)] if report.reference else []
    every += [(found.id, found) for found in by_speed(report)]
    return [(name, found) for name, found in every if found.camera or found.energy_mj is not None]


def rate(report: Report) -> str:
    """Return the camera's rate in frames per second: "30". Empty if there was no camera scenario."""
    found = next((found.camera.rate_hz for _, found in paced(report) if found.camera), None)
    return "" if found is None else f"{found:g}"


def energy_source(report: Report) -> str:
    """Return the source of the energies, such as "VDD_IN". Empty if no energy was measured."""
    return next((found.energy_source for _, found in paced(report) if found.energy_source), "") or ""


def quantity(value: float, unit: str) -> str:
    """Return a value of a budget term with its unit."""
    if unit == "bytes":
        return size(value)
    if unit == "points":
        return f"{signed(value)} points"
    if unit == "%":
        return f"{value:.2f}%"
    if not unit:
        return f"{value:.3f}"
    return f"{value:.3g}{unit if unit in ('x', '/s') else f' {unit}'}"


def settings(found: Measurement) -> str:
    """Return runtime, precision and scheme, without repetitions."""
    return " · ".join(dict.fromkeys(part for part in (found.runtime, found.precision, found.scheme) if part))


def words(value: Any) -> str:
    """Format a value of provenance or options on one line: mappings as "key value, key value", long lists shortened."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {words(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        more = f" and {len(value) - 8} more" if len(value) > 8 else ""
        return ", ".join(words(item) for item in value[:8]) + more
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def by_speed(report: Report) -> list[Measurement]:
    """Return the measurements in the order of tables: the fastest first, then built, skipped and failed ones."""
    order = {"ok": 0, "built": 1, "skipped": 2, "failed": 3}
    fast = {m.id: (m.latency.p50_ms if m.latency and m.latency.p50_ms else float("inf")) for m in report.measurements}
    return sorted(report.measurements, key=lambda m: (order[m.status], fast[m.id], m.id))


def unmeasured(report: Report) -> list[tuple[Measurement, str, str]]:
    """Return (measurement, names, reason) of variants without a measurement, grouped by status, stage and reason."""
    groups: dict[tuple[str, str | None, str], list[Measurement]] = {}
    for found in by_speed(report):
        if found.status != "ok":
            groups.setdefault((found.status, found.stage, reason(found, report)), []).append(found)
    return [(same[0], ", ".join(m.id for m in same), key[2]) for key, same in groups.items()]


def has_figures(found: Measurement) -> bool:
    """Whether a measurement has figures for a table: it was measured, or its answers were emulated."""
    return found.status == "ok" or found.accuracy is not None


def reason(found: Measurement, report: Report) -> str:
    """Return why a measurement was not made. For a variant that is only built, return its known properties."""
    known = [sentence(finding) for finding in found.findings if finding.code != EMULATED]
    if found.status == "built" and known:
        return " ".join(known)
    return "" if found.reason == report.target.why else " ".join((found.reason or "").split())


def sentence(finding: Finding) -> str:
    """Return the text of a finding, followed by names that the text omits: "... (a.jpg, b.jpg, c.jpg ...)"."""
    if all(name in finding.text for name in finding.names):
        return finding.text
    more = " ..." if (finding.count or 0) > len(finding.names) else ""
    return f"{finding.text} ({', '.join(finding.names)}{more})"


def audited(report: Report) -> list[tuple[str, Finding]]:
    """Return all findings, the most severe first, each with its variant, "data" or "reference"."""
    every = [("reference" if f.code.startswith("reference") else "data", f) for f in report.findings]
    every += [(m.id, f) for m in report.measurements for f in m.findings]
    return sorted(every, key=lambda found: _LEVELS.index(found[1].level))


def alarms(report: Report) -> list[Finding]:
    """Return errors and warnings on the data and the reference, errors first. Reports show them before any figure."""
    found = [finding for finding in report.findings if finding.level in ("error", "warning")]
    return sorted(found, key=lambda finding: _LEVELS.index(finding.level))


def about_data(report: Report) -> list[Finding]:
    """Return notes on the data: changes to some of its images, boxes or files."""
    return [finding for finding in report.findings if finding.level == "note" and finding.count is not None]


def passed(report: Report) -> list[tuple[str, str]]:
    """Return (name, text) of passed checks. Of variants, the text is their number."""
    found = [(finding.code, finding.text) for finding in report.passed]
    counts = Counter(finding.code for m in report.measurements for finding in m.passed)
    return found + [(code, f"{count} variant{'s' if count > 1 else ''}") for code, count in counts.items()]


def of_variants(report: Report) -> list[Finding]:
    """Return errors and warnings of the audit of variants: for each check the most severe, and how many share it."""
    found: dict[str, list[tuple[str, Finding]]] = {}
    for id, finding in audited(report):
        if finding.level != "note" and finding.code in AUDIT:
            found.setdefault(finding.code, []).append((id, finding))
    return [_of_variant(*rows[0], len(rows) - 1) for rows in found.values()]


def _of_variant(id: str, finding: Finding, others: int) -> Finding:
    more = f" and {others} other variant{'s' if others > 1 else ''}" if others else ""
    return msgspec.structs.replace(finding, text=f"{id}{more}: {sentence(finding)}", names=())


def doubts(report: Report) -> list[str]:
    """Return the other notes (see `alarms`, `of_variants`) that a reader needs to judge the figures."""
    found = [*_unreliable(report), *_shifted(report)]
    if report.reference and report.reference.why:
        found.append(f"{report.reference.why.rstrip('.')}.")
    emulated = [finding for m in report.measurements for finding in m.findings if finding.code == EMULATED]
    if emulated:
        found.append(emulated[0].text)
    if report.target.measured is False:
        why = report.target.why or "This machine is not the target."
        found.append(f"Latency was not measured. {why[:1].upper()}{why[1:].rstrip('.')}.")
    return found


def _unreliable(report: Report) -> Iterator[str]:
    """Yield which latencies are unreliable, and why."""
    timed = [m for m in report.measurements if m.latency]
    invalid = [m for m in timed if m.latency and not m.latency.valid]
    if invalid and (first := invalid[0].latency):
        if len(timed) == 1:
            yield f"The latency is unreliable, marked with ~ ({first.why})."
            return
        which = "All latencies are" if len(invalid) == len(timed) else f"{len(invalid)} of {len(timed)} latencies are"
        which = f"1 of {len(timed)} latencies is" if len(invalid) == 1 else which
        yield (
            f"{which} unreliable, marked with ~ ({invalid[0].id}: {first.why}). The variants were measured in turn: "
            "compare them by the column faster, and do not compare the milliseconds with other runs."
        )


def _shifted(report: Report) -> Iterator[str]:
    """Yield by how much the confidence scores of variants changed, if they did."""
    shifted = [m for m in report.measurements if m.accuracy and (c := m.accuracy.confidence) and c.verdict == "shifted"]
    if shifted:
        worst = max(shifted, key=lambda m: abs(_shift(m)))
        others = f" (and those of {len(shifted) - 1} more)" if len(shifted) > 1 else ""
        yield (
            f"The confidence scores of {worst.id}{others} moved by {signed(_shift(worst), 3)} on average. "
            f"{metric(report)} does not show this, but a score threshold in an application is affected."
        )


def _shift(found: Measurement) -> float:
    confidence = found.accuracy.confidence if found.accuracy else None
    return confidence.shift if confidence else 0.0
