"""Prune a model by the latency that its channels cost on the target; train it by distillation; measure it.

Three stages: the latency table of its layers (`latency_table`), the cut (`prune_cut`), whose folder is a source itself,
and the training on the original's outputs (`distillation`). Each of several rounds starts from the measurements of the
one before. Finally both artifacts are measured in one interleaved run, and the prediction is compared with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeVar

import msgspec

from edgewright import tasks
from edgewright.bench import accuracy
from edgewright.bench.latency import Rules, Timing
from edgewright.bench.results import Ratio
from edgewright.core.errors import InvalidInput, RuntimeFailed, Unavailable
from edgewright.core.store import Entry
from edgewright.data.sets import ImageSet
from edgewright.export.sources import require_torch
from edgewright.graph.layers import layers
from edgewright.pipeline import builder
from edgewright.pipeline import images as image_sets
from edgewright.pipeline.candidate import Candidate
from edgewright.pipeline.candidates import base
from edgewright.pipeline.hosts import Host
from edgewright.pipeline.jobs import distill
from edgewright.pipeline.jobs import prune_cut as cut
from edgewright.pipeline.jobs.prune_cut import Anchor, Cut, Narrower, Wanted
from edgewright.pipeline.prepare import prepare
from edgewright.pipeline.stages import latency_table
from edgewright.pipeline.stages.export import Source
from edgewright.pipeline.stages.measure import Interleaved, interleaved
from edgewright.pipeline.stages.model import MODEL
from edgewright.pipeline.stages.runner import StageRunner
from edgewright.pipeline.state import Build, Job, RunState
from edgewright.pipeline.timing import few
from edgewright.quantize.distillation.schedule import History, Schedule, replaced
from edgewright.runtimes.options import Builder
from edgewright.tasks.scores import Accuracy

RULES = Rules(min_duration_s=1.5, min_count=100)
NARROW = 0.5
"""The share of all channels that is removed to anchor the first prediction."""
RUNS, CHOICES = 3, 3
"""The number of runs whose median counts, and the most choices of channels."""
NEAR = 0.05
"""Two shares of the latency are equal if they differ by less than this, or by less than a quarter of the saving."""
REACHED = 0.97
"""If the speedup reaches this share of the goal, nothing more is removed: the steps of channel counts are coarser."""


T = TypeVar("T")


class Round(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One round of cut and training. `began`: the speedup against the original before it, measured only if a speedup
    is wanted.

    `left`: the intended share of the latency before it, by the table. `parameters`: number of weights after it.
    """

    began: float | None
    parameters: int
    left: float | None = None
    history: History | None = None


class Pruned(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The result of a pruning. Latencies are p50 in ms of the artifact `artifact`, from image to answer.

    `predicted_ms`: by the latency table, before training, from `before_ms` (absent if no speedup was wanted).
    `speedup`: measured interleaved, the median of several runs; `unmeasured` says why there is none.
    `accuracy`: of the pruned artifact, paired with `accuracy_before` of the unpruned one. `widths`: channels before and
    after of each group, by its layer. `fixed`: layers that cannot be pruned, with the reason. `removed`: removed
    blocks. `sparse`: layers with a pattern of zeros. `untimed`: pruned layers that no prediction includes.
    """

    artifact: str
    importance: str
    images: int
    parameters: tuple[int, int]
    accuracy_before: Accuracy
    accuracy: Accuracy
    rounds: tuple[Round, ...]
    before_ms: float | None = None
    predicted_ms: float | None = None
    after_ms: float | None = None
    speedup: Ratio | None = None
    valid: bool = True
    unmeasured: str | None = None
    widths: dict[str, tuple[int, int]] = {}
    fixed: dict[str, str] = {}
    removed: tuple[str, ...] = ()
    sparse: tuple[str, ...] = ()
    untimed: tuple[str, ...] = ()


class Measured(NamedTuple):
    """Latencies of both artifacts in ms, the speedup, and whether they are reliable."""

    before: float
    after: float
    speedup: Ratio | None
    valid: bool

    def gain(self) -> float:
        """The speedup."""
        return self.speedup.value if self.speedup else self.before / self.after


class Narrowed(NamedTuple):
    """A pruned model: its folder, the cuts of all rounds, each round, and the unpruned artifact."""

    folder: Path
    cut: Cut
    rounds: tuple[Round, ...]
    before: Build


def prune(job: Job, runner: StageRunner, host: Host, wanted: Wanted, schedule: Schedule | None) -> tuple[Path, Pruned]:
    """The folder of the pruned model (a source), and its speedup and loss in the first artifact of `job`.

    `schedule` None: no training after the cut. Raises `Unavailable` if a speedup is wanted for another machine, if the
    target's accuracy cannot be known here, or if it has no sparse kernels. Raises `InvalidInput`
    for a model that cannot be pruned that far, and `RuntimeFailed` if the artifact cannot be built.
    """
    require_trainable(job)
    state = prepare(job, runner, host)
    candidate = first(base.propose(state))
    if not state.measured_here and not candidate.traits.on_device:
        raise Unavailable(
            f"The accuracy of {candidate.id} on {job.target.title} cannot be measured here.",
            f"This machine is {host.machine.title}; edgewright emulates only TensorRT on other machines.",
            "Run this on the target, or leave out --target.",
        )  # fmt: skip
    pruned = narrow(state, candidate, wanted, schedule)
    slim = prepare(replace(job, source=ours(pruned.folder)), runner, host)
    after = _built(slim, sparse(candidate) if wanted.sparsity else candidate)
    accuracies = _compared(state, pruned.before, slim, after)
    found = Pruned(
        artifact=candidate.id, importance=wanted.importance, images=len(state.images.evaluation.items),
        parameters=pruned.cut.parameters, accuracy_before=accuracies[0], accuracy=accuracies[1], rounds=pruned.rounds,
        widths=pruned.cut.widths, fixed=pruned.cut.fixed, removed=pruned.cut.removed, sparse=pruned.cut.sparse,
        untimed=pruned.cut.untimed,
    )  # fmt: skip
    if not state.measured_here:
        why = f"This machine is {host.machine.title}, not {job.target.title}: latency was not measured."
        return pruned.folder, msgspec.structs.replace(found, unmeasured=why)
    # The median run, as for the choice: a process may be slow during its whole life.
    times = sorted((_measured(state, pruned.before, after) for _ in range(RUNS)), key=Measured.gain)[RUNS // 2]
    last = pruned.rounds[-1]
    return pruned.folder, msgspec.structs.replace(
        found, before_ms=times.before, after_ms=times.after, speedup=times.speedup, valid=times.valid,
        # The load of the machine may differ from that during the prediction, so the prediction is a share.
        predicted_ms=last.left * times.before / last.began if last.left and last.began else None,
    )  # fmt: skip


def narrow(state: RunState, candidate: Candidate, wanted: Wanted, schedule: Schedule | None) -> Narrowed:
    """Cut the model of `state` as `wanted` for `candidate`, and train it by `schedule`. Raises as `prune` does."""
    job = state.job
    by_time = wanted.by_time
    if by_time and not (state.measured_here and state.host.is_here):
        raise Unavailable(
            f"This machine is {state.host.machine.title}, not {job.target.title}.",
            "Layers are timed on the target itself.",
            "Leave out --target, run this on the target, or use only --ratio or --blocks, which need no latency.",
        )  # fmt: skip
    if wanted.sparsity:
        _require_sparse(state, candidate)
    before = _built(state, candidate)
    speedup = wanted.speedup
    if wanted.latency_ms is not None:
        speedup = _speedup_to(wanted.latency_ms, _now_ms(state, before))
    _, training = distill.gather(job.data, job.split, job.calibration, job.recipe.seed, state.runner)
    share = schedule and _share(schedule, wanted.rounds, len(training.items))
    now, build, folder, cuts, rounds = state, before, Path(), list[Cut](), list[Round]()
    for number in range(0 if by_time and wanted.blocks else 1, wanted.rounds + 1):
        began = 1.0 if by_time else None
        if cuts:
            now = prepare(replace(job, source=ours(folder)), state.runner, state.host)
            build = _built(now, candidate)
            began = _began(state, before, build) if by_time else None
        part = _part(wanted, number, speedup, began, is_first=not cuts)
        if part is None:
            continue
        entry = _cut_once(now, build, training, part, whole_of(cuts).widths if cuts else {})
        cuts.append(cut.read(entry))
        folder, history = entry.path, None
        if share and number:  # no training between the removal of blocks and that of channels
            folder, history = _trained(state, folder, share)
        rounds.append(Round(began=began, parameters=cuts[-1].parameters[1], left=cuts[-1].left, history=history))
    if schedule and not any(one.history for one in rounds):  # the removal of blocks was enough
        folder, history = _trained(state, folder, schedule)
        rounds[-1] = msgspec.structs.replace(rounds[-1], history=history)
    return Narrowed(folder, whole_of(cuts), tuple(rounds), before)


def first(candidates: Sequence[Candidate]) -> Candidate:
    """The artifact whose latency counts: the first one in INT8, else in float."""
    return next((c for c in candidates if c.variant.scheme), candidates[0])


def sparse(candidate: Candidate) -> Candidate:
    """`candidate`, built with sparse kernels."""
    builder = msgspec.structs.replace(candidate.options.builder or Builder(), sparse=True)
    return msgspec.structs.replace(candidate, options=msgspec.structs.replace(candidate.options, builder=builder))


def require_trainable(job: Job) -> None:
    """Raise `InvalidInput` if the source is not a torch module, or if there are no training images."""
    require_torch(job.source.parsed)
    image_sets.require_training(job.data, job.split, job.calibration)


def ours(folder: Path) -> Source:
    """A folder that edgewright wrote, from a source that the user named."""
    return Source(source=str(folder), trust_checkpoint=True)


def _require_sparse(state: RunState, candidate: Candidate) -> None:
    gpu = state.job.target.gpu
    if not candidate.traits.builder or not (gpu and gpu.sparsity):
        raise Unavailable(
            f"{candidate.options.runtime} on {state.job.target.title} has no kernels for {cut.SPARSITY} zeros.",
            "TensorRT has them, on NVIDIA GPUs from Ampere on.",
            "Name such a target, e.g. --target jetson-orin-nano-8gb, or prune channels with --speedup.",
        )  # fmt: skip


def _share(schedule: Schedule, rounds: int, images: int) -> Schedule:
    """The part of a training that one of `rounds` rounds gets."""
    if rounds == 1:
        return schedule
    if schedule.train_time_s and not schedule.epochs:
        return replaced(schedule, train_time_s=schedule.train_time_s / rounds)
    return replaced(schedule, epochs=max(1, schedule.passes(images) // rounds))


def _part(wanted: Wanted, number: int, speedup: float | None, began: float | None, is_first: bool) -> Wanted | None:
    """What to remove in round `number` (from 1); None if the rest is too small for a round.

        `speedup`: the goal of all rounds. `began`:
    X removed before channels are round 0. `is_first`: nothing was removed before.
    """
    rest = {"latency_ms": None, "rounds": 1}
    if number == 0:
        return msgspec.structs.replace(wanted, speedup=None, **rest)
    if speedup is not None and began is not None:
        step = speedup ** (number / wanted.rounds) / began
        is_worth = step * REACHED > 1 or is_first
        return msgspec.structs.replace(wanted, speedup=step, blocks=None, **rest) if is_worth else None
    if wanted.ratio is not None:
        return msgspec.structs.replace(wanted, ratio=1 - (1 - wanted.ratio) ** (1 / wanted.rounds), **rest)
    if wanted.blocks is not None:
        upto, before = (wanted.blocks * n // wanted.rounds for n in (number, number - 1))
        return msgspec.structs.replace(wanted, blocks=upto - before, **rest)
    return wanted


def _speedup_to(latency_ms: float, now_ms: float) -> float:
    if latency_ms >= now_ms:
        raise InvalidInput(
            f"The latency {latency_ms:g} ms is not a goal for pruning.", f"The model already takes {now_ms:.3g} ms.",
            "Give a lower latency.",
        )  # fmt: skip
    return now_ms / latency_ms


def _cut_once(
    state: RunState, build: Build, training: ImageSet, wanted: Wanted, widths: Mapping[str, tuple[int, int]]
) -> Entry:
    """The cut of one round. `build`: timed before it. `widths`: channels before the first round."""
    original = {name: before for name, (before, _) in widths.items()}
    if wanted.speedup is None:
        return cut.cut(state, build.candidate, training, wanted, original, None)
    from edgewright.graph import files as onnx_files

    known = layers(onnx_files.load(state.exported.path / MODEL))
    table = latency_table.measure(
        state.runner, known.values(), build.candidate.options, build.candidate.variant.scheme, state.host.identity,
        state.job.target.isa,
    )  # fmt: skip
    uniform = Wanted(ratio=NARROW, importance="l1")
    half = cut.cut(state, build.candidate, training, uniform, {}, None)

    def choose(anchor: Anchor) -> tuple[Entry, Reached]:
        entry = cut.cut(state, build.candidate, training, wanted, original, (table, anchor))
        return entry, _reached(state, build, entry)

    return approach(wanted.speedup, _reached(state, build, half), choose)


def approach(speedup: float, half: Reached, choose: Callable[[Anchor], tuple[T, Reached]]) -> T:
    """The result of `choose` that comes nearest to `speedup`, after at most `CHOICES` calls.

    `choose` predicts by its argument, at first anchored at the measured removal of half of all channels (`half`). A
    choice by predictions prefers models whose latency is predicted too low. So each result is measured. If it meets
    neither the goal nor its prediction (steps of channel counts are coarse), the next choice is anchored at it.
    """
    goal = 1 / speedup
    near = min(NEAR, (1 - goal) / 4)
    measured, choices = [half], list[tuple[float, T]]()
    while len(choices) < CHOICES:
        try:
            # No choice resembles the removal of half of all channels: two choices give a better line.
            one, found = choose(anchored(measured if len(choices) < 2 else measured[1:], speedup))
        except InvalidInput:
            if choices:  # an earlier choice was measured and is reported with the goal, so there is nothing to refuse
                break
            raise
        measured.append(found)
        choices.append((abs(found.share - goal), one))
        if any(predicted is not None and abs(found.share - predicted) <= near for predicted in (goal, found.predicted)):
            break
    return min(choices, key=lambda pair: pair[0])[1]


def _trained(state: RunState, folder: Path, schedule: Schedule) -> tuple[Path, History]:
    """The model in `folder` after training on the original's outputs."""
    job = state.job
    asked = distill.DistillRequest(
        teacher=job.source, student=ours(folder), data=job.data, split=job.split, train_data=job.calibration,
        schedule=schedule, seed=job.recipe.seed,
    )  # fmt: skip
    trained, found = distill.train_student(state.runner, asked)
    return trained.path, found.history


def whole_of(cuts: Sequence[Cut]) -> Cut:
    """The cuts of all rounds as one."""
    first = {name: pair[0] for one in reversed(cuts) for name, pair in one.widths.items()}
    last = {name: pair[1] for one in cuts for name, pair in one.widths.items()}
    return Cut(
        parameters=(cuts[0].parameters[0], cuts[-1].parameters[1]),
        widths={name: (width, last[name]) for name, width in first.items()},
        fixed={name: why for one in reversed(cuts) for name, why in one.fixed.items()},
        removed=tuple(name for one in cuts for name in one.removed), sparse=cuts[-1].sparse,
        untimed=tuple(dict.fromkeys(name for one in cuts for name in one.untimed)), left=cuts[-1].left,
    )  # fmt: skip


def _built(state: RunState, candidate: Candidate) -> Build:
    build = builder.build(state, candidate)
    if build.failure:
        raise RuntimeFailed(
            f"{candidate.id} cannot be built.", build.failure.reason, "Name another --scheme or --runtime."
        )
    return build


class Reached(NamedTuple):
    """The measured result of a cut: the latency before it in ms, the share that is left, the predicted share and the
    channel counts."""

    whole_ms: float
    share: float
    widths: dict[str, tuple[int, int]]
    predicted: float | None = None


def _reached(state: RunState, build: Build, entry: Entry) -> Reached:
    """Measure what the cut `entry` leaves of the artifact `build`; stored, so that a killed run finds the same cut.

    A process may be slow during its whole life, by the location of its memory: the median of several counts.
    """
    narrower = prepare(replace(state.job, source=ours(entry.path)), state.runner, state.host)
    less = _built(narrower, build.candidate)
    runs = [_measured(state, build, less, number) for number in range(1, RUNS + 1)]
    result = cut.read(entry)
    return Reached(
        median(run.before for run in runs), 1 / median(run.gain() for run in runs), result.widths, result.left
    )


def anchored(measured: Sequence[Reached], speedup: float) -> Anchor:
    """The anchor of predictions: the nearest cuts on both sides of the goal, else the last one."""
    slower = [one for one in measured if one.share * speedup > 1]
    faster = [one for one in measured if one.share * speedup <= 1]
    chosen = measured[-1:]
    if slower and faster:
        chosen = [min(slower, key=lambda one: one.share), max(faster, key=lambda one: one.share)]
    whole_ms = median(one.whole_ms for one in measured)
    return Anchor(
        whole_ms=whole_ms, narrower=tuple(Narrower(ms=one.share * whole_ms, widths=one.widths) for one in chosen)
    )


def _now_ms(state: RunState, build: Build) -> float:
    """The latency of an artifact measured alone, the median of several runs; stored like all that depends on it."""
    found = []
    for number in range(1, RUNS + 1):
        latency = _timed(state, {"before": build}, None, kept=number)["before"].latency
        if latency is None or not latency.p50_ms:
            raise RuntimeFailed(f"{build.candidate.id} cannot be measured.", "It gave no latency.", "See the log.")
        found.append(latency.p50_ms)
    return median(found)


def _timed(
    state: RunState, builds: Mapping[str, Build], base: str | None, kept: int | None = None
) -> dict[str, Timing]:
    """Measure the artifacts in one interleaved run. `kept`: reuse the stored run with this number, if there is one."""
    asked = Interleaved(
        artifacts={name: build.artifact for name, build in builds.items() if build.artifact}, images=few(state),
        rules=RULES, target=state.job.target, base=base, run=kept,
    )  # fmt: skip
    return interleaved(state.runner, state.host, "latency", asked, fresh=kept is None)


def _began(state: RunState, before: Build, now: Build) -> float:
    """How many times faster `now` is than `before`; stored, so that a killed run finds the same cuts."""
    return median(_measured(state, before, now, number).gain() for number in range(1, RUNS + 1))


def _measured(state: RunState, before: Build, after: Build, kept: int | None = None) -> Measured:
    found = _timed(state, {"before": before, "after": after}, "before", kept)
    p50, valid = {}, True
    for name, timing in found.items():
        if timing.latency is None or not timing.latency.p50_ms:
            raise RuntimeFailed(f"The model {name} pruning cannot be measured.", timing.reason or "", "See the log.")
        p50[name], valid = timing.latency.p50_ms, valid and timing.latency.valid
    return Measured(p50["before"], p50["after"], found["after"].speedup, valid)


def _compared(state: RunState, before: Build, narrow: RunState, after: Build) -> tuple[Accuracy, Accuracy]:
    """The accuracy of the unpruned artifact, and of the pruned one paired with it."""
    entries = builder.answer(state, before), builder.answer(narrow, after)
    if entries[0] is None or entries[1] is None:
        failed = next((one.failure.reason for one in (before, after) if one.failure), "")
        raise RuntimeFailed(f"{before.candidate.id} cannot be evaluated.", failed, "See the log.")
    truth, found = (accuracy.load_outputs(entry.path) for entry in entries if entry)
    items, spec = state.images.evaluation.items, state.spec
    metric = tasks.of(spec).metric
    return metric.score(truth, items, spec), metric.compare(found, truth, items, spec)
