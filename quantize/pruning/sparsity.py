"""2:4 sparsity: two of every four weights in a row are zero, so that sparse tensor cores skip them.

The pattern of NVIDIA's GPUs since Ampere (Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks"): along the
inputs of a layer, separately for each output and each position of a kernel. The two smallest of four become zero; later
training keeps them at zero (`masks`).
"""

from __future__ import annotations

import copy

import torch

from edgewright.core.errors import InvalidInput

OUTPUTS, INPUTS = 8, 16
"""Layers whose sizes are multiples of these become sparse: the rule of NVIDIA's ASP, apex.contrib.sparsity."""


def prune(module: torch.nn.Module) -> tuple[torch.nn.Module, list[str]]:
    """A copy of `module` with the pattern in each layer that supports it, and the names of these layers.

    Raises `InvalidInput` if there is none.
    """
    changed = copy.deepcopy(module)
    names = []
    with torch.no_grad():
        for name, layer in changed.named_modules():
            if fits(layer):
                layer.weight.mul_(pattern(layer.weight))
                names.append(name)
    if not names:
        raise InvalidInput(
            "No layer can be made 2:4 sparse.",
            f"It needs convolutions with one group or linear layers, with multiples of {INPUTS} inputs and {OUTPUTS} "
            "outputs.",
            "Remove channels instead: --ratio or --speedup.",
        )  # fmt: skip
    return changed, names


def fits(layer: torch.nn.Module) -> bool:
    """Whether sparse kernels support `layer`, by its kind and size."""
    if isinstance(layer, torch.nn.Conv2d):
        return layer.groups == 1 and not layer.out_channels % OUTPUTS and not layer.in_channels % INPUTS
    return isinstance(layer, torch.nn.Linear) and not layer.out_features % OUTPUTS and not layer.in_features % INPUTS


def pattern(weights: torch.Tensor) -> torch.Tensor:
    """True where a weight stays: the two largest of each four inputs (axis 1); in the shape of `weights`."""
    fours = weights.detach().abs().movedim(1, -1).unflatten(-1, (-1, 4))
    kept = torch.zeros_like(fours, dtype=torch.bool).scatter_(-1, fours.topk(2, -1).indices, True)
    return kept.flatten(-2).movedim(-1, 1)


def masks(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """For the layers of `module` that already have the pattern: True where a weight is not zero, by parameter name."""
    found = {}
    for name, layer in module.named_modules():
        if fits(layer):
            kept = layer.weight.detach() != 0
            if int(kept.movedim(1, -1).unflatten(-1, (-1, 4)).sum(-1).max()) <= 2:
                found[f"{name}.weight" if name else "weight"] = kept
    return found
