"""Arguments that several verbs share, and how the outcome of the main job is shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgewright.api import Outcome

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="timm:NAME, torchvision:NAME, torch:package.module:factory (options after '?', e.g. "
        "timm:resnet18?num_classes=10), or the path of an .onnx file.",
    ),
]
CheckpointOption = Annotated[
    Path | None, typer.Option(help="Trained weights: safetensors, or a .pt/.pth that loads with weights_only.")
]
SpecOption = Annotated[
    Path | None, typer.Option(help="TOML with what the source does not know: preprocessing, labels (ModelSpec).")
]
TrustOption = Annotated[
    bool, typer.Option("--trust-checkpoint", help="Load a pickle that can run code. Only for files that you made.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines on standard output.")]


def show_outcome(outcome: Outcome, as_json: bool) -> None:
    """Print the report (table or JSON) and where things lie; exit 1 where nothing meets the budget."""
    import edgewright.bench.console as table
    from edgewright.cli import console

    if as_json:
        console.print_json(outcome.report)
    else:
        out = console.output()
        table.show(outcome.report, out)
        for name, path in outcome.files.items():
            out.print(f"[dim]{name:>8}[/]  {path}", soft_wrap=True)
    if outcome.missed is not None:
        raise outcome.missed
