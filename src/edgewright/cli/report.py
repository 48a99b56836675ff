"""`edgewright report`: print a report, or write it in another format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgewright.cli import options as o
from edgewright.core.errors import UsageError

if TYPE_CHECKING:
    from edgewright.bench.results import Report


def report(
    path: o.ReportArgument,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="NAME",
            rich_help_panel=o.OUT,
            help="Write this format: junit, github-summary, github-annotations, pull-request, gitlab-metrics, "
            "gitlab-codequality, pytest-benchmark, benchmark-action or bencher. Can be repeated.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        o.out("Write to this .md or .html file. With --format: to this folder; - prints.", "PATH"),
    ] = None,
) -> None:
    """Print a report as a table, or write it in another format.

    Use Markdown in a pull request. HTML is one file that needs no network. CI systems and benchmark tools read the
    formats of --format. Their files go to the folder of the report, if -o names no other.

        edgewright report out/
        edgewright report out/report.json -o report.html
        edgewright report out/ --format junit --format gitlab-metrics
        edgewright report out/ --format github-annotations -o -
    """  # fmt: skip
    from edgewright.bench import report_files
    from edgewright.cli import console

    found = report_files.read_report(path)
    if formats:
        _write(found, formats, path, out)
    elif out is None:
        import edgewright.bench.console as table

        table.show(found, console.output())
    else:
        report_files.write_report(found, out)


def _write(found: Report, formats: list[str], path: Path, out: Path | None) -> None:
    from edgewright.bench import report_files
    from edgewright.bench.report_formats import render
    from edgewright.cli import console

    if out == Path("-"):
        contents = render(found, formats)
        if len(contents) != 1:
            raise UsageError(
                f"-o - was given for {len(contents)} files: {', '.join(contents)}.", "Only one file can be printed.",
                "Name one format, or a folder: -o DIR",
            )  # fmt: skip
        for line in "".join(contents.values()).splitlines():
            console.output().print_line(line)
        return
    for written in report_files.write_formats(found, formats, out or (path if path.is_dir() else path.parent)):
        console.output().print_line(f"wrote {written}")
