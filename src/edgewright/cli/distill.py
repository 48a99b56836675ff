"""`edgewright distill`: train a smaller model with yours as teacher."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgewright.cli import options as o

if TYPE_CHECKING:
    from edgewright.pipeline.jobs.distill import Distilled


DataOption = Annotated[
    Path,
    typer.Option(
        "--data",
        metavar="DIR",
        rich_help_panel=o.IN,
        help="Images, as for optimize. Both models are evaluated on it.",
    ),
]
OutOption = Annotated[
    Path,
    o.out("Folder for the student, a SOURCE for other commands."),
]
TrainDataOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        rich_help_panel=o.IN,
        help="Training images. Default: the train or calib split of --data, else three quarters of --data.",
    ),
]
LabelsOption = Annotated[
    bool | None,
    typer.Option(
        "--labels/--no-labels",
        rich_help_panel=o.TRAINING,
        help="Also learn from labels. Default: if every image has one.",
    ),
]
EpochsOption = Annotated[
    int | None,
    typer.Option(
        metavar="N", rich_help_panel=o.TRAINING, help="Epochs. Default: 120,000 images in total, 10 to 100 epochs."
    ),
]
LrOption = Annotated[
    float | None,
    typer.Option(
        metavar="RATE",
        rich_help_panel=o.TRAINING,
        help="Peak learning rate for 64 images per step. Default: 0.002.",
    ),
]
BatchOption = Annotated[
    int | None,
    typer.Option(metavar="N", rich_help_panel=o.TRAINING, help="Images per step. Default: 64, fewer for large inputs."),
]
StudentCheckpointOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", rich_help_panel=o.IN, help="First weights of the student. Default: the weights of its library."
    ),
]
SeedOption = Annotated[
    int,
    typer.Option(
        metavar="N", rich_help_panel=o.TRAINING, help="Seed for the order, the crops and the held-out images."
    ),
]


def distill(
    source: o.SourceArgument,
    student: o.StudentOption,
    data: DataOption,
    out: OutOption,
    train_data: TrainDataOption = None,
    labels: LabelsOption = None,
    epochs: EpochsOption = None,
    train_time: o.TrainTimeOption = None,
    lr: LrOption = None,
    batch: BatchOption = None,
    checkpoint: o.CheckpointOption = None,
    student_checkpoint: StudentCheckpointOption = None,
    spec: o.SpecOption = None,
    split: o.SplitOption = None,
    seed: SeedOption = 0,
    trust_checkpoint: o.TrustOption = False,
    strict: o.StrictOption = False,
    as_json: o.JsonOption = False,
) -> None:
    """Train a smaller model with yours as teacher, on your own images. Labels are optional.

    The student sees the same crops as the teacher. It learns the teacher's class probabilities (for a detector: its
    head outputs) and its feature maps. A tenth of the images is held out to choose the best epoch. The same command
    continues after an interruption. See docs/how-to/distill.md.

        edgewright distill timm:resnet18 --student timm:mobilenetv3_small_050 --data photos/ --train-time 20m -o small
        edgewright optimize small --data photos/ -o out/
    """
    from edgewright import api
    from edgewright.cli import console, watcher
    from edgewright.quantize.distillation.schedule import STUDENT, replaced

    limit = o.seconds(train_time) if train_time else None
    schedule = replaced(STUDENT, epochs=epochs, train_time_s=limit, lr=lr, batch=batch)
    with watcher.Watcher() as watch:
        found = api.distill(
            source, student=student, data=data, out=out, checkpoint=checkpoint, student_checkpoint=student_checkpoint,
            spec=spec, split=split, train_data=train_data, schedule=schedule, labels=labels, seed=seed,
            trust_checkpoint=trust_checkpoint, strict=strict, watch=watch,
        )  # fmt: skip
    if as_json:
        console.print_json(found)
    else:
        rows = {"model": str(out), **_described(found)}
        console.print_rows(console.output(), [(word, console.line(text)) for word, text in rows.items()])


def _described(found: Distilled) -> dict[str, str]:
    """Both accuracies with their difference and its interval, the weights, the kept epoch."""
    from edgewright.bench import metrics

    ours, theirs, history = found.accuracy_student, found.accuracy_teacher, found.history
    teacher, student = (f"{count / 1e6:.2f} M" for count in found.parameters)
    if theirs.score is not None and ours.score is not None and ours.delta is not None:
        name = metrics.title(theirs.primary)
        compared = (
            f"teacher {name} {theirs.score:.1f}, student {ours.score:.1f} "
            f"({ours.delta.value:+.1f}, {ours.delta.low:+.1f} to {ours.delta.high:+.1f})"
        )
    else:
        compared = f"agrees with the teacher on {ours.agreement:.1f}% of {ours.images} images"
    kept = (
        f"epoch {history.best_epoch} of {len(history.epochs)}"
        if history.best_epoch
        else "the start weights, because no epoch was better"
    )
    return {
        "accuracy": compared,
        "weights": f"teacher {teacher}, student {student}",
        "kept": f"{kept}; held-out {history.metric} {history.ended:.3g}",
    }
