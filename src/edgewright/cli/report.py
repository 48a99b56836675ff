"""`edgewright report`: print a report, or write it in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from edgewright.cli import options as o


def report(
    path: o.ReportArgument,
    out: Annotated[
        Path | None,
        o.out("Write this .md or .html file instead.", "FILE"),
    ] = None,
) -> None:
    """Print a report as a table, or write it as Markdown or HTML.

    Use Markdown in a pull request. HTML is one file that needs no network.

        edgewright report out/
        edgewright report out/report.json -o report.html
    """
    from edgewright.bench import report_files
    from edgewright.cli import console

    found = report_files.read_report(path)
    if out is None:
        import edgewright.bench.console as table

        table.show(found, console.output())
    else:
        report_files.write_report(found, out)
