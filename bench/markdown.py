"""The report as Markdown for a pull request: the choice, one table, and details in folded sections."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from edgewright.core import files
from edgewright.core.text import plain

from . import figures
from .budget import describe
from .results import Finding, Measurement, Reference, Report

HEADER = (
    "", "Variant", "", "Difference [90%]", "Verdict", "Agree %", "p50 ms", "p90 ms", "Faster", "Size", "Memory",
)  # fmt: skip
ALIGN = (":-:", ":--", "--:", "--:", ":--", *["--:"] * 6)

LINKS = re.compile(
    r"(?<=@)(?=\w)|(?<=#)(?=\d)|(?<=\bGH)(?=-\d)|(?<=:)(?=//)|(?<=\bwww)(?=\.)|(?<=:)(?=[\w+\\-]+:)", re.IGNORECASE
)
"""Positions that separate GitHub's mentions, issue numbers, bare addresses and emoji codes into plain text. A backslash
does not help, because GitHub searches for them in the rendered text."""
PARTED = "&#8203;"
"""A space without width."""


def write(report: Report, path: Path) -> None:
    """Write the report to `path`, atomically."""
    files.write(path, render(report))


def within(report: Report, most: int) -> str:
    """Return the report as Markdown of at most `most` bytes in UTF-8.

    Folded details go first, then rows of the table from the slowest on. A line says what is missing.
    """
    text = render(report)
    if len(text.encode()) <= most:
        return text
    note = "\n> **Note:** The report is too long for this page, so its end is missing. report.json has everything.\n"
    text = text.partition("\n<details>")[0]
    lines, size = [], len(note.encode()) + 1
    for line in text.splitlines():
        size += len(line.encode()) + 1
        if size > most:
            break
        lines.append(line)
    return "\n".join([*lines, note])


def render(report: Report) -> str:
    """Return the report as GitHub-flavored Markdown. Names and reasons from outside stay inside their cells."""
    target = report.target.title or report.target.name
    errors, warnings = (
        [_alarm(f) for f in figures.alarms(report) if f.level == level] for level in ("error", "warning")
    )
    title = f"### edgewright: {_safe(report.model.name)} for {_safe(target)}"
    of_variants = map(_alarm, figures.of_variants(report))
    parts = [title, *errors, _choice(report), _table(report), *warnings, *of_variants]
    parts += [f"> **Note:** {_safe(text)}" for text in figures.doubts(report)]
    parts += [_fold(title, body) for title, body in _details(report) if body]
    return "\n\n".join(part for part in parts if part) + "\n"


def _alarm(found: Finding) -> str:
    return f"> **{found.level.capitalize()}, {_safe(found.code)}:** {_safe(figures.sentence(found))}"


def _choice(report: Report) -> str:
    choice = report.choice
    if choice is None:
        return ""
    if choice.id is None and report.errors:
        return f"**:x: {_safe(choice.why)}**"
    if choice.id is None and report.target.measured is False:
        return f"**:package: Built for {_safe(report.target.title or report.target.name)}, not measured.**"
    if choice.id is None:
        misses = "".join(f"\n- {_safe(miss)}" for miss in choice.misses)
        return f"**:x: No variant is within the budget.** {_safe(choice.why)}{misses}"
    found = report.measurement(choice.id)
    terms = "".join(f"\n- {_mark(term.status)} {_safe(describe(term))}" for term in found.budget)
    return f"**:white_check_mark: {_safe(choice.id)}** — {_safe(choice.why)}{terms}"


def _table(report: Report) -> str:
    header = (*HEADER[:2], f"{figures.metric(report)} {figures.score(report).unit}", *HEADER[3:])
    rows: list[tuple[str, ...]] = [header, ALIGN]
    if report.reference:
        rows.append(_reference(report.reference))
    rows += [_row(found, report) for found in figures.by_speed(report)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _reference(found: Reference) -> tuple[str, ...]:
    accuracy, latency = found.accuracy, found.latency
    return (
        "", f"*reference: {_safe(f'{found.runtime} {found.precision} on {found.device}')}*",
        figures.percent(accuracy.score) if accuracy else "", "", "", "",
        figures.ms(latency.p50_ms) if latency else "", figures.ms(latency.p90_ms) if latency else "", "",
        figures.size(found.size_bytes), figures.size(found.peak_memory_bytes),
    )  # fmt: skip


def _row(found: Measurement, report: Report) -> tuple[str, ...]:
    chosen = bool(report.choice and report.choice.id == found.id)
    name = f"**{_safe(found.id)}**" if chosen else _safe(found.id)
    if not figures.has_figures(found):
        mark = ":x:" if found.status == "failed" else ":package:"
        text = f"*{found.status}{f' in {_safe(found.stage)}' if found.stage else ''}*"
        return (mark, name, *[""] * 2, text, *[""] * 4, figures.size(found.size_bytes), "")
    accuracy, latency = found.accuracy, found.latency
    delta = accuracy.delta if accuracy else None
    doubt = "" if latency is None or latency.valid else "~"
    return (
        ":star:" if chosen else ":package:" if found.status == "built" else "", name,
        figures.percent(accuracy.score) if accuracy else "",
        figures.delta(delta), figures.VERDICTS[delta.verdict] if delta else "",
        figures.percent(accuracy.agreement, 1) if accuracy else "",
        doubt + figures.ms(latency.p50_ms) if latency and latency.p50_ms else "",
        figures.ms(latency.p90_ms) if latency else "", figures.times(found.speedup),
        figures.size(found.size_bytes), figures.size(found.peak_memory_bytes),
    )  # fmt: skip


def _details(report: Report) -> Iterable[tuple[str, str]]:
    yield (
        f"{sum(found.status != 'ok' for found in report.measurements)} variants without a measurement",
        "\n".join(
            f"- {m.status}: **{_safe(names)}**: {_safe(reason)}" for m, names, reason in figures.unmeasured(report)
        ),
    )
    yield from _pace(report)
    lines = [
        f"- {f.level}: **{_safe(id)}**: {_safe(f.code)}: {_safe(figures.sentence(f))}"
        for id, f in figures.audited(report)
    ]
    lines += [f"- passed: {_safe(code)}: {_safe(text)}" for code, text in figures.passed(report)]
    yield "Audit", "\n".join(lines)
    environment = report.environment
    lines = [
        f"- {_safe(environment.cpu)} ({', '.join(map(_safe, environment.isa)) or _safe(environment.arch)}), "
        f"{environment.cores} cores",
        "- " + ", ".join(f"{_safe(name)} {_safe(found)}" for name, found in environment.libraries.items()),
    ]
    if data := report.data:
        lines.append(f"- Evaluated on {data.images} images of {_safe(data.name)} {_safe(data.split or '')}")
        if data.calibration:
            lines.append(f"- Calibrated on {data.calibration.images} other images")
    yield "Environment and data", "\n".join(line for line in lines if line != "- ")


def _pace(report: Report) -> Iterable[tuple[str, str]]:
    """Return the section on latency at a camera's rate and energy, if they were measured."""
    rate, source = figures.rate(report), figures.energy_source(report)
    rows = [("Variant", "p50 ms", "p90 ms", "Missed", "mJ an inference"), (":--", *["--:"] * 4)]
    for name, found in figures.paced(report):
        rows.append((_safe(name), *figures.pace(found.camera), figures.energy(found.energy_mj)))
    if rate or source:
        title = f"At {rate} frames a second" + (", and energy" if source else "") if rate else "Energy"
        measured = f"\n\nEnergy is of one inference back to back, measured at {_safe(source)}." if source else ""
        yield title, "\n".join(" | ".join(row) for row in rows) + measured


def _fold(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"


def _mark(status: str) -> str:
    return {"met": ":white_check_mark:", "missed": ":x:"}.get(status, ":grey_question:")


def _safe(text: str) -> str:
    """Return text from outside as plain text: without HTML, markup, links, cell or line breaks, or mentions."""
    text = " ".join(plain(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return LINKS.sub(PARTED, re.sub(r"([\\`*_\[\]|#~!$])", r"\\\1", text))
