"""`edgewright demo`: the embedded defaults."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgewright.cli import options as o

if TYPE_CHECKING:
    from edgewright.api import Outcome


class Task(str, Enum):
    """What the demo's model does."""

    classify = "classify"
    detect = "detect"


def demo(
    task: Annotated[
        Task, typer.Option(help="A classifier of digits, or a detector of digits in scenes.")
    ] = Task.classify,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Folder for the model, report and bundle (build/demo, or build/demo-detect)."),
    ] = None,
    as_json: o.JsonOption = False,
) -> None:
    """Run the [bold]whole main job[/] on a small model and real handwritten digits, with no network.

    The digits ship inside scikit-learn; training, calibration and test images are disjoint. The
    classifier is trained here first; the detector has the shape of YOLO11n, its weights
    ship with edgewright, and Ultralytics builds it. Ends with three test images answered through
    the bundle, as a device would.

    [dim]edgewright demo
    edgewright demo --task detect -o scenes/[/]
    """
    from edgewright.cli import console
    from edgewright.demo import digits, scenes

    where = out or Path("build/demo" if task is Task.classify else "build/demo-detect")
    with console.Watcher() as watch:
        outcome = (digits if task is Task.classify else scenes).run(where, watch=watch)
    o.show_outcome(outcome, as_json)
    if not as_json:
        (_show_classes if task is Task.classify else _show_boxes)(outcome, where)


def _show_classes(outcome: Outcome, out: Path) -> None:
    from edgewright.cli import console
    from edgewright.demo import digits

    screen = console.output()
    screen.print()
    screen.print_line("Three test images through the bundle:")
    for path, answer in digits.classify(outcome, out):
        scores = ", ".join(f"{p.label} {p.score:.1%}" for p in answer.top[:3])
        screen.print_line(f"  {path.parent.name}/{path.name}  →  ", ("bold", answer.label), f"  ({scores})")


def _show_boxes(outcome: Outcome, out: Path) -> None:
    from edgewright.cli import console
    from edgewright.demo import scenes

    screen = console.output()
    screen.print()
    screen.print_line("Three test scenes through the bundle:")
    for path, found in scenes.detect(outcome, out):
        screen.print_line(f"  {path}  →  ", ("bold", ", ".join(f"{d.label} {d.score:.0%}" for d in found)))
