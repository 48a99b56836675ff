"""`edgewright export`: a trained model as ONNX, checked against the original."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli import options as o


def export(
    source: o.SourceArgument,
    out: Annotated[Path, o.out("The .onnx file to write.", "FILE")],
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", rich_help_panel=o.IN, help="Images for the parity check. Default: random input."),
    ] = None,
    checkpoint: o.CheckpointOption = None,
    spec: o.SpecOption = None,
    batch: Annotated[
        int, typer.Option(min=0, metavar="N", rich_help_panel=o.OUT, help="Batch size; 0 for a dynamic one.")
    ] = 1,
    trust_checkpoint: o.TrustOption = False,
    as_json: o.JsonOption = False,
) -> None:
    """Export a trained model to ONNX and check it against the original.

    The file contains the preprocessing and the labels. The parity check compares its outputs with those of the
    original on the same images.

        edgewright export timm:resnet18 --data photos/ -o resnet18.onnx
        edgewright export "torch:mymodels.net:build?width=32" --checkpoint net.pt --spec net.toml -o net.onnx
    """
    from edgewright import api
    from edgewright.cli import console, watcher

    with watcher.Watcher() as watch:
        parity = api.export(
            source, out=out, data=data, checkpoint=checkpoint, spec=spec, batch=batch or None,
            trust_checkpoint=trust_checkpoint, watch=watch,
        )  # fmt: skip
    if as_json:
        console.print_json(parity)
    else:
        measures = ", ".join(f"{name} {m['value']:.6g}" for name, m in parity["measures"].items())
        images = "random images" if parity["images"] == "random" else f"{len(parity['images'])} images"
        rows = {"model": str(out), "parity": f"with {parity['reference']} on {images}: {measures}"}
        shown = [(word, console.line(text)) for word, text in rows.items()]
        console.print_rows(console.output(), [*shown, *(("note", console.line(note)) for note in parity["notes"])])
