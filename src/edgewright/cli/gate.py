"""`edgewright gate`: an exit code for CI."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli import options as o
from edgewright.core.errors import GateFailed, NotCompared


class Compared(str, Enum):
    """What is compared with the baseline."""

    accuracy = "accuracy"
    latency = "latency"


def gate(
    path: Annotated[Path, typer.Argument(metavar="REPORT", help="A report.json, or the folder that holds it.")],
    budget: Annotated[str | None, typer.Option(help="Budget to check; default: the report's own.")] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="An earlier report: fail where the choice got slower or worse.")
    ] = None,
    compare: Annotated[
        Compared | None, typer.Option(help="Compare this alone with the baseline; default: accuracy and latency.")
    ] = None,
    as_json: o.JsonOption = False,
) -> None:
    """Exit with 1 if the chosen artifact misses the budget, or got slower or worse than in an earlier report.

    Exits with 9 if nothing failed, but accuracy or latency could not be compared: another model, data
    set or machine, or no results for each image.

    [dim]edgewright gate out/ --budget "top1 >= -1.0, p95 <= 10ms"
    edgewright gate out/ --baseline main/report.json[/]
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
        lines += [("not compared", f"{reason.why}. {reason.fix}") for reason in verdict.not_compared]
        lines += [("note", text) for text in verdict.notes]
        for status, text in lines:
            colour = {"met": "green", "missed": "red", "failed": "red"}.get(status, "yellow")
            screen.print_line((colour, f"{status:>12}"), f"  {text}")
        colour = {"passed": "green", "failed": "red"}.get(verdict.verdict, "yellow")
        screen.print_line((colour, verdict.verdict), ("dim", f" {verdict.id or ''}"))
    if not verdict.passed:
        raise typer.Exit((GateFailed if verdict.verdict == "failed" else NotCompared).exit_code)
