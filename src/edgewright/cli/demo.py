"""`edgewright demo`: the whole job on a small model that comes with edgewright."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli import options as o


class Task(str, Enum):
    """The task of the demo's model."""

    classify = "classify"
    detect = "detect"


TaskOption = Annotated[
    Task, typer.Option(rich_help_panel=o.IN, help="A digit classifier, or a detector of digits in scenes.")
]
OutOption = Annotated[
    Path | None,
    o.out("Folder for model, report and bundle. Default: build/demo, or build/demo-detect."),
]
SaveDataOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        rich_help_panel=o.OUT,
        help="Only write the images and the trained model to this folder, as if they were your own.",
    ),
]


def demo(
    task: TaskOption = Task.classify,
    out: OutOption = None,
    save_data: SaveDataOption = None,
    as_json: o.JsonOption = False,
) -> None:
    """Run the whole job on a small model and handwritten digits. It needs no network.

    The images are part of scikit-learn. Training, calibration and test images are disjoint. The demo trains the
    classifier on this machine. The detector is a YOLO11n with weights that come with edgewright. It needs Ultralytics.
    At the end the demo runs the bundle on three test images, as on a device.

        edgewright demo
        edgewright demo --task detect -o scenes/
        edgewright demo --save-data digits
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
            shown = console.line(f"{save_data}", ("dim", f" ({', '.join(names)})"))
            console.print_rows(console.output(), [("data", shown)])
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
