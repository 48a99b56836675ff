"""`edgewright run`: a bundle on images, on a device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli import options as o


def run(
    bundle: Annotated[Path, typer.Argument(rich_help_panel=o.IN, help="A bundle (.edge folder).")],
    images: Annotated[list[Path], typer.Argument(rich_help_panel=o.IN, help="Image files.")],
    top: Annotated[int, typer.Option(min=1, metavar="N", rich_help_panel=o.OUT, help="Labels to print per image.")] = 3,
    score: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, metavar="X", rich_help_panel=o.OUT, help="Lowest score of a detection, from 0 to 1."
        ),
    ] = None,
    save_images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", rich_help_panel=o.OUT, help="Folder for images with the answers drawn on them."),
    ] = None,
    trust_plan: Annotated[
        bool,
        typer.Option(
            "--trust-plan", rich_help_panel=o.IN, help="Load a TensorRT plan of another machine. It is native code."
        ),
    ] = False,
    as_json: o.JsonOption = False,
) -> None:
    """Classify images, or detect objects in them, with a bundle.

    The command needs only the runtime of the bundle, not torch.

        edgewright run resnet18.edge photo.jpg
        edgewright run detector.edge street.jpg --save-images drawn/
    """
    from edgewright.cli.answer import answer, opened

    answer(opened(bundle, trust_plan), images, top, score, save_images, as_json)
