"""Write and read ``report.json``. Writing is atomic; reading checks the schema version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from edgewright.core import files
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import encode

from .report_upgrade import upgrade
from .results import SCHEMA_VERSION, Report


def render(report: Report) -> str:
    """Return the report as indented JSON."""
    return encode(report).decode()


def write(report: Report, path: Path) -> None:
    """Write the report to `path`, atomically."""
    files.write(path, render(report))


def read(path: Path) -> Report:
    """Read a report. Raises `InvalidInput` if it is missing, not a report, or of a newer schema version."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be read: {error.strerror}.", "A report is a file report.json.", "Check the path."
        ) from None
    report = parse(content, str(path))
    if wrong := _contradiction(report):
        raise InvalidInput(
            f"{path} contradicts itself: {wrong}.",
            f"Its measurements: {', '.join(found.id for found in report.measurements[:8]) or 'none'}.",
            "Write the report again.",
        )
    return report


def parse(content: bytes, what: str) -> Report:
    """Parse a report's JSON, of this or an older schema version. Raises `InvalidInput` for anything else."""
    try:
        said = msgspec.json.decode(content, type=dict[str, Any])
        version = msgspec.convert(said.get("schema_version", 1), int)
        if version > SCHEMA_VERSION:
            raise InvalidInput(
                f"{what} has schema version {version}.",
                f"This edgewright reads versions up to {SCHEMA_VERSION}.",
                "Update edgewright: pip install -U edgewright",
            )
        return msgspec.convert(upgrade(said) if version < SCHEMA_VERSION else said, Report)
    except msgspec.MsgspecError as error:
        raise InvalidInput(
            f"{what} is not valid: {error}.",
            "It must be the JSON of a Report.",
            "Give a report.json that edgewright wrote, or the folder that holds it.",
        ) from None


def _contradiction(report: Report) -> str:
    ids = [found.id for found in report.measurements]
    if len(set(ids)) < len(ids):
        return "two measurements have one id"
    named = report.choice.id if report.choice else None
    return f"its choice '{named}' is no measurement" if named and named not in ids else ""
