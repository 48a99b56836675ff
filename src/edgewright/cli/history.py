"""`edgewright history`: the figures of a model over commits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgewright.cli import options as o
from edgewright.cli.help_page import Command, Group

if TYPE_CHECKING:
    from edgewright.bench.history import Run

app = typer.Typer(
    cls=Group, no_args_is_help=True, help="Keep the figures of a model over commits, and show when they changed."
)
HistoryArgument = Annotated[
    str,
    typer.Argument(
        metavar="HISTORY", rich_help_panel=o.IN,
        help="A .jsonl file, or a folder or URL (https, s3, gs) with one file for each run.",
    ),
]  # fmt: skip


@app.command(cls=Command)
def add(
    report: o.ReportArgument,
    history: HistoryArgument,
    commit: Annotated[
        str | None,
        typer.Option(metavar="SHA", help="The commit of the model. Default: that of the CI job, else of git here."),
    ] = None,
    branch: Annotated[str | None, typer.Option(metavar="NAME", help="The branch. Default: as for --commit.")] = None,
) -> None:
    """Add the chosen variant of a report to a history.

    A .jsonl file gets a line. A folder or an object store gets a file.

        edgewright history add out/ history.jsonl
        edgewright history add out/ s3://bucket/history
    """
    from edgewright.bench import history as histories
    from edgewright.bench import report_files
    from edgewright.cli import console

    found = report_files.read_report(report)
    known = histories.commit_of(Path.cwd())
    run = histories.run_of(found, known[0] if commit is None else commit, known[1] if branch is None else branch)
    written = histories.append(history, run)
    console.output().print_line(f"added {run.variant} of {run.commit[:12] or 'no commit'} to {written}")


@app.command(cls=Command)
def show(
    history: HistoryArgument,
    last: Annotated[int, typer.Option(min=1, metavar="N", help="Print only the last N runs.")] = 20,
    as_json: o.JsonOption = False,
) -> None:
    """Print the runs of a history, and when a figure changed.

    A change needs at least five runs on each side. Times are compared only between runs on equal machines.

        edgewright history show history.jsonl
    """
    from rich.table import Table

    from edgewright.bench import history as histories
    from edgewright.cli import console

    found = histories.read(history)
    names, found_changes = histories.names(found.runs), _changes(found.runs)
    if as_json:
        console.print_json({"runs": found.runs, "changes": found_changes, "skipped": found.skipped})
        return
    screen, columns = console.output(), [name for name in _columns(found.runs) if name in names]
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("time")
    table.add_column("commit")
    table.add_column("machine")
    for name in columns:
        table.add_column(f"{name} {names[name].unit}", justify="right")
    new = {0, *histories.machine_changes(found.runs)}
    for number, run in list(enumerate(found.runs))[-last:]:
        mark = run.machine if number in new or number == len(found.runs) - last else '"'
        cells = [_cell(run, name) for name in columns]
        table.add_row(run.time[:16].replace("T", " "), run.commit[:8], console.line(mark), *cells)
    screen.print(table)
    rows = [("changed", console.line(change["text"])) for change in found_changes]
    rows += [("warning", console.line(f"not read: {text}")) for text in found.skipped]
    console.print_rows(screen, rows)


@app.command(cls=Command)
def plot(
    history: HistoryArgument,
    out: Annotated[Path, o.out("The HTML file to write.", "FILE")] = Path("history.html"),
) -> None:
    """Write an HTML page with a plot of each figure over the runs. The page needs no network.

        edgewright history plot history.jsonl -o history.html
    """  # fmt: skip
    from edgewright.bench import history as histories
    from edgewright.bench import html
    from edgewright.cli import console
    from edgewright.core import files

    path = files.absolute(out)
    files.require_writable_file(path, "Name another path: -o PATH")
    files.write(path, html.history(histories.read(history).runs))
    console.output().print_line(f"wrote {path}")


def _columns(runs: tuple[Run, ...]) -> list[str]:
    from edgewright import tasks

    score = tasks.get(runs[-1].task).metric.SCORES[0].name if runs else ""
    return [score, "p50", "p90", "size", "memory"]


def _cell(run: Run, name: str) -> str:
    from edgewright.bench import figures

    figure = run.figures.get(name)
    if figure is None:
        return ""
    if figure.unit == "bytes":
        return figures.size(figure.value)
    doubt = "~" if run.unreliable and figure.unit == "ms" else ""
    return doubt + (figures.ms(figure.value) if figure.unit == "ms" else f"{figure.value:.2f}")


def _changes(runs: tuple[Run, ...]) -> list[dict[str, Any]]:
    from edgewright.bench import history as histories

    return [
        {
            "figure": name, "commit": runs[change.at].commit, "time": runs[change.at].time, "before": change.before,
            "after": change.after, "p": change.p, "worse": histories.is_worse(change, figure),
            "text": histories.describe(change, name, figure, runs),
        }
        for name, figure in histories.names(runs).items()
        for change in histories.changes(runs, name)
    ]  # fmt: skip
