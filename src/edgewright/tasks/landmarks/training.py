"""The training of landmark models: against a teacher's outputs."""

from __future__ import annotations

from collections.abc import Callable

import torch

from edgewright.core.spec import ModelSpec
from edgewright.core.torch_losses import Tensors, relative
from edgewright.tasks.contract import View

CLASSES = False


def view(spec: ModelSpec) -> View:
    """Return zoom and shift of the evaluation's pixels. Points move with them."""
    return "zoom"


def exported(spec: ModelSpec) -> Callable[[Tensors], list[torch.Tensor]] | None:
    """Return None, because the outputs in training are those of the export."""
    return None


def require_comparable(spec: ModelSpec) -> None:
    """Points can always be compared."""


def distillation(given: Tensors, wanted: Tensors, spec: ModelSpec, temperature: float) -> torch.Tensor:
    """Return the energy of the error of each output relative to its variance."""
    return torch.stack([relative(a, b) for a, b in zip(given, wanted)]).mean()


def divergence(given: Tensors, wanted: Tensors, spec: ModelSpec) -> torch.Tensor | None:
    """Return None, because the energy of the error is enough."""
    return None


def directions(answers: Tensors, spec: ModelSpec, generator: torch.Generator) -> dict[torch.Tensor, torch.Tensor]:
    """Return no directions, because random ones are enough."""
    return {}
