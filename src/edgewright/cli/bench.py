"""`edgewright bench`: measure bundles beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli import options as o


def bench(
    bundles: Annotated[
        list[Path], typer.Argument(help="Bundles to measure; the first is what the others compare with.")
    ],
    data: Annotated[Path, typer.Option("--data", help="Folder of images to evaluate on.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for report.{json,md,html}.")],
    budget: Annotated[
        str | None,
        typer.Option(
            help="Verdict on each bundle against the first; default: 1 point of top-1, or of mAP and 0.02 of scores."
        ),
    ] = None,
    split: o.SplitOption = None,
    fps: Annotated[
        float | None,
        typer.Option(help="Measure at a camera's rate too: so many frames a second, idle between them (e.g. 30)."),
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
    """Measure latency (interleaved) and accuracy of bundles on this machine, the first being the reference.

    With [bold]--on[/] a device measures, and a connection that is lost meanwhile costs nothing but time.

    [dim]edgewright bench float.edge int8.edge --data photos/ -o out/
    edgewright bench float.edge int8.edge --data photos/ -o out/ --on nano@jetson.local[/]
    """
    from edgewright import api
    from edgewright.cli.watcher import Watcher

    device = o.device(on, identity, python, wheels, device_folder, clean)
    with Watcher(resumes=False) as watch:
        outcome = api.bench(
            bundles, data=data, out=out, budget=budget, split=split, fps=fps, on=device, strict=strict, watch=watch
        )
    o.show_outcome(outcome, as_json)
