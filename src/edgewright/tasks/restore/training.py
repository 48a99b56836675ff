"""The training of restoration models: against a teacher's image."""

from __future__ import annotations

from collections.abc import Callable

import torch

from edgewright.core.spec import ModelSpec
from edgewright.core.torch_losses import Tensors
from edgewright.tasks.contract import View

from .spec import of

CLASSES = False


def view(spec: ModelSpec) -> View:
    """Return no change: a resized photo has another sharpness."""
    return "whole"


def exported(spec: ModelSpec) -> Callable[[Tensors], list[torch.Tensor]] | None:
    """Return None: the outputs are those of the export."""
    return None


def require_comparable(spec: ModelSpec) -> None:
    """Return: two images can be compared."""


def distillation(given: Tensors, wanted: Tensors, spec: ModelSpec, temperature: float) -> torch.Tensor:
    """Return the mean absolute difference of the pixels, in percent of the range from black to white."""
    s = of(spec)
    return 100 * (given[0].float() - wanted[0].float()).abs().mean() / abs(s.white - s.black)


def divergence(given: Tensors, wanted: Tensors, spec: ModelSpec) -> torch.Tensor | None:
    """Return None, because the energy of the error is enough."""
    return None


def directions(answers: Tensors, spec: ModelSpec, generator: torch.Generator) -> dict[torch.Tensor, torch.Tensor]:
    """Return no directions, because random ones are enough."""
    return {}
