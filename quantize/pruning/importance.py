"""The importance of each channel of a group for the model's outputs."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
import torch_pruning as tp

from edgewright.core.errors import InvalidInput
from edgewright.quantize.distillation.features import Answers

from . import Importance
from . import groups as grouping
from .groups import Group


def measure(
    kind: Importance, module: torch.nn.Module, answers: Answers, groups: Sequence[Group],
    batches: Iterable[tuple[torch.Tensor, torch.Tensor | None]], seed: int = 0,
) -> dict[str, torch.Tensor]:  # fmt: skip
    """The importance of each channel of each group, by group name, all on one scale.

    "l1", "l2": the norms of the channel's weights, relative to the group's mean (torch-pruning's
    `GroupMagnitudeImportance`). "taylor", "fisher": from gradients on `batches` of images (N, channels, height, width)
    with their classes (or None). Taylor is the squared first-order change of the loss (Molchanov et al. 2019). Fisher
    is the change of the outputs, image by image (Liu et al. 2021, "Group Fisher Pruning"); it needs no labels and does
    not vanish for fully trained models. Raises `InvalidInput` if a gradient is not finite.
    """
    batches = list(batches)
    generator = torch.Generator().manual_seed(seed)
    worth = {group.name: torch.zeros(group.channels) for group in groups}
    module = copy.deepcopy(module)
    modules = dict(module.named_modules())
    with grouping.dependencies(module, answers, batches[0][0][:1]) as graph:
        tied = {
            group.name: graph.get_pruning_group(
                modules[group.name], graph.get_pruner_of_module(modules[group.name]).prune_out_channels,
                list(range(group.channels)),
            )
            for group in groups
        }  # fmt: skip
    if kind in ("l1", "l2"):
        norm = tp.importance.GroupMagnitudeImportance(p=1 if kind == "l1" else 2, normalizer="mean")
        return {name: norm(group).float() for name, group in tied.items()}
    module.eval().requires_grad_(True)
    for images, labels in batches:
        module.zero_grad(set_to_none=True)
        loss(kind, answers(module, images), labels, generator).backward()
        for name, group in tied.items():
            worth[name] += _gates(graph, group, len(worth[name])).square() / len(batches)
    broken = [name for name, values in worth.items() if not bool(torch.isfinite(values).all())]
    if broken:
        raise InvalidInput(
            f"The gradients of {broken[0]} are not finite.", "Its weights or the images contain bad values.",
            "Check the checkpoint, or use --importance l1.",
        )  # fmt: skip
    return worth


def loss(
    kind: Importance, answers: Sequence[torch.Tensor], labels: torch.Tensor | None, generator: torch.Generator
) -> torch.Tensor:
    """The value to differentiate. Fisher: a random error of the outputs, different for each image.

    For a classifier that is the gradient of the cross entropy for classes drawn from its own outputs, so that unlikely
    classes count little. For a detector's maps it is noise of the size of each map's variation. The mean of the squared
    gradient is the sum of squares over images. Taylor: the cross entropy with the labels (without labels, with the
    model's own output); for maps, half their energy.
    """
    first = answers[0]
    classifies = len(answers) == 1 and first.ndim == 2
    if kind == "taylor":
        if not classifies:
            return torch.stack([(a - a.mean()).square().mean() / 2 / a.detach().var() for a in answers]).sum()
        return F.cross_entropy(first, first.argmax(1) if labels is None else labels)
    if classifies:
        shares = first.detach().softmax(1)
        drawn = torch.multinomial(shares, 1, generator=generator)[:, 0]
        signs = torch.randint(0, 2, (len(first),), generator=generator) * 2.0 - 1
        return (signs * F.cross_entropy(first, drawn, reduction="none")).sum()
    parts = []
    for a in answers:
        noise = torch.randn(a.shape, generator=generator)
        parts.append((a * noise).sum() / (a.detach().std() + 1e-12) / a[0].numel() ** 0.5)
    return torch.stack(parts).sum()


@torch.no_grad()  # type: ignore[untyped-decorator]
def _gates(graph: Any, group: Any, channels: int) -> torch.Tensor:
    """The gradient of the loss for a factor on each channel of `group` where layers read it: the sum of weight times
    gradient over the layers that read it."""
    found = torch.zeros(channels)
    for item in group:
        layer = item.dep.target.module
        if not isinstance(layer, grouping.LAYERS) or layer.weight.grad is None:
            continue
        if graph.is_out_channel_pruning_fn(item.dep.handler) or grouping.is_depthwise(layer):
            continue
        product = layer.weight * layer.weight.grad
        if isinstance(layer, torch.nn.ConvTranspose2d):
            each = product.flatten(1).sum(1)
        elif isinstance(layer, torch.nn.Conv2d) and layer.groups > 1:
            each = product.view(layer.groups, -1, *product.shape[1:]).transpose(1, 2).flatten(2).sum(2).flatten()
        else:
            each = product.transpose(0, 1).flatten(1).sum(1)
        found.index_add_(0, torch.tensor(item.root_idxs), each[torch.tensor(item.idxs)])
    return found
