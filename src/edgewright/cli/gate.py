"""`edgewright gate`: an exit code for CI."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli import options as o
from edgewright.core.errors import GateFailed, NotCompared


class Compared(str, Enum):
    """What a gate compares with the baseline."""

    accuracy = "accuracy"
    latency = "latency"


def gate(
    path: o.ReportArgument,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TERMS", rich_help_panel=o.GOAL, help="Budget to check. Default: the budget of the report."
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            metavar="REPORT",
            rich_help_panel=o.GOAL,
            help="An earlier report: fail if the chosen variant is slower or worse than in it.",
        ),
    ] = None,
    compare: Annotated[
        Compared | None,
        typer.Option(rich_help_panel=o.GOAL, help="Compare only this with the baseline. Default: both."),
    ] = None,
    as_json: o.JsonOption = False,
) -> None:
    """Exit with 1 if the chosen variant is over budget, or slower or worse than in an earlier report.

    The exit code is 9 if nothing failed, but accuracy or latency could not be compared. The reason is another model,
    data set or machine, or a report without per-image results.

        edgewright gate out/ --budget "top1 >= -1.0, p95 <= 10ms"
        edgewright gate out/ --baseline main/report.json
    """
    from edgewright.bench import budget as budgets
    from edgewright.bench import report_files
    from edgewright.cli import console

    verdict = report_files.gate(path, budget=budget, baseline=baseline, compare=compare.value if compare else None)
    if as_json:
        console.print_json(verdict)
    else:
        screen = console.output()
        lines: list[tuple[str, str]] = [(term.status, budgets.describe(term)) for term in verdict.terms]
        described = {text for _, text in lines}
        lines += [("failed", text) for text in verdict.failures if text not in described]
        lines += [
            ("not compared", f"{reason.why.replace(' not compared', '', 1)}. {reason.fix}")
            for reason in verdict.not_compared
        ]
        lines += [("note", text) for text in verdict.notes]
        color = {"passed": "bold green", "failed": "bold red"}.get(verdict.verdict, "bold yellow")
        of = f" ({verdict.id})" if verdict.id else ""
        rows = [(status, console.line(text)) for status, text in lines]
        console.print_rows(screen, [*rows, ("verdict", console.line((color, verdict.verdict), of))])
    if not verdict.passed:
        raise typer.Exit((GateFailed if verdict.verdict == "failed" else NotCompared).exit_code)
