"""Merge the training branches of a model into the one convolution that computes the same.

RepVGG (Ding et al. 2021), MobileOne (Vasu et al. 2022), FastViT, RepViT, RepGhost and others train several convolutions
and batch norms in parallel. ``timm.models.reparameterize_model`` computes the one convolution with the same outputs. A
merged copy is exported; the module for training or pruning keeps its branches.
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
"""The largest difference of the outputs, relative to the largest one: float32 rounding over a hundred layers."""
_SIDES = (224, 320, 64, 32)
"""Input sides to try if the source does not know the model's input size."""


def merge(module: torch.nn.Module, image: Mapping[str, int] | None = None) -> tuple[torch.nn.Module, tuple[str, ...]]:
    """`module`, or a copy with merged training branches if it has any; and a note that says so.

    `image`: height, width and, if not 3, channels of the model's input. The copy is returned only if its outputs for a
    random input equal those of `module` (`TOLERANCE`); otherwise a note says why not.
    """
    if not any(callable(getattr(type(part), name, None)) for part in module.modules() for name in METHODS):
        return module, ()
    reparameterize = require("timm.models", "host").reparameterize_model
    try:
        merged = reparameterize(_regrouped(copy.deepcopy(module)), inplace=True).eval().requires_grad_(False)
    except Exception as error:  # a method of that name may do something else
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
    """`module`; for blocks that store their number of groups, it is set to that of their convolutions after pruning."""
    import torch

    for block in module.modules():
        if type(getattr(block, "groups", None)) is int and not isinstance(block, torch.nn.modules.conv._ConvNd):
            found = {part.groups for part in block.modules() if isinstance(part, torch.nn.Conv2d)} - {1}
            if len(found) == 1 and block.groups != 1:
                block.groups = found.pop()
    return module


def _layers(module: torch.nn.Module) -> int:
    """The number of convolutions and batch norms in `module`."""
    import torch

    kinds = (torch.nn.modules.conv._ConvNd, torch.nn.modules.batchnorm._BatchNorm)
    return sum(isinstance(part, kinds) for part in module.modules())


def _difference(module: torch.nn.Module, merged: torch.nn.Module, image: Mapping[str, int] | None) -> str:
    """Why `merged` cannot replace `module`, as text; empty if both give the same outputs for a random input."""
    import torch

    for shape in _shapes(module, image):
        x = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 4 - 2
        with contextlib.suppress(Exception), torch.no_grad():  # the errors of forward() for another size have no class
            before = outputs(module, x)
            break
    else:
        return "the model takes no random input, so equal outputs cannot be checked"
    try:
        with torch.no_grad():
            after = outputs(merged, x)
        pairs = zip(before, after, strict=True)
        gap = max(float((a - b).abs().max() / a.abs().max().clamp_min(1e-12)) for a, b in pairs)
    except Exception as error:  # as above
        return f"the merged model fails ({' '.join(str(error).split())[:200]})"
    return "" if gap <= TOLERANCE else f"its outputs would change by {gap:.2g} of the largest one"


def _shapes(module: torch.nn.Module, image: Mapping[str, int] | None) -> Iterator[tuple[int, int, int, int]]:
    """Possible shapes of the input of `module`: the source's, else by its first convolution."""
    import torch

    if image is not None:
        yield (1, image.get("channels", 3), image["height"], image["width"])
        return
    first = next((part for part in module.modules() if isinstance(part, torch.nn.Conv2d)), None)
    for side in _SIDES:
        yield (1, first.in_channels if first else 3, side, side)
