"""`edgewright gate`: an exit code for CI."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli import options as o


def gate(
    path: Annotated[Path, typer.Argument(metavar="REPORT", help="A report.json, or the folder that holds it.")],
    budget: Annotated[str | None, typer.Option(help="Budget to check; default: the report's own.")] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="An earlier report: fail where the choice got slower or worse.")
    ] = None,
    as_json: o.JsonOption = False,
) -> None:
    """Exit with 1 if the chosen artifact misses the budget, or got slower or worse than in an earlier report.

    [dim]edgewright gate out/ --budget "top1 >= -1.0, p95 <= 10ms"
    edgewright gate out/ --baseline main/report.json[/]
    """
    from rich.markup import escape

    from edgewright import api
    from edgewright.bench import budget as budgets
    from edgewright.cli import console

    verdict = api.gate(path, budget=budget, baseline=baseline)
    if as_json:
        console.print_json(verdict)
    else:
        screen = console.output()
        lines: list[tuple[str, str]] = [(term.status, budgets.describe(term)) for term in verdict.terms]
        described = {text for _, text in lines}
        lines += [("failed", text) for text in verdict.failures if text not in described]
        lines += [("note", text) for text in verdict.notes]
        for status, text in lines:
            colour = {"met": "green", "missed": "red", "failed": "red"}.get(status, "yellow")
            screen.print(f"[{colour}]{status:>8}[/]  {escape(text)}", soft_wrap=True)
        screen.print("[green]passed[/]" if verdict.passed else "[red]not passed[/]", f"[dim]{verdict.id or ''}[/]")
    if not verdict.passed:
        raise typer.Exit(1)
