"""`edgewright demo`: the embedded defaults."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli import options as o


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
    save_data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Only write the images and the trained model there, laid out as your own would be."
        ),
    ] = None,
    as_json: o.JsonOption = False,
) -> None:
    """Run the [bold]whole main job[/] on a small model and real handwritten digits, with no network.

    The digits ship inside scikit-learn; training, calibration and test images are disjoint. The
    classifier is trained here first; the detector has the shape of YOLO11n, its weights
    ship with edgewright, and Ultralytics builds it. Ends with three test images answered through
    the bundle, as a device would.

    [dim]edgewright demo
    edgewright demo --task detect -o scenes/
    edgewright demo --save-data mine[/]
    """
    from edgewright.cli import console, watcher
    from edgewright.demo import digits, own, scenes

    if save_data is not None:
        with watcher.Watcher() as watch:
            {Task.classify: own.classifier, Task.detect: own.detector}[task](save_data, watch)
        names = sorted(path.name for path in save_data.iterdir())
        if as_json:
            console.print_json({"folder": str(save_data), "names": names})
        else:
            console.output().print_line(f"{save_data}  ", ("dim", ", ".join(names)))
        return
    what = {Task.classify: digits, Task.detect: scenes}[task]
    where = out or Path(what.FOLDER)
    with watcher.Watcher() as watch:
        outcome = what.run(where, watch=watch)
    o.show_outcome(outcome, as_json)
    if as_json:
        return
    screen = console.output()
    screen.print()
    for line in what.show(outcome, where):
        screen.print_line(*line)
