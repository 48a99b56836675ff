"""``report.json``: written whole or not at all, read with its version checked."""

from __future__ import annotations

from pathlib import Path

from edgewright.core import files
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import decode, encode

from .results import Report


def render(report: Report) -> str:
    """The report as indented JSON."""
    return encode(report).decode()


def write(report: Report, path: Path) -> None:
    """Write the report to `path`, atomically."""
    files.write(path, render(report))


def read(path: Path) -> Report:
    """Read a report; `InvalidInput` where it is missing, no report, or of a newer schema version."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be read: {error.strerror}.", "A report is a file report.json.", "Check the path."
        ) from None
    report = decode(content, Report, str(path))
    if wrong := _contradiction(report):
        raise InvalidInput(
            f"{path} contradicts itself: {wrong}.",
            f"Its measurements: {', '.join(found.id for found in report.measurements[:8]) or 'none'}.",
            "Write the report again.",
        )
    return report


def _contradiction(report: Report) -> str:
    ids = [found.id for found in report.measurements]
    if len(set(ids)) < len(ids):
        return "two measurements have one id"
    named = report.choice.id if report.choice else None
    return f"its choice '{named}' is no measurement" if named and named not in ids else ""
