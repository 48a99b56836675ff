"""`edgewright run`: a bundle on images, on a device."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgewright.cli import options as o
from edgewright.core.errors import UsageError

if TYPE_CHECKING:
    from edgewright.vision.detection import Detections


def run(
    bundle: Annotated[Path, typer.Argument(help="A bundle (.edge folder).")],
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    top: Annotated[int, typer.Option(min=1, help="How many labels to show for each image.")] = 3,
    score: Annotated[float | None, typer.Option(min=0, max=1, help="Least score of a detection.")] = None,
    save_images: Annotated[Path | None, typer.Option(help="Folder for the images with their boxes drawn.")] = None,
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
    from edgewright.cli import console

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        opened = edgewright.open(bundle, trust_plan=trust_plan)
    for warning in caught:
        console.print_warning(str(warning.message))
    with opened as session:
        detector = session.spec.detect is not None
        if not detector and (score is not None or save_images is not None):
            raise UsageError(f"{bundle} is a classifier.", "It gives no boxes.", "Leave out --score and --save-images.")
        answers, turn = session(list(images), score), session.spec.preprocess.turns
    if detector:
        _show_boxes(images, answers, save_images, turn, as_json)
        return
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
        label = ("bold", first.label)
        screen.print_line(f"{path.name:<{width}}  ", label, f" {first.score:.1%}", ("dim", others))


def _show_boxes(images: list[Path], answers: list[Detections], drawn: Path | None, turn: bool, as_json: bool) -> None:
    from edgewright.cli import console
    from edgewright.vision.draw import save

    saved = save(images, answers, drawn, turn) if drawn else {}
    if as_json:
        found = [
            [{"label": d.label, "index": d.index, "score": d.score, "box": list(d.box)} for d in answer]
            for answer in answers
        ]
        console.print_json([{"image": str(path), "boxes": boxes} for path, boxes in zip(images, found)])
        return
    screen = console.output()
    for path, answer in zip(images, answers):
        where = f"  {saved[path]}" if path in saved else ""
        screen.print_line(f"{path.name}  ", ("bold", str(len(answer))), " objects", ("dim", where))
        for d in answer:
            corners = " ".join(f"{value:7.1f}" for value in d.box)
            screen.print_line(f"  {d.label:<16} {d.score:6.1%}  ", ("dim", corners))
