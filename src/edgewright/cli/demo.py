"""`edgewright demo`: the embedded default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli import options as o


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the model, report and bundle.")] = Path(
        "build/demo"
    ),
    as_json: o.JsonOption = False,
) -> None:
    """Train a small model on handwritten digits and run the [bold]whole main job[/] on it, with no network.

    The digits ship inside scikit-learn; training, calibration and test images are disjoint. Ends with three test images
    classified through the bundle, as a device would.
    """
    from edgewright import demo as job
    from edgewright.cli import console

    with console.Watcher() as watch:
        outcome = job.run(out, watch=watch)
    o.show_outcome(outcome, as_json)
    if not as_json:
        screen = console.output()
        screen.print("\nThree test images through the bundle:")
        for path, answer in job.classify(outcome, out):
            scores = ", ".join(f"{p.label} {p.score:.1%}" for p in answer.top[:3])
            screen.print(f"  {path.parent.name}/{path.name}  →  [bold]{answer.label}[/]  ({scores})")
