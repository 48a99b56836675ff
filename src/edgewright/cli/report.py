"""`edgewright report`: show a report, or write it in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    path: Annotated[Path, typer.Argument(metavar="REPORT", help="A report.json, or the folder that holds it.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write to a .md or .html file instead.")] = None,
) -> None:
    """Show a report as a table, or write it as Markdown (for a pull request) or as one HTML file.

    [dim]edgewright report out/
    edgewright report out/report.json -o report.html[/]
    """
    from edgewright.bench import report_files
    from edgewright.cli import console

    found = report_files.read_report(path)
    if out is None:
        import edgewright.bench.console as table

        table.show(found, console.output())
    else:
        report_files.write_report(found, out)
