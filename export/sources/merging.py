"""Branches that a model has for its training alone, merged into the one convolution that they add up to.

RepVGG (Ding et al. 2021), MobileOne (Vasu et al. 2022), FastViT, RepViT, RepGhost and others train several convolutions
and batch norms side by side. ``timm.models.reparameterize_model`` computes the one convolution with the same answers.
What is exported is a merged copy; the module that is trained or pruned keeps its branches.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from edgewright.core.lazy import require

from .loaded import outputs

if TYPE_CHECKING:
    import torch

METHODS = ("fuse", "reparameterize", "switch_to_deploy")
"""The methods that merge a block's branches, as timm and the papers' own code name them."""
TOLERANCE = 1e-3
"""The largest difference of the answers, relative to the largest answer: float32 rounding over a hundred layers."""
_SIDES = (224, 320, 64, 32)
"""Input sides to try where the source does not say which one its model takes."""


def merge(module: torch.nn.Module, image: Mapping[str, int] | None = None) -> tuple[torch.nn.Module, tuple[str, ...]]:
    """`module` itself, or a copy with its training branches merged where there are any; and a note that says so.

    `image`: height, width and, where it is not 3, channels of the model's input. The copy is returned only if it gives
    the answers of `module` on a random input (`TOLERANCE`); a note says where it does not.
    """
    if not any(callable(getattr(type(part), name, None)) for part in module.modules() for name in METHODS):
        return module, ()
    reparameterize = require("timm.models", "host").reparameterize_model
    try:
        merged = reparameterize(_regrouped(copy.deepcopy(module)), inplace=True).eval().requires_grad_(False)
    except Exception as error:  # a method of that name may be of another kind
        return module, (_KEPT.format(" ".join(str(error).split())[:200] or type(error).__name__),)
    before, after = _layers(module), _layers(merged)
    if after >= before:
        return module, ()
    reason = _difference(module, merged, image)
    if reason:
        return module, (_KEPT.format(reason),)
    return merged, (f"Merged the training branches: {before} -> {after} convolutions and batch norms.",)


_KEPT = "The training branches were not merged: {}."


def _regrouped(module: torch.nn.Module) -> torch.nn.Module:
    """`module`, where the groups that a block notes are those of its convolutions, which pruning changes."""
    import torch

    for block in module.modules():
        if type(getattr(block, "groups", None)) is int and not isinstance(block, torch.nn.modules.conv._ConvNd):
            found = {part.groups for part in block.modules() if isinstance(part, torch.nn.Conv2d)} - {1}
            if len(found) == 1 and block.groups != 1:
                block.groups = found.pop()
    return module


def _layers(module: torch.nn.Module) -> int:
    """How many convolutions and batch norms `module` has."""
    import torch

    kinds = (torch.nn.modules.conv._ConvNd, torch.nn.modules.batchnorm._BatchNorm)
    return sum(isinstance(part, kinds) for part in module.modules())


def _difference(module: torch.nn.Module, merged: torch.nn.Module, image: Mapping[str, int] | None) -> str:
    """Why `merged` cannot stand for `module`, in words; empty where both give the same answers on a random input."""
    import torch

    for shape in _shapes(module, image):
        x = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 4 - 2
        with contextlib.suppress(Exception), torch.no_grad():  # what forward() raises for another size has no class
            before = outputs(module, x)
            break
    else:
        return "the model took no random input, so that nothing shows that its answers stay the same"
    try:
        with torch.no_grad():
            after = outputs(merged, x)
        pairs = zip(before, after, strict=True)
        gap = max(float((a - b).abs().max() / a.abs().max().clamp_min(1e-12)) for a, b in pairs)
    except Exception as error:  # as above
        return f"the merged model fails ({' '.join(str(error).split())[:200]})"
    return "" if gap <= TOLERANCE else f"its answers would change by {gap:.2g} of the largest one"


def _shapes(module: torch.nn.Module, image: Mapping[str, int] | None) -> Iterator[tuple[int, int, int, int]]:
    """Shapes of an input that `module` may take: what the source says, else that of its first convolution."""
    import torch

    if image is not None:
        yield (1, image.get("channels", 3), image["height"], image["width"])
        return
    first = next((part for part in module.modules() if isinstance(part, torch.nn.Conv2d)), None)
    for side in _SIDES:
        yield (1, first.in_channels if first else 3, side, side)
