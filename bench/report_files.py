"""Reports by their files, as a user names them: read, written in another format, gated. Without the pipeline."""

from __future__ import annotations

import importlib
import os

from edgewright.core import files
from edgewright.core.errors import UsageError

from . import budget as budgets
from . import report_json
from .baseline import Part
from .budget import Budget
from .gate import Gate
from .gate import gate as check
from .results import Report

PathLike = str | os.PathLike[str]
ANOTHER = "Name another path: -o PATH"
WRITERS = {".json": "report_json", ".md": "markdown", ".html": "html"}
"""The module that writes a format, by the ending of its files."""


def read_report(path: PathLike) -> Report:
    """The report in a ``report.json``, or in the folder that holds one."""
    where = files.absolute(path)
    return report_json.read(where / "report.json" if where.is_dir() else where)


def write_report(report: Report, out: PathLike) -> None:
    """Write the report as .json, .md or .html, by the file's ending."""
    path = files.absolute(out)
    writer = WRITERS.get(path.suffix)
    if writer is None:
        raise UsageError(
            f"A report cannot be written as '{path.suffix}'.", "Formats: .json, .md, .html.", "Change the ending."
        )
    files.require_writable_file(path, ANOTHER)
    importlib.import_module(f"{__package__}.{writer}").write(report, path)


def gate(
    report: PathLike, *, budget: str | None = None, baseline: PathLike | None = None, compare: Part | None = None
) -> Gate:  # fmt: skip
    """Check the chosen artifact of a report against a budget and, where given, against an earlier report.

    `budget`: default the report's own. `compare`: the part that is compared with the baseline (default both). What is
    wrong is in what comes back; see `bench.gate`.
    """
    found = read_report(report)
    text = found.budget if budget is None else budget
    limits = Budget() if budget is None and not text.strip() else budgets.parse(text)
    return check(found, limits, read_report(baseline) if baseline is not None else None, compare=compare)
