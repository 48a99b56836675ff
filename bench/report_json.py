"""``report.json``: written whole or not at all, read with its version checked."""

from __future__ import annotations

from pathlib import Path

from edgewright.bench.results import Report
from edgewright.core import files
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import decode, encode


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
    return decode(content, Report, str(path))
