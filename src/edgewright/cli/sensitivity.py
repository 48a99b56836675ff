"""`edgewright sensitivity`: what each layer loses in INT8, and what it saves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli import options as o


def sensitivity(
    source: o.SourceArgument,
    data: Annotated[Path, typer.Option("--data", help="Images, as for optimize; labels are not looked at.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for sensitivity.json and the plot, sensitivity.html.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Device name; it must be this machine. Default: detected.")] = None,
    scheme: Annotated[str | None, typer.Option(help="Flavour of INT8; default: the target's first.")] = None,
    method: Annotated[
        str | None, typer.Option(help="How to quantize; default: the first that fits the scheme.")
    ] = None,
    checkpoint: o.CheckpointOption = None,
    spec: o.SpecOption = None,
    split: Annotated[str | None, typer.Option(help="Split of --data to take the timed image from.")] = None,
    calibration: Annotated[Path | None, typer.Option(help="Folder of calibration images, as for optimize.")] = None,
    trust_checkpoint: o.TrustOption = False,
    strict: o.StrictOption = False,
    as_json: o.JsonOption = False,
) -> None:
    """Show for each layer what it loses in INT8, alone and with all but it in INT8, and the time that it saves.

    Times are of the runtime's own profiler on this machine. The HTML plots sensitivity against time saved.

    [dim]edgewright sensitivity timm:mobilenetv3_large_100 --data photos/ -o out/
    edgewright sensitivity net.onnx --data photos/ --method minmax[/]
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
