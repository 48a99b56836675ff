"""`edgewright sensitivity`: what each layer loses in INT8, and the time it saves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli import options as o

DataOption = Annotated[
    Path,
    typer.Option("--data", metavar="DIR", rich_help_panel=o.IN, help="Images, as for optimize. No labels are needed."),
]
OutOption = Annotated[
    Path | None,
    o.out("Folder for sensitivity.json and sensitivity.html."),
]
TargetOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", rich_help_panel=o.GOAL, help="Device name; it must be this machine. Default: detected."
    ),
]
MethodOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", rich_help_panel=o.GOAL, help="INT8 method. Default: the first one that the scheme supports."
    ),
]
SplitOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", rich_help_panel=o.IN, help="Split of --data with the image for timing."),
]


def sensitivity(
    source: o.SourceArgument,
    data: DataOption,
    out: OutOption = None,
    target: TargetOption = None,
    scheme: o.SchemeOption = None,
    method: MethodOption = None,
    checkpoint: o.CheckpointOption = None,
    spec: o.SpecOption = None,
    split: SplitOption = None,
    calibration: o.CalibrationOption = None,
    trust_checkpoint: o.TrustOption = False,
    strict: o.StrictOption = False,
    as_json: o.JsonOption = False,
) -> None:
    """Show how much accuracy each layer loses in INT8, and how much time it saves.

    The command measures the loss twice: with only this layer in INT8, and with all other layers in INT8. Times come
    from the profiler of the runtime on this machine. The HTML page plots the loss against the saved time.

        edgewright sensitivity timm:mobilenetv3_large_100 --data photos/ -o out/
        edgewright sensitivity net.onnx --data photos/ --method minmax
    """
    from edgewright import api
    from edgewright.bench import sensitivity as tables
    from edgewright.cli import console, watcher

    with watcher.Watcher() as watch:
        found = api.sensitivity(
            source, data=data, out=out, target=target, scheme=scheme, method=method, checkpoint=checkpoint, spec=spec,
            split=split, calibration=calibration, trust_checkpoint=trust_checkpoint, strict=strict, watch=watch,
        )  # fmt: skip
    if as_json:
        console.print_json(found)
    else:
        tables.show(found, console.output())
