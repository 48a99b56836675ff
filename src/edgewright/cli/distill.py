"""`edgewright distill`: a smaller model that learns from yours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgewright.cli import options as o

if TYPE_CHECKING:
    from edgewright.pipeline.jobs.distill import Distilled


def distill(
    source: o.SourceArgument,
    student: o.StudentOption,
    data: Annotated[Path, typer.Option("--data", help="Images, as for optimize: the evaluation split compares both.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the student; it is then a SOURCE itself.")],
    train_data: Annotated[
        Path | None,
        typer.Option(
            help="Folder of images to learn from; default: the train or calib split of --data, else most of it."
        ),
    ] = None,
    labels: Annotated[
        bool | None,
        typer.Option("--labels/--no-labels", help="Learn from labels too; default: where every image has one."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the images; default: 120 000 images in all, 10 to 100 passes.")
    ] = None,
    train_time: Annotated[str | None, typer.Option(help="As many passes as fit into this time, e.g. 20m, 2h.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate for 64 images a step; default 0.002.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images a step; default 64, fewer for large inputs.")] = None,
    checkpoint: o.CheckpointOption = None,
    student_checkpoint: Annotated[
        Path | None, typer.Option(help="Weights that the student begins with, instead of its library's.")
    ] = None,
    spec: o.SpecOption = None,
    split: o.SplitOption = None,
    seed: Annotated[int, typer.Option(help="Decides order, crops and which images are held out.")] = 0,
    trust_checkpoint: o.TrustOption = False,
    strict: o.StrictOption = False,
    as_json: o.JsonOption = False,
) -> None:
    """Train a smaller model to answer as yours does, on your own images; they need no labels.

    The student sees the same crops as its teacher and learns its class probabilities (or, of a detector, its head) and
    where its feature maps are strong. A tenth of the images is held out and decides which weights are kept. A killed
    command goes on where it was when it is given again. More in docs/how-to/distill.md.

    [dim]edgewright distill timm:resnet18 --student timm:mobilenetv3_small_050 --data photos/ --train-time 20m -o small
    edgewright optimize small --data photos/ -o out/[/]
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
        console.output().print_line(f"{out}  ", ("dim", _line(found)))


def _line(found: Distilled) -> str:
    """Both accuracies, how far they are apart, and what was kept, on one line."""
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
        compared = f"agrees with the teacher on {ours.agreement:.1f} % of {ours.images} images"
    kept = f"epoch {history.best_epoch} of {len(history.epochs)}" if history.best_epoch else "no epoch was better"
    return f"{compared}; weights {teacher} -> {student}; kept: {kept}, held-out {history.metric} {history.ended:.3g}"
