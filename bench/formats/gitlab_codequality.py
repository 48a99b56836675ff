"""Findings of the audit for GitLab's ``artifacts:reports:codequality``: ``gl-code-quality.json``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from edgewright.bench import figures
from edgewright.bench.results import Finding, Report
from edgewright.core.text import one_line

from . import values

FILE = "gl-code-quality.json"
_SEVERITY = {"error": "critical", "warning": "major"}


def render(report: Report) -> dict[str, str]:
    """Return the errors and warnings of the data, of the reference, and of the variant that ships."""
    found = [_entry(report, id, finding) for id, finding in _findings(report)]
    return {FILE: msgspec.json.format(msgspec.json.encode(found), indent=1).decode() + "\n"}


def _findings(report: Report) -> Iterator[tuple[str, Finding]]:
    yield from (("data", finding) for finding in figures.alarms(report))
    for found in report.measurements:
        if values.ships(found, report):
            yield from ((found.id, one) for one in found.findings if one.level in _SEVERITY)


def _entry(report: Report, id: str, found: Finding) -> dict[str, Any]:
    # Without figures, which differ in every run: the same finding keeps its fingerprint.
    fingerprint = hashlib.sha256("\0".join((report.model.name, report.target.name, id, found.code)).encode())
    return {
        "description": one_line(f"{id}: {figures.sentence(found)}"),
        "check_name": f"edgewright/{found.code}",
        "fingerprint": fingerprint.hexdigest(),
        "severity": _SEVERITY[found.level],
        "location": {"path": one_line(report.model.source or report.model.name), "lines": {"begin": 1}},
    }
