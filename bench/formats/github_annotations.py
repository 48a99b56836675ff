"""Workflow commands that show errors and warnings on GitHub's page of a run: ``annotations.txt``.

GitHub reads them from the standard output of a step, and shows ten of each kind.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgewright.bench import figures
from edgewright.bench.results import Report
from edgewright.core.text import one_line

from . import values

FILE, MOST = "annotations.txt", 10


def render(report: Report) -> dict[str, str]:
    """Return one line for each error and warning, the errors first, at most ten of each kind."""
    found = list(_found(report))
    lines = []
    for level in ("error", "warning", "notice"):
        same = [(title, text) for kind, title, text in found if kind == level]
        for title, text in same[:MOST]:
            lines.append(f"::{level} title={_property(title)}::{_data(text)}")
    return {FILE: "".join(f"{line}\n" for line in lines)}


def _found(report: Report) -> Iterator[tuple[str, str, str]]:
    """Yield (level, title, text)."""
    for finding in figures.alarms(report):
        yield finding.level, f"edgewright: {finding.code}", figures.sentence(finding)
    for found in report.measurements:
        if not values.ships(found, report):
            continue
        for term in found.budget:
            status, why = values.outcome(term, found, report)
            if status != "passed":
                level = "error" if status == "failed" else "warning"
                yield level, f"edgewright: {found.id}: {term.text}", why
        for finding in found.findings:
            if finding.level in ("error", "warning"):
                yield finding.level, f"edgewright: {found.id}: {finding.code}", figures.sentence(finding)
    if report.choice and report.choice.id is None:
        yield "error", "edgewright: no variant is chosen", report.choice.why
    elif report.choice:
        yield "notice", f"edgewright: {report.choice.id}", report.choice.why


def _data(text: str) -> str:
    return one_line(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
