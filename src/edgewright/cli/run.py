"""`edgewright run`: a bundle on images, on a device."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli import options as o
from edgewright.core.errors import InvalidInput, UsageError


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
    import edgewright
    from edgewright import tasks
    from edgewright.cli import console

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        opened = edgewright.open(bundle, trust_plan=trust_plan)
    for warning in caught:
        console.print_warning(str(warning.message))
    with opened as session:
        task, spec = tasks.of(session.spec), session.spec
        try:
            task.decode.threshold(spec, score)
        except InvalidInput as error:
            raise UsageError(error.what, error.why, "Leave out --score.") from error
        answers = session(list(images), score)
    saved: dict[Path, Path] = {}
    if save_images:
        from edgewright.vision.draw import save

        saved = save(task.draw.draw, images, answers, save_images, spec.preprocess.turns)
    if as_json:
        console.print_json([{"image": str(path), **answer.to_json(top)} for path, answer in zip(images, answers)])
        return
    screen = console.output()
    width = max(len(path.name) for path in images)
    for path, answer in zip(images, answers):
        first, *rest = answer.lines(top)
        where = [("dim", f"  {saved[path]}")] if path in saved else []
        screen.print_line(f"{path.name:<{width}}  ", *first, *where)
        for line in rest:
            screen.print_line(*line)
