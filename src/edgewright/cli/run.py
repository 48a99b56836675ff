"""`edgewright run`: a bundle on images, on a device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli import options as o


def run(
    bundle: Annotated[Path, typer.Argument(help="A bundle (.edge folder).")],
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    top: Annotated[int, typer.Option(min=1, help="How many labels to show for each image.")] = 3,
    score: Annotated[float | None, typer.Option(min=0, max=1, help="Least score of a detection.")] = None,
    save_images: Annotated[Path | None, typer.Option(help="Folder for the images with their answers drawn.")] = None,
    trust_plan: Annotated[
        bool, typer.Option("--trust-plan", help="Load a TensorRT plan that another machine built: it is native code.")
    ] = False,
    as_json: o.JsonOption = False,
) -> None:
    """Classify images, or find the objects in them. Needs no torch: only the bundle's runtime.

    [dim]edgewright run resnet18.edge photo.jpg
    edgewright run detector.edge street.jpg --save-images drawn/[/]
    """
    from edgewright.cli.answer import answer, opened

    answer(opened(bundle, trust_plan), images, top, score, save_images, as_json)
