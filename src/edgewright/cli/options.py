"""Arguments that several verbs share, and how the outcome of the main job is shown."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgewright.core.errors import UsageError

if TYPE_CHECKING:
    from edgewright.api import Outcome
    from edgewright.targets.remote import Device

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="timm:NAME, torchvision:NAME, ultralytics:NAME, torch:package.module:factory (options after '?', e.g. "
        "timm:resnet18?num_classes=10), an .onnx file, or a folder that prune or distill made.",
    ),
]
CheckpointOption = Annotated[
    Path | None, typer.Option(help="Trained weights: safetensors, or a .pt/.pth that loads with weights_only.")
]
SpecOption = Annotated[
    Path | None, typer.Option(help="TOML with what the source does not know: preprocessing, labels (ModelSpec).")
]
TrustOption = Annotated[
    bool, typer.Option("--trust-checkpoint", help="Load a pickle that can run code. Only for files that you made.")
]
IsaOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES", help="Instruction sets of the x86 processor that it is for, e.g. avx2; commas between."
    ),
]
StrictOption = Annotated[
    bool,
    typer.Option(
        "--strict", help="Stop at images that cannot be read and at other warnings about data (docs/reference/data.md)."
    ),
]


class Effort(str, Enum):
    """How much is tried."""

    quick = "quick"
    normal = "normal"
    thorough = "thorough"


EffortOption = Annotated[
    Effort | None,
    typer.Option(help="quick: what takes seconds; normal: what can change the choice; thorough: everything."),
]
WithinOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="Begin nothing more that does not fit into this time, e.g. 5m.")
]
DeviceNameOption = Annotated[
    str | None,
    typer.Option(
        "--target",
        help="Device name (see `edgewright targets`) or a TOML file; default: this machine, or that of --on.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines on standard output.")]
DataOption = Annotated[
    Path,
    typer.Option("--data", help="Images: a folder per class or a labels.csv; for boxes COCO json, YOLO or VOC."),
]
BudgetOption = Annotated[
    str | None,
    typer.Option(
        help="What may be lost and what must be reached; default: 1 point of top-1, or of mAP and 0.02 of scores."
    ),
]
SplitOption = Annotated[str | None, typer.Option(help="Split of --data to evaluate on.")]
StudentOption = Annotated[
    str,
    typer.Option(
        metavar="SOURCE", help="The smaller model, named like SOURCE; its number of classes is set to the teacher's."
    ),
]
HOW_FAR, TRAINING = "How far", "Training after the cut"
SpeedupOption = Annotated[float | None, typer.Option(rich_help_panel=HOW_FAR, help="So many times faster, e.g. 1.5.")]
LatencyOption = Annotated[
    float | None, typer.Option(rich_help_panel=HOW_FAR, metavar="MS", help="At most so many milliseconds.")
]
RatioOption = Annotated[
    float | None,
    typer.Option(rich_help_panel=HOW_FAR, help="This share of every layer's channels, whatever it saves."),
]
BlocksOption = Annotated[
    int | None,
    typer.Option(
        rich_help_panel=HOW_FAR,
        help="So many whole residual blocks, of those worth least; with --speedup or --latency they go first.",
    ),
]
SparsityOption = Annotated[
    str | None,
    typer.Option(rich_help_panel=HOW_FAR, help="2:4: zeros for TensorRT's sparse kernels (Ampere and later)."),
]
RoundsOption = Annotated[
    int, typer.Option(rich_help_panel=HOW_FAR, help="Take it away in so many turns, each trained and measured.")
]
LeastOption = Annotated[
    float, typer.Option(rich_help_panel=HOW_FAR, help="Share of a layer's channels that stays at least.")
]
ImportanceOption = Annotated[
    str, typer.Option(help="What a channel is worth by: fisher, taylor (gradients), l1, l2 (weights).")
]
RecoveryDataOption = Annotated[
    Path | None, typer.Option(help="Folder of images to learn from; default: the train or calib split of --data.")
]
TeacherDataOption = Annotated[
    Path, typer.Option("--data", help="Images, as for optimize: one split to evaluate on, one to learn from.")
]
RecoveryEpochsOption = Annotated[
    int | None,
    typer.Option(rich_help_panel=TRAINING, help="Passes over the images; 0: none. Default: 120 000 images in all."),
]
RecoveryTimeOption = Annotated[
    str | None, typer.Option(rich_help_panel=TRAINING, help="As many passes as fit into this time, e.g. 20m.")
]
RecoveryRateOption = Annotated[
    float | None, typer.Option(rich_help_panel=TRAINING, help="Peak learning rate for 64 images a step.")
]
DeviceArgument = Annotated[str, typer.Argument(metavar="USER@HOST", help="The device, as --on takes it.")]
ON = "On a device over SSH"
OnOption = Annotated[
    str | None,
    typer.Option(
        "--on", metavar="USER@HOST[:PORT]", rich_help_panel=ON,
        help="Measure on this device. Its host key must be known, and it must accept your key "
        "(docs/how-to/device-over-ssh.md).",
    ),
]  # fmt: skip
IdentityOption = Annotated[Path | None, typer.Option(rich_help_panel=ON, help="Private key, if not your usual one.")]
PythonOption = Annotated[
    str | None, typer.Option(rich_help_panel=ON, help="The device's Python, 3.10 or newer (default: python3).")
]
WheelsOption = Annotated[
    Path | None, typer.Option(rich_help_panel=ON, help="Wheels for a device that reaches no package index.")
]
FolderOption = Annotated[
    str | None,
    typer.Option(
        "--device-folder", rich_help_panel=ON,
        help="Where everything lies on the device (default: ~/.cache/edgewright-remote).",
    ),
]  # fmt: skip
CleanOption = Annotated[
    bool,
    typer.Option("--clean", rich_help_panel=ON, help="Afterwards remove all files (not its own key) there."),
]


def seconds(text: str) -> float:
    """A time such as 90s, 10m or 1h in seconds; `UsageError` for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([smh]?)", text.strip())
    value = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
    if not value:
        raise UsageError(f"'{text}' is no time.", "A time is a number above zero with s, m or h.", "Write e.g. 10m.")
    return value


def words(text: str | None) -> list[str] | None:
    """The words of a list with commas."""
    return [word.strip() for word in text.split(",")] if text else None


def device(
    on: str | None,
    identity: Path | None = None,
    python: str | None = None,
    wheels: Path | None = None,
    folder: str | None = None,
    clean: bool = False,
) -> Device | None:
    """The device that the options name; `UsageError` where they say how to reach one and none is named."""
    how = {
        "identity": str(identity) if identity else None, "python": python,
        "wheels": str(wheels) if wheels else None, "folder": folder, "clean": clean or None,
    }  # fmt: skip
    given = {name: value for name, value in how.items() if value is not None}
    if on is None:
        if given:
            option = next(iter(given)).replace("folder", "device-folder")
            raise UsageError(f"--{option} says how to work on a device.", "No device is named.", "Add --on USER@HOST.")
        return None
    from edgewright.targets.remote import Device

    return Device(address=on, **given)  # type: ignore[arg-type]


def show_outcome(outcome: Outcome, as_json: bool) -> None:
    """Print the report (table or JSON) and where things lie; exit 1 where nothing meets the budget."""
    import edgewright.bench.console as table
    from edgewright.cli import console

    if as_json:
        console.print_json(outcome.report)
    else:
        out = console.output()
        table.show(outcome.report, out)
        for name, path in outcome.files.items():
            out.print_line(("dim", f"{name:>8}"), f"  {path}")
    if outcome.missed is not None:
        raise outcome.missed
