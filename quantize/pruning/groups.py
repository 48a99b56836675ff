"""Find the channels of a torch module that must be removed together, and remove some.

The dependency graph is torch-pruning's (Fang et al. 2023, "DepGraph: Towards Any Structural Pruning"): a channel of a
residual sum, a concatenation or a depthwise layer is removed from all layers that use it. This module adds parts that
must lose equally many channels (the halves of a chunk, the groups of a convolution), attention heads, modules that the
graph cannot trace, and a check that the pruned module still runs.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from unittest import mock

import msgspec
import torch
import torch_pruning as tp

from edgewright.core.errors import InvalidInput
from edgewright.quantize.distillation.features import Answers

from . import IS_OUTPUT

TABLE = "relative_position_bias_table"
SAME = 1e-3
"""Maximum difference of outputs relative to the largest output, due to another order of summation."""
LAYERS = (torch.nn.Conv2d, torch.nn.ConvTranspose2d, torch.nn.Linear)


class Member(NamedTuple):
    """A layer that a group narrows on its side "in" or "out", by `channels` if the complete group is removed."""

    layer: str
    side: str
    channels: int


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Channels that must be removed together, counted at the output of the layer `name`.

    `blocks`: equal consecutive parts that must lose equally many channels. `grain`: neighbors that are removed
    together. `aligned`: the same channels in each block (query, key and value of a head). `normed`: removing a channel
    changes the values of the others (LayerNorm).
    """

    name: str
    channels: int
    members: tuple[Member, ...]
    blocks: int = 1
    grain: int = 1
    aligned: bool = False
    normed: bool = False

    @property
    def units(self) -> int:
        """How many units can be removed one by one: one of each block."""
        return self.channels // self.blocks // self.grain


class Found(NamedTuple):
    """The groups of a module, and the layers whose outputs cannot change, each with the reason."""

    groups: tuple[Group, ...]
    kept: dict[str, str]


def find(module: torch.nn.Module, answers: Answers, images: torch.Tensor) -> Found:
    """The groups of `module`. `images` (N, channels, height, width) are used to trace it.

    Raises `InvalidInput` if no layer can lose a channel.
    """
    module = copy.deepcopy(module)
    names = {one: name for name, one in module.named_modules()}
    found: list[Group] = []
    kept: dict[str, str] = {}
    with dependencies(module, answers, images) as graph:
        for root in _roots(graph, names):
            if names[root] in kept or any(names[root] == m.layer for g in found for m in g.members if m.side == "out"):
                continue
            prune_out = graph.get_pruner_of_module(root).prune_out_channels
            group = graph.get_pruning_group(root, prune_out, list(range(graph.get_out_channels(root))))
            members = tuple(_members(graph, group, names))
            try:
                made = Group(
                    name=names[root], channels=len(group[0].idxs), members=members, **_parts(graph, group, root, module)
                )
                if made.units < 2:
                    raise _Fixed("it has one channel, or head, in each part")
                found.append(made)
            except _Fixed as reason:
                kept |= {m.layer: str(reason) for m in members if m.side == "out"} | {names[root]: str(reason)}
    return _proven(module, answers, images, found, kept)


def prune(
    module: torch.nn.Module, answers: Answers, images: torch.Tensor, gone: Mapping[str, Sequence[int]],
    groups: Iterable[Group],
) -> torch.nn.Module:  # fmt: skip
    """A copy of `module` without the units `gone` (indices, by the name of their group); see `indices`."""
    changed = copy.deepcopy(module)
    modules = dict(changed.named_modules())
    with dependencies(changed, answers, images) as graph:
        for group in groups:
            channels = gone.get(group.name, ())
            if not len(channels):
                continue
            root = modules[group.name]
            pruner = graph.get_pruner_of_module(root)
            graph.get_pruning_group(root, pruner.prune_out_channels, sorted(channels)).prune(record_history=False)
            if group.aligned:
                _take_heads(modules[group.name.rpartition(".")[0]], channels, group)
    return changed.eval()


class Shape(NamedTuple):
    """A layer with its shapes for one image, as an `edgewright.graph.layers.Layer`."""

    kind: str
    cin: int
    cout: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    groups: int
    height: int
    width: int


def shapes(module: torch.nn.Module, answers: Answers, images: torch.Tensor) -> dict[str, Shape]:
    """The layers of `module` by name, in the order in which they run."""
    found: dict[str, Shape] = {}
    names = {one: name for name, one in module.named_modules() if isinstance(one, LAYERS)}

    def see(one: torch.nn.Module, given: tuple[torch.Tensor, ...], _: Any) -> None:
        x = given[0]
        if isinstance(one, torch.nn.Linear):
            rows = x.numel() // one.in_features
            found[names[one]] = Shape("linear", one.in_features, one.out_features, (1, 1), (1, 1), 1, rows, 1)
        else:
            kind = "transposed" if one.transposed else "conv"
            size = (one.kernel_size, one.stride, one.groups, *x.shape[-2:])
            found[names[one]] = Shape(kind, one.in_channels, one.out_channels, *size)

    with watched(names, see), torch.no_grad():
        answers(module, images)
    return found


def indices(group: Group, worth: torch.Tensor, units: int) -> list[int]:
    """The channels of `group` to remove for `units` of it: the least important by `worth` (one value per channel).

    Each block loses equally many; aligned blocks lose the same channels.
    """
    each, channels = _by_unit(group, worth), torch.arange(group.channels).view(group.blocks, -1, group.grain)
    least = each.argsort(dim=1, stable=True)[:, :units].expand(group.blocks, -1)
    return sorted(channels.gather(1, least[..., None].expand(-1, -1, group.grain)).flatten().tolist())


def lost(group: Group, worth: torch.Tensor) -> list[float]:
    """The loss when the 0, 1, 2 ... least important units of `group` are removed."""
    each = _by_unit(group, worth).double().sort(dim=1)[0]
    each = each.sum(0)
    return [0.0, *each.cumsum(0).tolist()]


def _by_unit(group: Group, worth: torch.Tensor) -> torch.Tensor:
    """The importance of each unit of each block, (blocks, units). Aligned blocks give one row."""
    each = worth.view(group.blocks, -1, group.grain).sum(-1)
    return each.sum(0, keepdim=True) if group.aligned else each


def _silenced(
    module: torch.nn.Module, answers: Answers, images: torch.Tensor, gone: Mapping[str, Sequence[int]],
    groups: Iterable[Group],
) -> torch.nn.Module:  # fmt: skip
    """A copy of `module` with its full width, in which no layer reads the channels `gone`."""
    changed = copy.deepcopy(module)
    modules = dict(changed.named_modules())
    with dependencies(changed, answers, images) as graph, torch.no_grad():
        for group in groups:
            if not len(gone.get(group.name, ())):
                continue
            prune_out = graph.get_pruner_of_module(modules[group.name]).prune_out_channels
            for dep, channels in graph.get_pruning_group(modules[group.name], prune_out, sorted(gone[group.name])):
                layer = dep.target.module
                reads = isinstance(layer, LAYERS) and not graph.is_out_channel_pruning_fn(dep.handler)
                if reads and not is_depthwise(layer):
                    layer.weight.data[:, channels] = 0
    return changed


class _Fixed(Exception):
    """Why a group cannot be pruned."""


@contextlib.contextmanager
def dependencies(module: torch.nn.Module, answers: Answers, images: torch.Tensor) -> Iterator[Any]:
    """The dependency graph of `module`. A module that it cannot trace is replaced by one layer, a `_StandIn`."""
    before = {p: p.requires_grad for p in module.parameters()}
    opaque = [one for one in module.modules() if _is_opaque(one)]
    tables = [p for name, p in module.named_parameters() if name.endswith(TABLE)]
    with torch.no_grad(), _slicing() as pieces:
        stand_ins = _stand_ins(module, answers, images, opaque)
    markers = torch.nn.ModuleList(torch.nn.BatchNorm2d(channels) for channels in pieces)
    both = torch.nn.ModuleList([module, markers])  # what torch-pruning searches for layers
    for one, layer in stand_ins.items():
        one.stand_in = layer
        one.forward = functools.partial(torch.nn.Module.__call__, layer)
    module.requires_grad_(True)
    try:
        with warnings.catch_warnings(), torch.enable_grad(), _slicing(markers):
            warnings.simplefilter("ignore")  # It prints the parameters that it finds outside layers.
            graph = tp.DependencyGraph().build_dependency(
                both, images, forward_fn=lambda both, x: answers(both[0], x), ignored_params=tables, verbose=False
            )
        yield graph
    finally:
        for one in stand_ins:
            del one.forward
            del one.stand_in
        for p in module.parameters():  # pruning creates new ones
            p.requires_grad_(before.get(p, False))


@contextlib.contextmanager
def _slicing(markers: Sequence[torch.nn.Module] | None = None) -> Iterator[list[int]]:
    """Make maps prunable along channel slices: each slice passes one of `markers`; yields their widths.

    torch-pruning takes the parts of a split in the order of use, and counts a part that is read twice as two. A slice
    gives the start of a part, and the normalization after it gives its width, also after pruning.
    """
    widths: list[int] = []
    split = torch.Tensor.split

    def sliced(x: torch.Tensor, sizes: Sequence[int]) -> tuple[torch.Tensor, ...]:
        ends = list(itertools.accumulate(sizes))
        found = []
        for start, end in zip([0, *ends], ends):
            piece = x[:, start:end]
            found.append(piece if markers is None else markers[len(widths)](piece))
            widths.append(end - start)
        return tuple(found)

    def new_split(x: torch.Tensor, size: Any, dim: int = 0) -> tuple[torch.Tensor, ...]:
        if x.ndim != 4 or dim not in (1, -3):
            return tuple(split(x, size, dim))
        many = x.shape[1] // size if isinstance(size, int) else 0
        rest = [x.shape[1] % size] if many and x.shape[1] % size else []
        return sliced(x, [size] * many + rest if many else list(size))

    def new_chunk(x: torch.Tensor, chunks: int, dim: int = 0) -> tuple[torch.Tensor, ...]:
        return new_split(x, -(-x.shape[dim] // chunks), dim)

    with mock.patch.multiple(torch.Tensor, split=new_split, chunk=new_chunk), mock.patch.multiple(
        torch, split=new_split, chunk=new_chunk
    ):  # fmt: skip
        yield widths


@contextlib.contextmanager
def watched(modules: Iterable[torch.nn.Module], see: Callable[[torch.nn.Module, Any, Any], None]) -> Iterator[None]:
    """Call ``see(module, inputs, output)`` after each run of one of `modules`."""
    hooks = [one.register_forward_hook(see) for one in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _StandIn(torch.nn.Conv2d):  # type: ignore[misc]
    """A layer that replaces a module whose outputs have the shape of its input: maps, or rows of features."""

    def __init__(self, channels: int, is_map: bool) -> None:
        super().__init__(channels, channels, 1)
        self.is_map = is_map

    def forward(self, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        if self.is_map:
            return super().forward(x)
        return super().forward(x.transpose(1, 2)[..., None])[..., 0].transpose(1, 2)


def _stand_ins(
    module: torch.nn.Module, answers: Answers, images: torch.Tensor, opaque: list[torch.nn.Module]
) -> dict[torch.nn.Module, _StandIn]:
    """A replacement layer for each of the modules `opaque` of `module`."""
    found: dict[torch.nn.Module, _StandIn] = {}

    def see(one: torch.nn.Module, given: tuple[Any, ...], answer: Any) -> None:
        x = given[0]
        if not isinstance(answer, torch.Tensor) or answer.shape != x.shape:
            raise InvalidInput(
                f"Pruning does not support {type(one).__name__}: its output does not have the shape of its input.",
                "Only the attention modules of timm and Ultralytics are supported.", "Prune another model.",
            )  # fmt: skip
        found[one] = _StandIn(x.shape[1] if x.ndim == 4 else x.shape[-1], x.ndim == 4)

    with watched(opaque, see):
        answers(module, images)
    return found


def _is_heads(one: torch.nn.Module) -> bool:
    """Whether `one` is attention with query, key and value in one Linear, and a Linear after the heads."""
    linear = [isinstance(getattr(one, name, None), torch.nn.Linear) for name in ("qkv", "proj")]
    return all(linear) and isinstance(getattr(one, "num_heads", None), int)


def _is_opaque(one: torch.nn.Module) -> bool:
    return isinstance(getattr(one, "num_heads", None), int) and not _is_heads(one)


def _roots(graph: Any, names: Mapping[torch.nn.Module, str]) -> list[torch.nn.Module]:
    """The layers at which groups are counted: those whose channels are split first, then others in running order."""
    layers = [one for one in graph.module2node if isinstance(one, LAYERS) and one in names]
    layers.sort(key=lambda one: list(names).index(one))
    split = [one for one in layers if _parted(graph, one)]
    return split + [one for one in layers if one not in split]


def _parted(graph: Any, layer: torch.nn.Module) -> bool:
    """Whether the output of `layer` is split into parts before any other layer."""
    waiting = list(graph.module2node[layer].outputs)
    while waiting:
        node = waiting.pop()
        if node.type in (tp.ops.OPTYPE.SLICE, tp.ops.OPTYPE.UNBIND):
            return True
        if node.type in (tp.ops.OPTYPE.BN, tp.ops.OPTYPE.ELEMENTWISE, tp.ops.OPTYPE.RESHAPE):
            waiting += [out for out in node.outputs if len(node.inputs) == 1]
    return False


def _members(graph: Any, group: Any, names: Mapping[torch.nn.Module, str]) -> Iterator[Member]:
    """The layers that `group` narrows."""
    for dep, channels in group:
        layer = dep.target.module
        if isinstance(layer, LAYERS) and layer in names:
            both = is_depthwise(layer)
            if both or graph.is_out_channel_pruning_fn(dep.handler):
                yield Member(names[layer], "out", len(channels))
            if both or not graph.is_out_channel_pruning_fn(dep.handler):
                yield Member(names[layer], "in", len(channels))


def _parts(graph: Any, group: Any, root: torch.nn.Module, module: torch.nn.Module) -> dict[str, Any]:
    """The channels that must be removed together: `Group.blocks`, `grain` and `aligned`. Raises `_Fixed`."""
    channels, kinds = len(group[0].idxs), tp.ops.OPTYPE
    blocks, slices = {1}, set()
    for dep, _ in group:
        node, one = dep.target, dep.target.module
        last = isinstance(one, LAYERS) and not node.outputs and graph.is_out_channel_pruning_fn(dep.handler)
        if node.type == kinds.OUTPUT or last:
            raise _Fixed(IS_OUTPUT)
        if isinstance(one, _StandIn):
            raise _Fixed("it feeds attention that is not split into heads here")
        if node.type == kinds.SLICE and one.dim == 1:
            slices.add((one.start, one.end))
        if isinstance(one, torch.nn.Conv2d) and one.groups > 1 and not is_depthwise(one):
            blocks.add(one.groups)
        if isinstance(one, torch.nn.GroupNorm) and 1 < one.num_groups < one.num_channels:
            blocks.add(one.num_groups)
    if slices:
        size = channels // len(slices)
        if sorted(slices) != [(start, start + size) for start in range(0, channels, size)]:
            raise _Fixed("its channels are split into unequal parts")
        blocks.add(len(slices))
    heads = _heads_of(root, module)
    if heads is not None:
        return {"blocks": 3, "grain": channels // 3 // heads, "aligned": True}
    number = math.lcm(*blocks)
    if channels % number:
        raise _Fixed(f"{channels} channels do not divide into {number} equal parts")
    normed = any(dep.target.type in (kinds.LN, kinds.GN, kinds.IN) for dep, _ in group)
    return {"blocks": number, "normed": normed}


def _heads_of(root: torch.nn.Module, module: torch.nn.Module) -> int | None:
    """The number of heads if `root` computes query, key and value of an attention in `module`, else None."""
    return next((int(one.num_heads) for one in module.modules() if _is_heads(one) and one.qkv is root), None)


def is_depthwise(layer: torch.nn.Module) -> bool:
    """Whether each channel of `layer` is a group of its own."""
    return isinstance(layer, torch.nn.Conv2d) and 1 < layer.groups == layer.in_channels == layer.out_channels


def _take_heads(attention: torch.nn.Module, channels: Sequence[int], group: Group) -> None:
    """Update `attention` after the removal of the heads that `channels` belong to."""
    size = group.channels // group.blocks
    gone = sorted({c // group.grain for c in channels if c < size})
    left = [head for head in range(size // group.grain) if head not in gone]
    attention.num_heads = len(left)
    if hasattr(attention, "attn_dim"):
        attention.attn_dim = len(left) * group.grain
    if (table := getattr(attention, TABLE, None)) is not None:
        setattr(attention, TABLE, torch.nn.Parameter(table[:, left].clone(), requires_grad=table.requires_grad))


def _proven(
    module: torch.nn.Module, answers: Answers, images: torch.Tensor, groups: list[Group], kept: dict[str, str]
) -> Found:
    """`groups` without those that `module` does not run without: all are tried at once, then halves."""

    def order(group: Group) -> torch.Tensor:
        return torch.rand(group.channels, generator=torch.Generator().manual_seed(0))  # not in one piece

    def runs(some: list[Group]) -> str:
        gone = {group.name: indices(group, order(group), max(1, group.units // 4)) for group in some}
        same = {group.name: gone[group.name] for group in some if not group.normed}
        try:
            with torch.no_grad():
                found = answers(prune(module, answers, images, gone, some), images)
                plain = answers(prune(module, answers, images, same, some), images) if same != gone else found
                truth = answers(_silenced(module, answers, images, same, some), images)
        except (RuntimeError, ValueError, IndexError, AssertionError, AttributeError) as error:
            return f"the model does not run: {' '.join(str(error).split())[:120] or type(error).__name__}"
        if [a.shape for a in found] != wanted:
            return "the model's outputs have another shape"
        apart = max(float((a - b).abs().max() / (b.abs().max() + 1e-12)) for a, b in zip(plain, truth))
        return "" if apart < SAME else "other channels would be read"

    def good(some: list[Group]) -> list[Group]:
        wrong = runs(some)
        if not wrong:
            return some
        if len(some) == 1:
            reason = f"without some of its channels {wrong}"
            kept.update({m.layer: reason for m in some[0].members if m.side == "out"})
            return []
        half = len(some) // 2
        return good(some[:half]) + good(some[half:])

    with torch.no_grad():
        wanted = [a.shape for a in answers(module, images)]
    left = good(groups) if groups else []
    while left and len(left) < len(groups) and (wrong := runs(left)):  # two that work alone may not work together
        kept[left[-1].name] = f"with other groups narrowed too {wrong}"
        left = left[:-1]
    if not left:
        raise InvalidInput(
            "No layer of the model can lose a channel.",
            "; ".join(f"{name}: {why}" for name, why in list(kept.items())[:3]) or "It has no layers.",
            "Prune another model, or remove residual blocks: --blocks",
        )
    return Found(tuple(left), kept)
