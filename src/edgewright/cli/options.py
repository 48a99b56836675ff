"""Options that several commands share, and how the outcome of the main job is printed."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgewright.core.errors import UsageError

if TYPE_CHECKING:
    from edgewright.api import Outcome
    from edgewright.targets.remote import Device

IN, GOAL, OUT, EFFORT = "What goes in", "Target and budget", "What comes out", "How much effort"
HOW_FAR, TRAINING, ON = "How much to prune", "Training", "On a device over SSH"
"""The groups of options in the help."""


def out(help_text: str, metavar: str = "DIR") -> Any:
    """The option -o, --out of a command."""
    return typer.Option("-o", "--out", metavar=metavar, rich_help_panel=OUT, help=help_text)


SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        rich_help_panel=IN,
        help="The model: timm:NAME, torchvision:NAME, ultralytics:NAME, transformers:NAME-or-folder, "
        "torch:package.module:factory, an .onnx or .tflite file, or a folder from prune or distill. "
        "Options follow '?', e.g. timm:resnet18?num_classes=10.",
    ),
]
CheckpointOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", rich_help_panel=IN, help="Trained weights: a .safetensors, .pt or .pth file."),
]
SpecOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", rich_help_panel=IN, help="TOML file with the preprocessing and labels that SOURCE lacks."
    ),
]
TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust-checkpoint",
        rich_help_panel=IN,
        help="Load a checkpoint that can run code (a pickle). Use it only for files that you trust.",
    ),
]
IsaOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        rich_help_panel=GOAL,
        help="Instruction sets of the target's x86 CPU, separated by commas, e.g. avx2.",
    ),
]
StrictOption = Annotated[
    bool,
    typer.Option(
        "--strict",
        rich_help_panel=IN,
        help="Stop at unreadable images and suspicious annotations (docs/reference/data.md).",
    ),
]


class Effort(str, Enum):
    """How many variants a run tries."""

    quick = "quick"
    normal = "normal"
    thorough = "thorough"


EffortOption = Annotated[
    Effort | None,
    typer.Option(
        rich_help_panel=EFFORT,
        help="quick: only methods that take seconds. normal (default): every variant that can change the choice. "
        "thorough: every variant.",
    ),
]
WithinOption = Annotated[
    str | None,
    typer.Option(metavar="TIME", rich_help_panel=EFFORT, help="Time limit of the run, e.g. 90s, 5m or 1h."),
]
DeviceNameOption = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="NAME",
        rich_help_panel=GOAL,
        help="Device name (see `edgewright targets`) or TOML file. Default: this machine, or the device of --on.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", rich_help_panel=OUT, help="Print the result as JSON on standard output.")
]
DataOption = Annotated[
    Path,
    typer.Option(
        "--data",
        metavar="DIR",
        rich_help_panel=IN,
        help="Images: one folder per class, or a labels.csv. For detectors: COCO, YOLO or Pascal VOC.",
    ),
]
BudgetOption = Annotated[
    str | None,
    typer.Option(
        metavar="TERMS",
        rich_help_panel=GOAL,
        help='Limits on loss, latency and size, e.g. "top1 >= -1.0, p95 <= 10ms". Default: lose at most 1 point of '
        "top-1, or 1 point of mAP and 0.02 of the confidence scores.",
    ),
]
SplitOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", rich_help_panel=IN, help="Split of --data to evaluate on. Default: val, eval or test."
    ),
]
CalibrationOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        rich_help_panel=IN,
        help="Calibration images. Default: the calib or train split of --data, else a part of --data.",
    ),
]
StudentOption = Annotated[
    str,
    typer.Option(
        metavar="SOURCE",
        rich_help_panel=IN,
        help="The smaller model, named like SOURCE. It gets the classes of the teacher.",
    ),
]
SchemeOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", rich_help_panel=GOAL, help="INT8 scheme. Default: the first scheme of the target."),
]
SpeedupOption = Annotated[
    float | None,
    typer.Option(metavar="X", rich_help_panel=HOW_FAR, help="Prune until the model is X times as fast, e.g. 1.5."),
]
LatencyOption = Annotated[
    float | None,
    typer.Option(metavar="MS", rich_help_panel=HOW_FAR, help="Prune until the latency is at most MS milliseconds."),
]
RatioOption = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE", rich_help_panel=HOW_FAR, help="Remove this share of the channels of every layer, e.g. 0.3."
    ),
]
BlocksOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        rich_help_panel=HOW_FAR,
        help="Remove the N least important residual blocks. With --speedup or --latency, blocks are removed first.",
    ),
]
SparsityOption = Annotated[
    str | None,
    typer.Option(
        metavar="2:4", rich_help_panel=HOW_FAR, help="Set 2 of 4 weights to zero, for sparse kernels of TensorRT."
    ),
]
RoundsOption = Annotated[
    int,
    typer.Option(
        metavar="N", rich_help_panel=HOW_FAR, help="Prune in N rounds. Each round trains and measures the model."
    ),
]
LeastOption = Annotated[
    float,
    typer.Option(metavar="SHARE", rich_help_panel=HOW_FAR, help="Smallest share of channels that every layer keeps."),
]
ImportanceOption = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        rich_help_panel=HOW_FAR,
        help="Importance of a channel: fisher or taylor (by gradients), l1 or l2 (by weights).",
    ),
]
RecoveryDataOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", rich_help_panel=IN, help="Training images. Default: the train or calib split of --data."
    ),
]
TeacherDataOption = Annotated[
    Path,
    typer.Option(
        "--data", metavar="DIR", rich_help_panel=IN, help="Images: one split to evaluate on, one to train on."
    ),
]
RecoveryEpochsOption = Annotated[
    int | None,
    typer.Option(
        metavar="N", rich_help_panel=TRAINING, help="Epochs; 0 for no training. Default: 120,000 images in total."
    ),
]
TrainTimeOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", rich_help_panel=TRAINING, help="Train as many epochs as fit into this time, e.g. 20m."
    ),
]
RecoveryRateOption = Annotated[
    float | None,
    typer.Option(metavar="RATE", rich_help_panel=TRAINING, help="Peak learning rate for 64 images per step."),
]
SeedOption = Annotated[
    int, typer.Option(metavar="N", rich_help_panel=TRAINING, help="Seed for the order and the crops of the images.")
]
DeviceArgument = Annotated[
    str, typer.Argument(metavar="USER@HOST", rich_help_panel=ON, help="The device, written as for --on.")
]
OnOption = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="USER@HOST",
        rich_help_panel=ON,
        help="Measure on this device; add :PORT if it is not 22. See docs/how-to/device-over-ssh.md.",
    ),
]
IdentityOption = Annotated[
    Path | None, typer.Option(metavar="FILE", rich_help_panel=ON, help="Private key. Default: the key that ssh uses.")
]
PythonOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", rich_help_panel=ON, help="Python 3.10 or newer on the device. Default: python3."),
]
WheelsOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", rich_help_panel=ON, help="Wheels for a device that cannot reach a package index."),
]
FolderOption = Annotated[
    str | None,
    typer.Option(
        "--device-folder",
        metavar="DIR",
        rich_help_panel=ON,
        help="Folder for all files on the device. Default: ~/.cache/edgewright-remote.",
    ),
]
CleanOption = Annotated[
    bool,
    typer.Option(
        "--clean", rich_help_panel=ON, help="Remove all files from the device afterwards, except its own key."
    ),
]
ReportArgument = Annotated[
    Path,
    typer.Argument(metavar="REPORT", rich_help_panel=IN, help="A report.json, or the folder that contains it."),
]


def seconds(text: str) -> float:
    """A time such as 90s, 10m or 1h, in seconds. Raises `UsageError` for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([smh]?)", text.strip())
    value = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
    if not value:
        raise UsageError(f"'{text}' is not a time.", "A time is a number above zero with s, m or h.", "Write e.g. 10m.")
    return value


def words(text: str | None) -> list[str] | None:
    """The words of a list separated by commas; None for no text."""
    return [word.strip() for word in text.split(",")] if text else None


def device(
    on: str | None,
    identity: Path | None = None,
    python: str | None = None,
    wheels: Path | None = None,
    folder: str | None = None,
    clean: bool = False,
) -> Device | None:
    """The device of `--on`; None without it. Raises `UsageError` for options of a device without `--on`."""
    how = {
        "identity": str(identity) if identity else None, "python": python,
        "wheels": str(wheels) if wheels else None, "folder": folder, "clean": clean or None,
    }  # fmt: skip
    given = {name: value for name, value in how.items() if value is not None}
    if on is None:
        if given:
            option = next(iter(given)).replace("folder", "device-folder")
            raise UsageError(f"--{option} needs a device.", "It has no effect without --on.", "Add --on USER@HOST.")
        return None
    from edgewright.targets.remote import Device

    return Device(address=on, **given)  # type: ignore[arg-type]


def show_outcome(outcome: Outcome, as_json: bool) -> None:
    """Print the report (table or JSON) and the files. Raises `GateFailed` if no variant is within the budget."""
    import edgewright.bench.console as table
    from edgewright.cli import console

    if as_json:
        console.print_json(outcome.report)
    else:
        out = console.output()
        table.show(outcome.report, out)
        console.print_rows(out, [(name, console.line(str(path))) for name, path in outcome.files.items()])
    if outcome.missed is not None:
        raise outcome.missed
