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
    as_json: o.JsonOption = False,
) -> None:
    """Classify images with a bundle. Needs no torch: only the bundle's runtime.

    [dim]edgewright run resnet18.edge photo.jpg[/]
    """
    import edgewright
    from edgewright.cli import console

    with edgewright.open(bundle) as session:
        answers = session(list(images))
    if as_json:
        console.print_json(
            [
                {
                    "image": str(path),
                    "top": [{"label": p.label, "index": p.index, "score": p.score} for p in a.top[:top]],
                }
                for path, a in zip(images, answers)
            ]
        )
        return
    screen = console.output()
    width = max(len(path.name) for path in images)
    for path, answer in zip(images, answers):
        first, *rest = answer.top[:top]
        others = "".join(f", {p.label} {p.score:.1%}" for p in rest)
        screen.print(f"{path.name:<{width}}  [bold]{first.label}[/] {first.score:.1%}[dim]{others}[/]", soft_wrap=True)
