"""The training of depth models: against a teacher's map."""

from __future__ import annotations

from collections.abc import Callable

import torch

from edgewright.core.spec import ModelSpec
from edgewright.core.torch_losses import TINY, Tensors
from edgewright.tasks.contract import View

CLASSES = False


def view(spec: ModelSpec) -> View:
    """Return zoom and shift. The map moves with the image."""
    return "zoom"


def exported(spec: ModelSpec) -> Callable[[Tensors], list[torch.Tensor]] | None:
    """Return None: the outputs are those of the export."""
    return None


def require_comparable(spec: ModelSpec) -> None:
    """Return: the maps of two depth models can be compared."""


def distillation(given: Tensors, wanted: Tensors, spec: ModelSpec, temperature: float) -> torch.Tensor:
    """Return the mean absolute error relative to the spread of the teacher's map, plus that of the map's gradients.

    The gradients keep the edges of objects (Li and Snavely 2018, "MegaDepth").
    """
    a, b = (one[0].float().reshape(len(one[0]), *one[0].shape[-2:]) for one in (given, wanted))
    spread = (b - b.flatten(1).median(1).values[:, None, None]).abs().mean((1, 2)) + TINY
    apart = (a - b) / spread[:, None, None]
    across, down = apart.diff(dim=2).abs().mean((1, 2)), apart.diff(dim=1).abs().mean((1, 2))
    return (apart.abs().mean((1, 2)) + across + down).mean()


def divergence(given: Tensors, wanted: Tensors, spec: ModelSpec) -> torch.Tensor | None:
    """Return None, because the energy of the error is enough."""
    return None


def directions(answers: Tensors, spec: ModelSpec, generator: torch.Generator) -> dict[torch.Tensor, torch.Tensor]:
    """Return no directions, because random ones are enough."""
    return {}
