"""`edgewright optimize`: from a trained model to a measured bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli import options as o

OutOption = Annotated[
    Path,
    o.out("Folder for the bundle and the report (HTML, Markdown, JSON)."),
]
RecipeOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", rich_help_panel=o.EFFORT, help="TOML file that says which variants to try."),
]
RemeasureOption = Annotated[
    bool,
    typer.Option("--remeasure", rich_help_panel=o.EFFORT, help="Measure latency again, even if it is stored."),
]
MixedPrecisionOption = Annotated[
    bool,
    typer.Option(
        "--mixed-precision",
        rich_help_panel=o.EFFORT,
        help="If INT8 loses too much, also try it with the most sensitive blocks in float.",
    ),
]


def optimize(
    source: o.SourceArgument,
    data: o.DataOption,
    out: OutOption,
    target: o.DeviceNameOption = None,
    budget: o.BudgetOption = None,
    recipe: RecipeOption = None,
    checkpoint: o.CheckpointOption = None,
    spec: o.SpecOption = None,
    split: o.SplitOption = None,
    calibration: o.CalibrationOption = None,
    remeasure: RemeasureOption = False,
    effort: o.EffortOption = None,
    within: o.WithinOption = None,
    mixed_precision: MixedPrecisionOption = False,
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
    """Find the fastest variant of a model for a device, within an accuracy budget.

    The command exports the model to ONNX, quantizes it to INT8 for the target's runtimes and compiles each variant. It
    measures the latency of all variants in turns. It compares their accuracy with the full-precision reference on the
    same images. It writes the fastest variant within the budget as a bundle, and a report on all variants.

    The command skips variants that cannot change the choice. The report gives the reason. Finished steps are stored, so
    the same command continues after an interruption.

        edgewright optimize timm:resnet18 --data photos/ --target raspberry-pi-5 -o out/
        edgewright optimize "timm:resnet18?num_classes=10" --checkpoint best.safetensors --data photos/ -o out/
        edgewright optimize detector.onnx --data coco/ --budget "map >= -0.5, p95 <= 10ms" -o out/
        edgewright optimize timm:resnet18 --data photos/ --effort quick -o out/
        edgewright optimize timm:resnet18 --data photos/ --effort thorough --within 20m -o out/
        edgewright optimize timm:resnet18 --data photos/ --mixed-precision -o out/
        edgewright optimize timm:resnet18 --data photos/ --on nano@jetson.local -o out/
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
