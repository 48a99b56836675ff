"""The training of a model of any outputs: against a teacher, by the relative error of each output."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.core.torch_losses import TINY, Tensors
from edgewright.tasks.contract import View

if TYPE_CHECKING:
    import torch

CLASSES = False


def view(spec: ModelSpec) -> View:
    """Return the whole image, because a crop may have another answer."""
    return "whole"


def exported(spec: ModelSpec) -> Callable[[Tensors], list[torch.Tensor]] | None:
    """Return the function to the outputs of an export: they are the same."""
    return list


def require_comparable(spec: ModelSpec) -> None:
    """Raise `InvalidInput` for a model that does not take one image: training reads images."""
    if not spec.takes_image:
        raise InvalidInput(
            f"{spec.name} does not take one image.",
            "distill and prune train on images. This model takes arrays.",
            "Train the smaller model yourself, and give it to optimize.",
        )


def distillation(given: Tensors, wanted: Tensors, spec: ModelSpec, temperature: float) -> torch.Tensor:
    """Return the energy of the error relative to that of `wanted`, for each image and output, as the mean of both."""
    import torch

    return torch.stack([_relative(a, b).mean() for a, b in zip(given, wanted) if b.is_floating_point()]).mean()


def divergence(given: Tensors, wanted: Tensors, spec: ModelSpec) -> torch.Tensor | None:
    """Return None: the relative energy of errors is the loss."""
    return None


def directions(answers: Tensors, spec: ModelSpec, generator: torch.Generator) -> dict[torch.Tensor, torch.Tensor]:
    """Return no directions: random ones, whose products add up to the relative error, are enough."""
    return {}


def _relative(given: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    a, b = given.float().flatten(1), wanted.float().flatten(1)
    return (a - b).square().sum(1) / (b.square().sum(1) + TINY)
