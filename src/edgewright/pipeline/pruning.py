"""A model with fewer channels: chosen by the latency that they cost on the target, recovered by distillation, measured.

Three stages: the table of its layers (`latency_table`), the cut, whose folder is a source itself, and the training
under the original (`distillation`). What was predicted is compared with what is measured, both artifacts interleaved.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec

from edgewright.bench import accuracy, detection_accuracy
from edgewright.bench.latency import Rules, Timing, measure_interleaved
from edgewright.bench.layer_table import Cost, Table, predict
from edgewright.bench.results import Accuracy, Ratio
from edgewright.core import jail
from edgewright.core.errors import (
    DiskFull,
    EdgewrightError,
    InvalidInput,
    RuntimeFailed,
    Unavailable,
    UsageError,
)
from edgewright.core.spec import ModelSpec, decode
from edgewright.core.store import Entry
from edgewright.data import sets
from edgewright.data.sets import ImageSet
from edgewright.export.sources import require_torch
from edgewright.export.sources.parse import parse
from edgewright.graph.layers import Layer, layers, narrowed
from edgewright.pipeline import distillation, latency_table, stages
from edgewright.pipeline import images as image_sets
from edgewright.pipeline.candidates import Candidate
from edgewright.pipeline.place import Place
from edgewright.pipeline.recipe import Recipe
from edgewright.pipeline.run import LATENCY_IMAGES, Job, Line, Work, export, prepare
from edgewright.pipeline.stages import Source, Workshop
from edgewright.quantize.pruning import Importance
from edgewright.quantize.schedule import RECOVERY, History, Schedule, replaced
from edgewright.targets.channels import channel_block, pooled_block

IMAGES, BATCH = 256, 16
"""Images that importance is measured on, and how many at once."""
RULES = Rules(min_duration_s=1.5, min_count=100)
REPORT = "pruned.json"
"""What the cut tells, beside the plan: widths, parameters, and the share of the latency that is to be left."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """How much is to go: a `speedup` or `latency_ms` by the table, the share `ratio` of all channels, so many `blocks`.

    `least`: the share of a layer's channels that stays at least. Raises `UsageError` unless it is one of the four.
    """

    speedup: float | None = None
    latency_ms: float | None = None
    ratio: float | None = None
    blocks: int | None = None
    importance: str = "fisher"
    least: float = 0.1

    def __post_init__(self) -> None:
        given = [name for name in ("speedup", "latency_ms", "ratio", "blocks") if getattr(self, name) is not None]
        if len(given) != 1:
            raise UsageError(
                f"{' and '.join(given) or 'Nothing'} was given to say how much is to be pruned.",
                "It is one of a speed-up, a latency, a ratio of channels and a number of blocks.",
                "Give e.g. --speedup 1.5.",
            )  # fmt: skip
        if self.speedup is not None and not self.speedup > 1:
            raise UsageError(f"The speed-up is {self.speedup:g}.", "It is more than 1.", "Give e.g. --speedup 1.5.")
        if self.latency_ms is not None and not self.latency_ms > 0:
            raise UsageError(f"The latency is {self.latency_ms:g} ms.", "It is above zero.", "Correct it.")
        if self.ratio is not None and not 0 < self.ratio < 1:
            raise UsageError(
                f"The ratio is {self.ratio:g}.", "It is the share of channels that go: more than 0, less than 1.",
                "Give e.g. --ratio 0.3.",
            )  # fmt: skip
        if self.importance not in (known := get_args(Importance)):
            raise UsageError(
                f"There is no importance '{self.importance}'.", f"Known: {', '.join(known)}.", "Use one of them."
            )
        if not 0 < self.least <= 1:
            raise UsageError(f"least is {self.least:g}.", "It is a share of channels.", "Give e.g. 0.1.")


class Pruned(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of a pruning. Latencies are p50 in ms of the artifact `artifact`, image to answer.

    `predicted_ms`: by the table, before it was built, of `before_ms` (absent with a ratio). `speedup`: measured,
    interleaved. `accuracy`: of the pruned artifact, paired with that of the unpruned one, `accuracy_before`. `widths`:
    of each group of channels, by its layer, how many there were and are. `fixed`: layers that stay as they are, with
    the reason. `removed`: blocks that are gone. `untimed`: narrowed layers that no prediction counts.
    """

    artifact: str
    importance: str
    images: int
    before_ms: float
    predicted_ms: float | None
    after_ms: float
    speedup: Ratio | None
    valid: bool
    parameters: tuple[int, int]
    accuracy_before: Accuracy
    accuracy: Accuracy
    widths: dict[str, tuple[int, int]]
    fixed: dict[str, str]
    removed: tuple[str, ...] = ()
    untimed: tuple[str, ...] = ()
    history: History | None = None


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """What predictions go out from, in ms: the unpruned artifact's median and least latency, and what of it is fixed.

    The table is of least times, which other work on the machine does not lengthen: what is predicted from it is the
    share of the least latency that is left.
    """

    p50_ms: float = 1.0
    least_ms: float = 1.0
    fixed_ms: float = 0.0


class Measured(NamedTuple):
    """Latencies of both artifacts in ms, the speed-up, and whether they are evidence."""

    before: float
    after: float
    speedup: Ratio | None
    valid: bool


class Narrowed(NamedTuple):
    """A pruned model: its folder, what the cut told, its training, and the unpruned artifact."""

    folder: Path
    told: dict[str, Any]
    history: History | None
    before: Work


def prune(job: Job, shop: Workshop, place: Place, wanted: Wanted, schedule: Schedule | None) -> tuple[Path, Pruned]:
    """The folder of the pruned model (a source), and what it gained and lost in the first artifact of `job`.

    `schedule` None: it is not trained after the cut. Raises `Unavailable` where the target is another machine,
    `InvalidInput` for a model that cannot be pruned so far, `RuntimeFailed` where the artifact cannot be built.
    """
    _require_prunable(job)
    line, candidates = prepare(job, shop, place)
    candidate = _first(candidates)
    folder, told, history, before = narrow(line, candidate, wanted, schedule)
    pruned = Source(source=str(folder), trust_checkpoint=True)
    slim, _ = prepare(replace(job, source=pruned), shop, place)
    after = _built(slim, candidate)
    accuracies = _compared(line, before, slim, after)
    times = _measured(line, before, after)
    return folder, Pruned(
        artifact=candidate.id, importance=wanted.importance, images=len(line.images.evaluation.items),
        before_ms=times.before,
        # A machine is not as busy as when the prediction was made: what is foretold is the share that is left.
        predicted_ms=told["left"] * times.before if "left" in told else None,
        after_ms=times.after, speedup=times.speedup, valid=times.valid, parameters=tuple(told["parameters"]),
        accuracy_before=accuracies[0], accuracy=accuracies[1],
        widths={name: tuple(pair) for name, pair in told["widths"].items()}, fixed=told["fixed"],
        removed=tuple(told["removed"]), untimed=tuple(told["untimed"]), history=history,
    )  # fmt: skip


def compress(line: Line, candidates: Sequence[Candidate]) -> dict[str, Entry | EdgewrightError]:
    """The exported models of the recipe's `prune`, by the name of their variants; or why there is none.

    Each is as many times faster as the recipe says in the first INT8 artifact of `candidates`, by its table.
    """
    found: dict[str, Entry | EdgewrightError] = {}
    for speedup in line.job.recipe.prune:
        try:
            _require_prunable(line.job)
            made = narrow(line, _first(candidates), Wanted(speedup=speedup), _schedule(line.job.recipe))
            slim = Source(source=str(made.folder), trust_checkpoint=True)
            found[f"pruned{speedup:g}x"] = export(line.shop, replace(line.job, source=slim), line.images)
        except DiskFull:
            raise
        except EdgewrightError as error:
            found[f"pruned{speedup:g}x"] = error
    return found


def narrow(line: Line, candidate: Candidate, wanted: Wanted, schedule: Schedule | None) -> Narrowed:
    """The model of `line` cut as is `wanted` for `candidate`, and trained by `schedule`. Raises what `prune` does."""
    job, shop, place = line.job, line.shop, line.place
    if not line.measure or not place.is_here:
        raise Unavailable(
            f"This machine is {place.machine.title}, not {job.target.title}.",
            "Layers are timed where the model will run.", "Leave --target away, or run this on the device.",
        )  # fmt: skip
    before = _built(line, candidate)
    _, training = distillation.gather(job.data, job.split, job.calibration, job.recipe.seed)
    anchor, table, graph_layers = Anchor(), None, {}
    if wanted.ratio is None and wanted.blocks is None:
        from edgewright.graph import files as onnx_files

        graph_layers = layers(onnx_files.load(line.exported.path / stages.MODEL))
        table = latency_table.measure(
            shop, graph_layers.values(), candidate.options, candidate.variant.scheme, place.identity, job.target.isa
        )
        anchor = _anchor(line, before)
    made = _cut(line, candidate, training, wanted, graph_layers, table, anchor)
    told = msgspec.json.decode((made.path / REPORT).read_bytes())
    if schedule is None:
        return Narrowed(made.path, told, None, before)
    student = Source(source=str(made.path), trust_checkpoint=True)
    taught, distilled = distillation.distil(
        shop, job.source, student, job.data, job.split, job.calibration, schedule, None, job.recipe.seed
    )
    return Narrowed(taught.path, told, distilled.history, before)


def _schedule(recipe: Recipe) -> Schedule:
    return replaced(RECOVERY, time_budget_s=recipe.prune_time_s)


def _first(candidates: Sequence[Candidate]) -> Candidate:
    """The artifact whose latency counts: the first in INT8, else in float."""
    return next((c for c in candidates if c.variant.scheme), candidates[0])


def _require_prunable(job: Job) -> None:
    """Raise `InvalidInput` where the source is no torch module, or where there are no images to learn from."""
    require_torch(parse(job.source.source))
    if image_sets.read_calibration(job.data, image_sets.read_evaluation(job.data, job.split), job.calibration) is None:
        raise InvalidInput(
            f"{job.data} has no images to learn from beside those to evaluate on.",
            "What a channel is worth, and its recovery, are found on other images than the loss is measured on.",
            "Sort them into folders train and val, or name some: --calibration DIR",
        )  # fmt: skip


def _built(line: Line, candidate: Candidate) -> Work:
    work = line.build(candidate)
    if work.reason:
        raise RuntimeFailed(f"{candidate.id} cannot be built.", work.reason, "Name another --scheme or --runtime.")
    return work


def _anchor(line: Line, work: Work) -> Anchor:
    """What the unpruned artifact takes: kept, so that the same cut is found again after a kill."""
    found = _timed(line, {"before": work}, None, fresh=False)["before"].latency
    if found is None or not found.p50_ms or not found.min_ms:
        raise RuntimeFailed(f"{work.candidate.id} cannot be measured.", "It gave no latency.", "See the log.")
    # Parts are medians of runs of their own, which do not add up to that of the whole: what counts is their share.
    outside = (found.preprocess_p50_ms or 0.0) + (found.postprocess_p50_ms or 0.0)
    share = outside / (outside + (found.runtime_p50_ms or found.p50_ms))
    return Anchor(p50_ms=found.p50_ms, least_ms=found.min_ms, fixed_ms=share * found.min_ms)


def _timed(line: Line, works: Mapping[str, Work], base: str | None, fresh: bool = True) -> dict[str, Timing]:
    """The artifacts measured in one interleaved run; not `fresh`: as they were measured before, where they were."""
    paths = {name: work.artifact.path for name, work in works.items() if work.artifact}
    images = [item.path for item in line.images.evaluation.items[:LATENCY_IMAGES]]
    inputs = {
        "artifacts": {name: work.artifact.key for name, work in works.items() if work.artifact},
        "images": line.images.evaluation_digests[:LATENCY_IMAGES], "rules": RULES, "base": base,
        "machine": line.place.identity, "made_by": stages.made_by("measure", "bench", "targets"),
    }  # fmt: skip

    def make(folder: Path, step: jail.Progress) -> None:
        found = measure_interleaved(
            paths, images, folder, rules=RULES, limits=line.shop.limits, reference=base, target=line.job.target,
            progress=step, measure=line.place.observe,
        )  # fmt: skip
        (folder / "timings.json").write_bytes(msgspec.json.encode(found))

    if fresh:
        line.shop.store.forget("latency", inputs)
    entry = line.shop.keep("latency", f"{len(paths)} artifacts, interleaved", inputs, make)
    return msgspec.json.decode((entry.path / "timings.json").read_bytes(), type=dict[str, Timing])


def _measured(line: Line, before: Work, after: Work) -> Measured:
    found = _timed(line, {"before": before, "after": after}, "before")
    p50, valid = {}, True
    for name, timing in found.items():
        if timing.latency is None or not timing.latency.p50_ms:
            raise RuntimeFailed(f"The model {name} pruning cannot be measured.", timing.reason or "", "See the log.")
        p50[name], valid = timing.latency.p50_ms, valid and timing.latency.valid
    return Measured(p50["before"], p50["after"], found["after"].speedup, valid)


def _compared(line: Line, before: Work, narrow: Line, after: Work) -> tuple[Accuracy, Accuracy]:
    """The accuracy of the unpruned artifact, and of the pruned one paired with it."""
    entries = line.evaluate(before), narrow.evaluate(after)
    if entries[0] is None or entries[1] is None:
        raise RuntimeFailed(f"{before.candidate.id} does not answer.", before.reason or after.reason or "", "")
    truth, found = (accuracy.load_outputs(entry.path) for entry in entries if entry)
    items, spec = line.images.evaluation.items, line.spec
    if spec.detect:
        return (
            detection_accuracy.score(truth, items, spec.classes),
            detection_accuracy.compare(found, truth, items, spec.classes, floor=spec.detect.score),
        )
    labels = [item.label for item in items]
    return accuracy.score(truth, labels), accuracy.compare(found, truth, labels)


def _cut(
    line: Line, candidate: Candidate, training: ImageSet, wanted: Wanted, known: Mapping[str, Layer],
    table: Table | None, anchor: Anchor,
) -> Entry:  # fmt: skip
    """``plan.json``, ``weights.safetensors`` and ``pruned.json`` of the narrowed model, not trained yet."""
    some = sets.spread(training.items, IMAGES)
    labels = [item.label for item in image_sets.label(msgspec.structs.replace(training, items=some), line.spec).items]
    precision = "int8" if candidate.variant.scheme else candidate.options.precision
    runtime, isa = candidate.options.runtime, line.job.target.isa
    how: dict[str, Any] = {
        "wanted": msgspec.to_builtins(wanted), "anchor": msgspec.to_builtins(anchor),
        "block": channel_block(runtime, precision, isa), "pooled": pooled_block(runtime, precision, isa),
        "labels": labels if None not in labels else [], "seed": line.job.recipe.seed,
    }  # fmt: skip
    costs = [(layer, cost) for layer, cost in table.costs.items()] if table else []
    inputs = {
        "model": line.exported.key, "images": sets.digests(msgspec.structs.replace(training, items=some)), **how,
        "costs": msgspec.to_builtins(costs), "made_by": stages.made_by("prune", "quantize", "export", "bench"),
    }  # fmt: skip
    return line.shop.run(
        "prune", line.job.source.source, inputs, f"{__name__}:cut", source=msgspec.to_builtins(line.job.source),
        model=str(line.exported.path / stages.MODEL), spec=str(line.exported.path / stages.SPEC),
        images=[item.path for item in some], costs=msgspec.to_builtins(costs),
        known=msgspec.to_builtins(list(known.items())), **how,
    )  # fmt: skip


# --- in the child -----------------------------------------------------------------------------------------------------


def cut(
    source: dict[str, Any], model: str, spec: str, images: list[str], labels: list[int], wanted: dict[str, Any],
    known: list[Any], costs: list[Any], anchor: dict[str, Any], block: int, pooled: int, seed: int,
    folder: str, progress: jail.Progress | None = None,
) -> None:  # fmt: skip
    """Narrow the module of `source` and write it into `folder`; runs in a child."""
    import torch

    from edgewright.quantize.pruning import blocks
    from edgewright.vision import preprocess

    tell = progress or (lambda *_: None)
    asked, about = msgspec.convert(wanted, Wanted), decode(Path(spec).read_bytes(), ModelSpec, spec)
    given = msgspec.convert(source, Source)
    original = distillation.trainable_of(given)
    batches = [
        (
            torch.from_numpy(preprocess.batch(images[i : i + BATCH], about)),
            torch.tensor(labels[i : i + BATCH]) if labels else None,
        )
        for i in range(0, len(images), BATCH)
    ]
    if asked.blocks is not None:
        removed = blocks.choose(original.module, original.answers, [x for x, _ in batches], asked.blocks, tell)
        narrow = blocks.remove(original.module, removed)
        told: dict[str, Any] = {"widths": {}, "fixed": {}, "untimed": [], "removed": removed}
    else:
        cost_of = None
        if asked.ratio is None:
            table = Table(dict(msgspec.convert(costs, list[tuple[Layer, Cost]])), block)
            start = msgspec.convert(anchor, Anchor)
            cost_of = functools.partial(_Costs, dict(msgspec.convert(known, list[tuple[str, Layer]])), table, start)
        narrow, told = _without_channels(original, about, asked, batches, model, cost_of, (block, pooled), seed, tell)
    told["parameters"] = [sum(p.numel() for p in module.parameters()) for module in (original.module, narrow)]
    made = {"method": "pruning", "wanted": wanted, "parameters": told["parameters"]}
    distillation.write(Path(folder), given.source, narrow, about, made, told["removed"])
    Path(folder, REPORT).write_bytes(msgspec.json.encode(told))


def _without_channels(
    original: Any, spec: ModelSpec, asked: Wanted, batches: Sequence[Any], model: str, cost_of: Any,
    steps: tuple[int, int], seed: int, tell: jail.Progress,
) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """The module without the channels that go, and what is told of it.

    `steps`: of widths, and of those that a max pool reads. `cost_of` makes the `_Costs` of shapes and groups; None: a
    ratio is asked for, which needs none.
    """
    import torch

    from edgewright.quantize.pruning import choice, groups, importance

    first = torch.zeros(spec.input.shape(1))
    tell(0, 4, "what hangs together")
    found = groups.find(original.module, original.answers, first)
    tell(1, 4, "what channels are worth")
    kind: Any = asked.importance
    worth = importance.measure(kind, original.module, original.answers, found.groups, batches, seed=seed)
    tell(2, 4, "the choice")
    block = dict.fromkeys((group.name for group in found.groups), steps[0])
    told: dict[str, Any] = {"fixed": found.kept, "untimed": [], "removed": []}
    if cost_of is None:
        gone = choice.uniform(found.groups, asked.ratio or 0.0, block)
    else:
        cost = cost_of(groups.shapes(original.module, original.answers, first), found.groups)
        block |= dict.fromkeys(cost.pooled(model), steps[1])
        lost = {group.name: groups.lost(group, worth[group.name]) for group in found.groups}
        start = cost.anchor
        share = asked.latency_ms / start.p50_ms if asked.latency_ms is not None else 1 / (asked.speedup or 1)
        gone = choice.choose(found.groups, lost, cost, share * start.least_ms, block, asked.least)
        told |= {"left": cost(gone) / start.least_ms, "untimed": cost.untimed}
    tell(3, 4, "the cut")
    chosen = {group.name: groups.indices(group, worth[group.name], gone[group.name]) for group in found.groups}
    told["widths"] = {group.name: (group.channels, group.channels - len(chosen[group.name])) for group in found.groups}
    return groups.prune(original.module, original.answers, first, chosen, found.groups), told


class _Costs:
    """The predicted latency of a model by how many units of each group are gone."""

    def __init__(
        self, known: Mapping[str, Layer], table: Table, anchor: Anchor, shapes: Mapping[str, Any],
        groups: Sequence[Any],
    ) -> None:  # fmt: skip
        self.before, self.anchor = list(known.values()), anchor
        self.names = list(known)
        self.owner = _matched(known, shapes)
        self.members: dict[str, list[tuple[str, str, float]]] = {}
        for group in groups:
            for member in group.members:
                share = (group.name, member.side, member.channels / group.units)
                self.members.setdefault(member.layer, []).append(share)
        self.time = functools.cache(table.microseconds)
        self.untimed = sorted(set(self.members) - set(self.owner.values()))
        """Layers whose node in the graph was not found: what they cost is not in the prediction."""

    def __call__(self, gone: Mapping[str, int]) -> float:
        after = [self._narrowed(name, layer, gone) for name, layer in zip(self.names, self.before)]
        cached: Any = _Cached(self.time)
        return predict(cached, self.before, after, self.anchor.least_ms, self.anchor.fixed_ms)

    def pooled(self, model: str) -> list[str]:
        """The groups whose channels a max pool reads."""
        from edgewright.graph import files as onnx_files

        found = []
        nodes = pooled_nodes(onnx_files.load(Path(model)))
        for node in nodes:
            layer = self.owner.get(node)
            found += [name for name, side, _ in self.members.get(layer or "", ()) if side == "out"]
        return found

    def _narrowed(self, node: str, layer: Layer, gone: Mapping[str, int]) -> Layer:
        less = {"in": 0.0, "out": 0.0}
        for group, side, each in self.members.get(self.owner.get(node, ""), ()):
            less[side] += each * gone[group]
        if not any(less.values()):
            return layer
        return narrowed(layer, layer.cin - round(less["in"]), layer.cout - round(less["out"]))


class _Cached(NamedTuple):
    """A table whose lookups are kept."""

    microseconds: Any


def _matched(known: Mapping[str, Layer], shapes: Mapping[str, Any]) -> dict[str, str]:
    """The layer of the module that each node of the graph is: both run in one order, and shapes tell them apart.

    A layer that the graph has not (a head for training) has no node; a node without a layer keeps its width.
    """
    left = list(shapes.items())
    found: dict[str, str] = {}
    for node, layer in known.items():
        sizes = [
            (layer.kind, layer.cin, layer.cout, layer.kernel, layer.stride, layer.groups, layer.height, layer.width),
            (layer.kind, layer.cin, layer.cout, layer.kernel, layer.stride, layer.groups),
        ]
        for size in sizes:  # a library may pad by itself before the layer: then only the rest is alike
            place = next((i for i, (_, shape) in enumerate(left) if tuple(shape)[: len(size)] == size), None)
            if place is not None:
                found[node] = left.pop(place)[0]
                break
    return found


def pooled_nodes(model: Any) -> list[str]:
    """The convolutions of an ONNX model whose channels reach a max pool before any other layer."""
    makers = {name: node for node in model.graph.node for name in node.output}
    found, waiting, seen = [], [n.input[0] for n in model.graph.node if n.op_type == "MaxPool"], set()
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or node.output[0] in seen:
            continue
        seen.add(node.output[0])
        if node.op_type in ("Conv", "ConvTranspose"):
            found.append(node.name or node.output[0])
        elif node.op_type not in ("Gemm", "MatMul"):
            waiting += list(node.input)
    return found
