"""`edgewright bench`: compare bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli import options as o


def bench(
    bundles: Annotated[
        list[Path],
        typer.Argument(rich_help_panel=o.IN, help="Bundles to measure. The first one is the reference."),
    ],
    data: o.DataOption,
    out: Annotated[
        Path,
        o.out("Folder for the report (HTML, Markdown, JSON)."),
    ],
    budget: o.BudgetOption = None,
    split: o.SplitOption = None,
    fps: Annotated[
        float | None,
        typer.Option(
            metavar="RATE", rich_help_panel=o.GOAL, help="Also measure at this camera frame rate per second, e.g. 30."
        ),
    ] = None,
    on: o.OnOption = None,
    identity: o.IdentityOption = None,
    python: o.PythonOption = None,
    wheels: o.WheelsOption = None,
    device_folder: o.FolderOption = None,
    clean: o.CleanOption = False,
    strict: o.StrictOption = False,
    as_json: o.JsonOption = False,
) -> None:
    """Measure the latency and accuracy of bundles and compare them with the first one.

    The command measures the bundles in turns on this machine, or on a device with --on. If the connection to the device
    is lost, the command reconnects and continues.

        edgewright bench float.edge int8.edge --data photos/ -o out/
        edgewright bench float.edge int8.edge --data photos/ -o out/ --on nano@jetson.local
    """
    from edgewright import api
    from edgewright.cli.watcher import Watcher

    device = o.device(on, identity, python, wheels, device_folder, clean)
    with Watcher(resumes=False) as watch:
        outcome = api.bench(
            bundles, data=data, out=out, budget=budget, split=split, fps=fps, on=device, strict=strict, watch=watch
        )
    o.show_outcome(outcome, as_json)
