"""`edgewright run`: a bundle on images, on a device."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli import options as o
from edgewright.core.errors import UsageError


class Format(str, Enum):
    """How answers are printed."""

    text = "text"
    json = "json"
    ultralytics = "ultralytics"
    coco = "coco"


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
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            rich_help_panel=o.OUT,
            help="Folder for the answers as files: depth maps (.npy, .png), restored images (.png), else .json.",
        ),
    ] = None,
    trust_plan: Annotated[
        bool,
        typer.Option(
            "--trust-plan", rich_help_panel=o.IN, help="Load a TensorRT plan of another machine. It is native code."
        ),
    ] = False,
    written: Annotated[
        Format | None,
        typer.Option(
            "--format",
            rich_help_panel=o.OUT,
            help="text (default), json, ultralytics (the rows of Results.summary()), or coco (COCO's results).",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", rich_help_panel=o.OUT, help="The same as --format json.")] = False,
) -> None:
    """Classify images, or detect objects in them, with a bundle.

    The command needs only the runtime of the bundle, not torch.

        edgewright run resnet18.edge photo.jpg
        edgewright run detector.edge street.jpg --save-images drawn/
        edgewright run detector.edge street.jpg --format coco
    """
    from edgewright.cli.answer import answer, opened

    if as_json and written not in (None, Format.json):
        raise UsageError(
            f"--json and --format {written.value} were given.", "They exclude each other.", "Leave out one of them."
        )
    form = Format.json if as_json else written or Format.text
    answer(opened(bundle, trust_plan), images, top, score, save_images, form.value, save)
