"""`edgewright optimize`: from a trained model to a measured bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli import options as o


def optimize(
    source: o.SourceArgument,
    data: o.DataOption,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for report.{json,md,html} and the bundle.")],
    target: o.DeviceNameOption = None,
    budget: o.BudgetOption = None,
    recipe: Annotated[Path | None, typer.Option(help="TOML file: what to try, under what time.")] = None,
    checkpoint: o.CheckpointOption = None,
    spec: o.SpecOption = None,
    split: Annotated[str | None, typer.Option(help="Split of --data to evaluate on (default: val, else test).")] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Folder of calibration images (default: calib or train split, or divided off).")
    ] = None,
    remeasure: Annotated[bool, typer.Option("--remeasure", help="Measure latency anew even if it is stored.")] = False,
    effort: o.EffortOption = None,
    within: o.WithinOption = None,
    mixed_precision: Annotated[
        bool,
        typer.Option("--mixed-precision", help="Where INT8 loses too much, try its most sensitive blocks in float."),
    ] = False,
    trust_checkpoint: o.TrustOption = False,
    isa: o.IsaOption = None,
    on: o.OnOption = None,
    identity: o.IdentityOption = None,
    python: o.PythonOption = None,
    wheels: o.WheelsOption = None,
    device_folder: o.FolderOption = None,
    clean: o.CleanOption = False,
    strict: o.StrictOption = False,
    as_json: o.JsonOption = False,
) -> None:
    """Build candidates for a device, measure them, and keep the [bold]fastest inside the budget[/].

    Exports the model to ONNX, quantizes it to INT8 as the target's runtimes want, compiles each
    result, measures latency (interleaved) and accuracy (paired with the full-precision
    reference), and writes the chosen bundle and the report. What cannot change the choice any
    more is not built; the report says why. Finished steps are kept: the same command continues
    after an interruption.

    [dim]edgewright optimize timm:resnet18 --data photos/ --target raspberry-pi-5 -o out/
    edgewright optimize "timm:resnet18?num_classes=10" --checkpoint best.safetensors --data photos/ -o out/
    edgewright optimize detector.onnx --data coco/ --budget "map >= -0.5, p95 <= 10ms" -o out/
    edgewright optimize timm:resnet18 --data photos/ --effort quick -o out/
    edgewright optimize timm:resnet18 --data photos/ --effort thorough --within 20m -o out/
    edgewright optimize timm:resnet18 --data photos/ --mixed-precision -o out/
    edgewright optimize timm:resnet18 --data photos/ --on nano@jetson.local -o out/[/]
    """
    from edgewright import api
    from edgewright.cli.watcher import Watcher

    device = o.device(on, identity, python, wheels, device_folder, clean)
    within_s = o.seconds(within) if within else None
    with Watcher(within_s=within_s) as watch:
        outcome = api.optimize(
            source, data=data, target=target, budget=budget, recipe=recipe, out=out, checkpoint=checkpoint, spec=spec,
            split=split, calibration=calibration, trust_checkpoint=trust_checkpoint, remeasure=remeasure,
            mixed_precision=mixed_precision, on=device, isa=o.words(isa), strict=strict,
            effort=effort.value if effort else None, within_s=within_s, watch=watch,
        )  # fmt: skip
    o.show_outcome(outcome, as_json)
