"""Reports by their file names: read, write in another format, and check with the gate. Independent of the pipeline."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path

from edgewright.core import files
from edgewright.core.errors import UsageError

from . import budget as budgets
from . import report_formats, report_json
from .baseline import Part
from .budget import Budget
from .gate import Gate
from .gate import gate as check
from .results import Report

PathLike = str | os.PathLike[str]
ANOTHER = "Name another path: -o PATH"
WRITERS = {".json": "report_json", ".md": "markdown", ".html": "html"}
"""The modules that write the formats, by file extension."""


def read_report(path: PathLike) -> Report:
    """Read the report `path`, a ``report.json`` or its folder. Raises `InvalidInput` for other files."""
    where = files.absolute(path)
    return report_json.read(where / "report.json" if where.is_dir() else where)


def write_report(report: Report, out: PathLike) -> None:
    """Write `report` to the file `out` in the format of its extension: .json, .md or .html.

    Raises `UsageError` for another extension.
    """
    path = files.absolute(out)
    writer = WRITERS.get(path.suffix)
    if writer is None:
        raise UsageError(
            f"A report cannot be written as '{path.suffix}'.", "Formats: .json, .md, .html.", "Change the ending."
        )
    files.require_writable_file(path, ANOTHER)
    importlib.import_module(f"{__package__}.{writer}").write(report, path)


def write_formats(report: Report, names: Sequence[str], folder: PathLike) -> list[Path]:
    """Write `report` to `folder` in the formats `names` (see `report_formats.FORMATS`), and return the files.

    Raises `UsageError` for an unknown name.
    """
    where = files.absolute(folder)
    contents = report_formats.render(report, names)
    where.mkdir(parents=True, exist_ok=True)
    for name, text in contents.items():
        files.write(where / name, text)
    return [where / name for name in contents]


def gate(
    report: PathLike, *, budget: str | None = None, baseline: PathLike | None = None, compare: Part | None = None
) -> Gate:  # fmt: skip
    """Check the chosen artifact of `report` against a budget and, if `baseline` is given, against an earlier report.

    `report`, `baseline`: a ``report.json`` or its folder. `budget`: default the budget of the report. `compare`: the
    part that is compared with the baseline, default all. Returns the checks; a failed check is returned, not raised.
    Raises `UsageError` if there is nothing to check, `InvalidInput` for a file that is no report.
    """
    found = read_report(report)
    text = found.budget if budget is None else budget
    limits = Budget() if budget is None and not text.strip() else budgets.parse(text)
    return check(found, limits, read_report(baseline) if baseline is not None else None, compare=compare)
