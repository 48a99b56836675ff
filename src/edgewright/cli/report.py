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
    import edgewright.bench.console as table
    from edgewright import api
    from edgewright.cli import console

    found = api.read_report(path)
    if out is None:
        table.show(found, console.output())
    else:
        api.write_report(found, out)
