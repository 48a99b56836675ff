"""The cut: the stage that removes channels, blocks or single weights of a model; its folder is a source itself."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec

from edgewright.bench.layer_table import Cost, Network, Table, predict
from edgewright.core import child
from edgewright.core.errors import UsageError
from edgewright.core.spec import ModelSpec, decode
from edgewright.core.store import Entry
from edgewright.data import sets
from edgewright.data.sets import ImageSet
from edgewright.graph.index import producers_of
from edgewright.graph.layers import Layer, layers, narrowed
from edgewright.pipeline import images as image_sets
from edgewright.pipeline.candidate import Candidate
from edgewright.pipeline.jobs import distill
from edgewright.pipeline.stages.export import Source
from edgewright.pipeline.stages.model import MODEL, SPEC
from edgewright.pipeline.stages.runner import made_by
from edgewright.pipeline.state import RunState
from edgewright.quantize.pruning import Importance

IMAGES, BATCH = 256, 16
"""The number of images for channel importance, and their batch size."""
REPORT = "pruned.json"
"""The file with the `Cut`, next to the plan."""
SPARSITY = "2:4"
AMOUNTS = ("speedup", "latency_ms", "ratio", "blocks", "sparsity")
MOST_ROUNDS = 20


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """How much to prune: by `speedup` or `latency_ms`, the share `ratio` of all channels, or a number of `blocks`;
    or single weights in a pattern (`sparsity` "2:4", for TensorRT).

    With a speedup or a latency, `blocks` are removed first, then as many channels as are needed. `rounds`: the number
    of cuts, each trained and measured before the next; the removal of blocks before channels is not counted and not
    trained separately. `least`: the smallest share of a layer's channels that remains. Raises `UsageError` unless
    exactly one of the five is set, or blocks with a speedup or a latency.
    """

    speedup: float | None = None
    latency_ms: float | None = None
    ratio: float | None = None
    blocks: int | None = None
    sparsity: str | None = None
    rounds: int = 1
    importance: str = "fisher"
    least: float = 0.1

    def __post_init__(self) -> None:
        given = [name for name in AMOUNTS if getattr(self, name) is not None]
        if len(given) != 1 and given not in (["speedup", "blocks"], ["latency_ms", "blocks"]):
            raise UsageError(
                f"{' and '.join(given) or 'Nothing'} was given to say how much to prune.",
                "Give one of a speedup, a latency, a ratio of channels, a number of blocks and a pattern of zeros. "
                "Only blocks go together with a speedup or a latency.",
                "Give e.g. --speedup 1.5.",
            )  # fmt: skip
        if self.speedup is not None and not self.speedup > 1:
            raise UsageError(f"The speedup is {self.speedup:g}.", "It must be above 1.", "Give e.g. --speedup 1.5.")
        if self.latency_ms is not None and not self.latency_ms > 0:
            raise UsageError(f"The latency is {self.latency_ms:g} ms.", "It must be above 0.", "Correct it.")
        if self.ratio is not None and not 0 < self.ratio < 1:
            raise UsageError(
                f"The ratio is {self.ratio:g}.", "It is the share of channels to remove: above 0, below 1.",
                "Give e.g. --ratio 0.3.",
            )  # fmt: skip
        if self.blocks is not None and self.blocks < 1:
            raise UsageError(f"The number of blocks is {self.blocks}.", "It must be at least 1.", "Give --blocks 2.")
        if self.sparsity not in (None, SPARSITY):
            raise UsageError(f"The sparsity '{self.sparsity}' is unknown.", f"Known: {SPARSITY}.", f"Give {SPARSITY}.")
        if self.importance not in (known := get_args(Importance)):
            raise UsageError(
                f"The importance '{self.importance}' is unknown.", f"Known: {', '.join(known)}.", "Use one of them."
            )
        if not 0 < self.least <= 1:
            raise UsageError(f"least is {self.least:g}.", "It is a share of channels.", "Give e.g. 0.1.")
        if not 1 <= self.rounds <= (most := self._most_rounds()):
            raise UsageError(
                f"The number of rounds is {self.rounds}.",
                f"Allowed here: 1 to {most}. Each round prunes and trains.", "Give fewer, or leave out --rounds.",
            )  # fmt: skip

    @property
    def by_time(self) -> bool:
        """Whether a latency decides how much is pruned."""
        return self.speedup is not None or self.latency_ms is not None

    @property
    def amount(self) -> str:
        """How much to prune, as text."""
        if self.ratio is not None:
            return f"less {100 * self.ratio:.3g}% of all channels"
        if self.blocks is not None:
            return f"less {self.blocks} block{'s' * (self.blocks != 1)}" + (", then by latency" if self.by_time else "")
        if self.sparsity is not None:
            return f"{self.sparsity} zeros"
        return f"{self.speedup:.3g}x faster" if self.speedup else f"{self.latency_ms:.3g} ms"

    def _most_rounds(self) -> int:
        if self.sparsity:
            return 1
        return min(MOST_ROUNDS, self.blocks) if self.blocks is not None and not self.by_time else MOST_ROUNDS


class Narrower(msgspec.Struct, frozen=True, kw_only=True):
    """A measured cut: its latency in ms, and the channels before and after of each group."""

    ms: float
    widths: dict[str, tuple[int, int]]


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """The anchor of predictions: the latency of the uncut artifact in ms, and `narrower` ones measured with it.

    Of two narrower ones the second is faster, and predictions are on the line through both. With one, the line goes
    through the uncut artifact and that one.
    """

    whole_ms: float
    narrower: tuple[Narrower, ...]


class Cut(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``pruned.json``: what was removed.

    `widths`: channels before and after of each group, by its layer. `fixed`: layers that cannot be pruned, with the
    reason. `removed`: removed blocks. `sparse`: layers with a pattern of zeros. `untimed`: pruned layers that no
    prediction includes. `parameters`: numbers of weights before and after. `left`: the intended share of the latency,
    by the table.
    """

    parameters: tuple[int, int]
    widths: dict[str, tuple[int, int]] = {}
    fixed: dict[str, str] = {}
    removed: tuple[str, ...] = ()
    sparse: tuple[str, ...] = ()
    untimed: tuple[str, ...] = ()
    left: float | None = None


def cut(
    state: RunState, candidate: Candidate, training: ImageSet, wanted: Wanted, original: Mapping[str, int],
    forecast: tuple[Table, Anchor] | None,
) -> Entry:  # fmt: skip
    """``plan.json``, ``weights.safetensors`` and ``pruned.json`` of the pruned model of `state`, before training.

    `original`: the channels of each group before the first round; `least` is a share of them. `forecast`: predicts the
    latency of `candidate`, if a speedup is wanted.
    """
    some = sets.spread(training.items, IMAGES)
    labels = [item.label for item in image_sets.label(msgspec.structs.replace(training, items=some), state.spec).items]
    precision = "int8" if candidate.variant.scheme else candidate.options.precision
    traits, isa = candidate.traits, state.job.target.isa
    how: dict[str, Any] = {
        "wanted": msgspec.to_builtins(wanted), "original": dict(original),
        "anchor": msgspec.to_builtins(forecast and forecast[1]),
        "block": traits.channel_block(precision, isa), "pooled": traits.pooled_block(precision, isa),
        "labels": labels if None not in labels else [], "seed": state.job.recipe.seed,
    }  # fmt: skip
    costs = [(layer, cost) for layer, cost in forecast[0].costs.items()] if forecast else []
    inputs = {
        "model": state.exported.key, "images": training.only(some).digests, **how,
        "costs": msgspec.to_builtins(costs), "made_by": made_by("prune", "quantize", "export", "bench"),
    }  # fmt: skip
    return state.runner.with_torch.run(
        "prune", f"{state.job.source.source}: {wanted.amount}", inputs, f"{__name__}:make",
        request={
            "source": msgspec.to_builtins(state.job.source), "model": str(state.exported.path / MODEL),
            "spec": str(state.exported.path / SPEC), "images": [item.path for item in some],
            "costs": msgspec.to_builtins(costs), **how,
        },
    )  # fmt: skip


def read(entry: Entry) -> Cut:
    """The result of the stage."""
    return msgspec.json.decode((entry.path / REPORT).read_bytes(), type=Cut)


# --- in the child -----------------------------------------------------------------------------------------------------


class CutRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The request to the child: how much of `source` to prune, and the `images` for the importance.

    `costs`, `anchor`: predict the latency, if a speedup is wanted. `block`: step of channel counts; `pooled`: step of
    the channels that a max pool reads.
    """

    source: Source
    model: str
    spec: str
    images: list[str]
    labels: list[int]
    wanted: Wanted
    original: dict[str, int]
    costs: list[tuple[Layer, Cost]]
    anchor: Anchor | None
    block: int
    pooled: int
    seed: int


def make(request: dict[str, Any], folder: str, progress: child.Progress | None = None) -> None:
    """Prune the module of the source and write it to `folder`. Runs in a child."""
    import torch

    from edgewright.quantize.pruning import blocks, sparsity
    from edgewright.vision import preprocess

    step = progress or (lambda *_: None)
    wanted = msgspec.convert(request, CutRequest)
    asked, about = wanted.wanted, decode(Path(wanted.spec).read_bytes(), ModelSpec, wanted.spec)
    images, labels = wanted.images, wanted.labels
    whole = distill.trainable_of(wanted.source)
    batches = [
        (
            torch.from_numpy(preprocess.batch(images[i : i + BATCH], about)),
            torch.tensor(labels[i : i + BATCH]) if labels else None,
        )
        for i in range(0, len(images), BATCH)
    ]
    result: dict[str, Any] = {}
    if asked.blocks is not None:
        result["removed"] = blocks.choose(whole.module, whole.answers, [x for x, _ in batches], asked.blocks, step)
        less = blocks.remove(whole.module, result["removed"])
    elif asked.sparsity is not None:
        less, result["sparse"] = sparsity.prune(whole.module)
    else:
        less, result = _without_channels(whole, about, wanted, batches, step)
    result["parameters"] = [sum(p.numel() for p in module.parameters()) for module in (whole.module, less)]
    history = {"method": "pruning", "wanted": msgspec.to_builtins(asked), "parameters": result["parameters"]}
    distill.write(Path(folder), wanted.source.source, less, about, history, result.get("removed", ()))
    Path(folder, REPORT).write_bytes(msgspec.json.encode(msgspec.convert(result, Cut)))


def _without_channels(
    whole: Any, spec: ModelSpec, request: CutRequest, batches: Sequence[Any], step: child.Progress
) -> tuple[Any, dict[str, Any]]:
    """The module without the removed channels, and the fields of its `Cut`."""
    import torch

    from edgewright.graph import files as onnx_files
    from edgewright.quantize.pruning import choice, groups, importance

    asked, original = request.wanted, request.original
    first = torch.zeros(spec.input.shape(1))
    step(0, 4, "coupled channels")
    found = groups.find(whole.module, whole.answers, first)
    step(1, 4, "importance of channels")
    kind: Any = asked.importance
    worth = importance.measure(kind, whole.module, whole.answers, found.groups, batches, seed=request.seed)
    step(2, 4, "choice of channels")
    network = Matched.of(
        onnx_files.load(Path(request.model)), groups.shapes(whole.module, whole.answers, first), found.groups
    )
    block = dict.fromkeys((group.name for group in found.groups), request.block)
    block |= dict.fromkeys(network.pooled, request.pooled)
    result: dict[str, Any] = {"fixed": found.kept}
    if asked.ratio is not None:
        gone = choice.uniform(found.groups, asked.ratio, block)
    else:
        assert request.anchor is not None
        table = Table(dict(request.costs), request.block)
        cost = Costs(table, request.anchor, network, found.groups)
        lost = {group.name: groups.lost(group, worth[group.name]) for group in found.groups}
        allowed = {
            group.name: choice.options(group, block[group.name], asked.least * original.get(group.name, group.channels))
            for group in found.groups
        }
        whole_ms = cost.anchor.whole_ms
        gone = choice.choose(allowed, lost, cost, whole_ms / (asked.speedup or 1.0))
        result |= {"left": cost(gone) / whole_ms, "untimed": network.untimed}
    step(3, 4, "removal of channels")
    chosen = {group.name: groups.indices(group, worth[group.name], gone[group.name]) for group in found.groups}
    result["widths"] = {
        group.name: (group.channels, group.channels - len(chosen[group.name])) for group in found.groups
    }
    return groups.prune(whole.module, whole.answers, first, chosen, found.groups), result


class Matched(NamedTuple):
    """The layers of a graph by their nodes, and the groups that narrow them: (group, side, channels of one unit)."""

    layers: dict[str, Layer]
    narrowed_by: dict[str, list[tuple[str, str, float]]]
    pooled: list[str]
    """The groups whose channels a max pool reads."""
    untimed: list[str]
    """Layers of groups without a matching node in the graph: no prediction includes their cost."""

    @classmethod
    def of(cls, model: Any, shapes: Mapping[str, Any], groups: Sequence[Any]) -> Matched:
        """Match the layers of the ONNX `model` with those of the module (`shapes`) and its `groups` of channels."""
        members: dict[str, list[tuple[str, str, float]]] = {}
        for group in groups:
            for member in group.members:
                share = (group.name, member.side, member.channels / group.units)
                members.setdefault(member.layer, []).append(share)
        known = layers(model)
        owner = _matched(known, shapes)
        by_node = {node: members[layer] for node, layer in owner.items() if layer in members}
        pooled = [name for node in pooled_nodes(model) for name, side, _ in by_node.get(node, ()) if side == "out"]
        return cls(known, by_node, pooled, sorted(set(members) - set(owner.values())))

    def without(self, gone: Mapping[str, int]) -> Iterator[tuple[Layer, Layer]]:
        """Pairs of layers: with `gone` units of each group removed, and as before."""
        for node, layer in self.layers.items():
            less = {"in": 0.0, "out": 0.0}
            for group, side, each in self.narrowed_by.get(node, ()):
                less[side] += each * gone[group]
            if any(less.values()):
                yield narrowed(layer, layer.cin - round(less["in"]), layer.cout - round(less["out"])), layer
            else:
                yield layer, layer


class Costs:
    """The predicted latency of a model by the number of removed units of each group."""

    def __init__(self, table: Table, anchor: Anchor, network: Matched, groups: Sequence[Any]) -> None:
        self.anchor, self.network = anchor, network
        self.time = functools.cache(table.microseconds)
        nothing = dict.fromkeys((group.name for group in groups), 0)
        measured = [Network(self._microseconds(nothing), anchor.whole_ms)]
        for one in anchor.narrower:
            gone = {}
            for group in groups:
                was, kept = one.widths[group.name]
                gone[group.name] = (was - kept) * group.units // was
            measured.append(Network(self._microseconds(gone), one.ms))
        self.wide, self.narrow = measured[-2:]
        # Two cuts with nearly equal predictions, or with the opposite order, give no scale.
        between = self.wide.microseconds - self.narrow.microseconds
        if (self.wide.ms - self.narrow.ms) * self.wide.microseconds > between * self.wide.ms:
            self.wide = measured[0]

    def __call__(self, gone: Mapping[str, int]) -> float:
        """The latency in ms after the removal of `gone` units of each group."""
        return predict(self._microseconds(gone), self.wide, self.narrow)

    def _microseconds(self, gone: Mapping[str, int]) -> float:
        return sum(self.time(after, before) for after, before in self.network.without(gone))


def _matched(known: Mapping[str, Layer], shapes: Mapping[str, Any]) -> dict[str, str]:
    """The module's layer for each node of the graph: both have the same execution order, and shapes step layers apart.

    A layer without a node (a head used in training only) is skipped; a node without a layer keeps its channels.
    """
    left = list(shapes.items())
    found: dict[str, str] = {}
    for node, layer in known.items():
        sizes = [
            (layer.kind, layer.cin, layer.cout, layer.kernel, layer.stride, layer.groups, layer.height, layer.width),
            (layer.kind, layer.cin, layer.cout, layer.kernel, layer.stride, layer.groups),
        ]
        for size in sizes:  # a library may pad before the layer: then only the other sizes agree
            place = next((i for i, (_, shape) in enumerate(left) if tuple(shape)[: len(size)] == size), None)
            if place is not None:
                found[node] = left.pop(place)[0]
                break
    return found


def pooled_nodes(model: Any) -> list[str]:
    """The convolutions of an ONNX model whose channels reach a max pool before any other layer."""
    makers = producers_of(model.graph)
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
