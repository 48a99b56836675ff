"""`edgewright audit`: what a mean accuracy does not show of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli import options as o

COLOURS = {"ok": "green", "note": "dim", "warning": "yellow", "error": "red"}


def audit(
    file: Annotated[Path, typer.Argument(help="An .onnx file of `edgewright export` or `quantize`, or a bundle.")],
    data: Annotated[Path, typer.Option("--data", help="Images of the kind that the model will see.")],
    reference: Annotated[
        Path | None, typer.Option(help="The float .onnx file: whether confidence moved against it.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of --data (default: val, else test).")] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Folder of the calibration images (default: calib or train split of --data).")
    ] = None,
    isa: o.IsaOption = None,
    runtime: Annotated[
        str | None, typer.Option(help="onnxruntime (default) or openvino; a bundle has its own.")
    ] = None,
    num_images: Annotated[int, typer.Option(min=1, help="Images to answer.")] = 64,
    strict: o.StrictOption = False,
    as_json: o.JsonOption = False,
) -> None:
    """Check a file for [bold]silent degradation[/]: precision that really runs, batches, confidence, 16-bit sums.

    Each check has a name, a level and a figure. docs/reference/audit.md explains them. An error ends with the exit
    code of its kind: 1 for lost answers, 3 for leaked images, 6 for a runtime that computes something else.

    [dim]edgewright audit resnet18.int8.onnx --data photos/ --reference resnet18.onnx
    edgewright audit resnet18.int8.onnx --data photos/ --isa avx2[/]
    """
    from rich.table import Table

    from edgewright import api
    from edgewright.bench.audit import error
    from edgewright.cli import console, watcher

    with watcher.Watcher() as watch:
        found = api.audit(
            file, data=data, split=split, calibration=calibration, reference=reference, isa=o.words(isa),
            runtime=runtime, num_images=num_images, strict=strict, watch=watch,
        )  # fmt: skip
    if as_json:
        console.print_json(found)
    else:
        table = Table(box=None, show_header=False, pad_edge=False)
        for _ in range(2):
            table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for finding in (*found.findings, *found.passed):
            level = console.line((COLOURS[finding.level], finding.level))
            table.add_row(level, finding.code, console.line(finding.text))
        console.output().print(table)
    if wrong := error(found.findings):
        raise wrong
