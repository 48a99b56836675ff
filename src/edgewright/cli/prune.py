"""`edgewright prune`: fewer channels, chosen by measured latency."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgewright.cli import options as o

if TYPE_CHECKING:
    from rich.table import Table

    from edgewright.pipeline.jobs.prune import Pruned


OutOption = Annotated[
    Path,
    o.out("Folder for the pruned model, a SOURCE for other commands."),
]
TargetOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", rich_help_panel=o.GOAL, help="Device name. --speedup and --latency need this machine."
    ),
]
RuntimeOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        rich_help_panel=o.GOAL,
        help="Runtime to measure with. Default: the first runtime of the target.",
    ),
]
PrecisionOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", rich_help_panel=o.GOAL, help="Measure latency in f32 or bf16 instead of INT8."),
]


def prune(
    source: o.SourceArgument,
    data: o.TeacherDataOption,
    out: OutOption,
    speedup: o.SpeedupOption = None,
    latency: o.LatencyOption = None,
    ratio: o.RatioOption = None,
    blocks: o.BlocksOption = None,
    sparsity: o.SparsityOption = None,
    rounds: o.RoundsOption = 1,
    least: o.LeastOption = 0.1,
    importance: o.ImportanceOption = "fisher",
    epochs: o.RecoveryEpochsOption = None,
    train_time: o.TrainTimeOption = None,
    lr: o.RecoveryRateOption = None,
    target: TargetOption = None,
    runtime: RuntimeOption = None,
    scheme: o.SchemeOption = None,
    precision: PrecisionOption = None,
    checkpoint: o.CheckpointOption = None,
    spec: o.SpecOption = None,
    split: o.SplitOption = None,
    train_data: o.RecoveryDataOption = None,
    seed: o.SeedOption = 0,
    trust_checkpoint: o.TrustOption = False,
    strict: o.StrictOption = False,
    as_json: o.JsonOption = False,
) -> None:
    """Remove channels from a model until it is fast enough, then train it with the original as teacher.

    The command times each layer at several widths on this machine, in INT8 if the target runs INT8. It removes the
    channels that have the least importance for the time that they cost. It then compiles the pruned model and measures
    it against the original. export, optimize and distill accept the output folder as SOURCE. See docs/how-to/prune.md.

        edgewright prune timm:resnet18 --data photos/ --speedup 1.8 --train-time 30m -o slim
        edgewright optimize slim --data photos/ -o out/
    """
    from edgewright import api
    from edgewright.cli import console, watcher
    from edgewright.pipeline.jobs.prune_cut import Wanted
    from edgewright.quantize.distillation.schedule import RECOVERY, replaced

    wanted = Wanted(
        speedup=speedup, latency_ms=latency, ratio=ratio, blocks=blocks, sparsity=sparsity, rounds=rounds,
        importance=importance, least=least,
    )  # fmt: skip
    schedule = None
    if epochs != 0:
        limit = o.seconds(train_time) if train_time else None
        schedule = replaced(RECOVERY, epochs=epochs, train_time_s=limit, lr=lr)
    with watcher.Watcher() as watch:
        found = api.prune(
            source, data=data, out=out, wanted=wanted, target=target, runtime=runtime, scheme=scheme,
            precision=precision, checkpoint=checkpoint, spec=spec, split=split, train_data=train_data,
            schedule=schedule, seed=seed, trust_checkpoint=trust_checkpoint, strict=strict, watch=watch,
        )  # fmt: skip
    if as_json:
        console.print_json(found)
    else:
        _show(found, out)


def _show(found: Pruned, out: Path) -> None:
    from edgewright.cli import console

    screen = console.output()
    screen.print(_table(found))
    rows = [("note", note) for note in _notes(found)]
    rows += [("model", str(out)), ("measured", f"{found.artifact}, on {found.images} images")]
    console.print_rows(screen, [(word, console.line(text)) for word, text in rows])


def _table(found: Pruned) -> Table:
    from rich.table import Table

    from edgewright.bench import metrics

    metric = metrics.title(found.accuracy.primary)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("model", "weights", "predicted ms", "p50 ms", "faster", metric, "difference", "agree"):
        table.add_column(name, justify="left" if name == "model" else "right", no_wrap=True)
    ours, theirs = found.accuracy, found.accuracy_before
    before, after = (f"{count / 1e6:.2f} M" for count in found.parameters)
    score, base = (f"{a.score:.1f}" if a.score is not None else "" for a in (ours, theirs))
    delta = f"{ours.delta.value:+.1f} [{ours.delta.low:+.1f},{ours.delta.high:+.1f}]" if ours.delta else ""
    agree = f"{ours.agreement:.1f}" if ours.agreement is not None else ""
    predicted = f"{found.predicted_ms:.3g}" if found.predicted_ms else ""
    mark = "" if found.valid else "~"
    was, now = (f"{mark}{ms:.3g}" if ms else "" for ms in (found.before_ms, found.after_ms))
    table.add_row("original", before, "", was, "", base, "", "")
    faster = f"{found.speedup.value:.2f}x" if found.speedup else ""
    table.add_row("pruned", after, predicted, now, faster, score, delta, agree)
    return table


def _notes(found: Pruned) -> list[str]:
    from edgewright.pipeline.jobs.prune_cut import SPARSITY
    from edgewright.quantize.pruning import IS_OUTPUT

    notes = []
    if not found.valid:
        notes.append(
            "~ marks an unreliable latency: other processes were running, or it was not steady after the warm-up."
        )
    if found.unmeasured:
        notes.append(found.unmeasured)
    trained = [one.history for one in found.rounds if one.history]
    for number, h in enumerate(trained, 1):
        name = f"training {number}" if len(trained) > 1 else "training"
        kept = (
            f"epoch {h.best_epoch} of {len(h.epochs)}"
            if h.best_epoch
            else "the weights before it, because no epoch was better"
        )
        notes.append(f"{name} kept {kept}; held-out {h.metric} {h.began:.3g} -> {h.ended:.3g}")
    if found.sparse:
        notes.append(f"{len(found.sparse)} layers have {SPARSITY} zeros; optimize uses them with builder.sparse = true")
        return notes
    if found.removed:
        notes.append(f"removed blocks: {', '.join(found.removed)}")
    if not found.widths:
        return notes
    narrowed = sum(after < before for before, after in found.widths.values())
    notes.append(f"{narrowed} of {len(found.widths)} channel groups are narrower (widths: plan.json)")
    if found.untimed:
        notes.append(f"the prediction lacks layers that were not found in the graph: {', '.join(found.untimed[:4])}")
    others = [f"{name} ({why})" for name, why in found.fixed.items() if why != IS_OUTPUT]
    if others:
        more = f" and {len(others) - 2} more" if len(others) > 2 else ""
        notes.append(f"not pruned: {', '.join(others[:2])}{more}")
    return notes
