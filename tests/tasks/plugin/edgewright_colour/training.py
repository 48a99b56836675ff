"""The losses of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgewright.core.spec import ModelSpec
from edgewright.tasks.contract import View

CLASSES = False


def view(spec: ModelSpec) -> View:
    """The whole image: the mean colour of a crop is another one."""
    return "whole"


def require_comparable(spec: ModelSpec) -> None:
    """Colours can always be compared."""


def distillation(given: Sequence[Any], wanted: Sequence[Any], spec: ModelSpec, temperature: float) -> Any:
    """The mean squared difference."""
    return (given[0] - wanted[0]).square().sum(1).mean()


def divergence(given: Sequence[Any], wanted: Sequence[Any], spec: ModelSpec) -> Any:
    """Nothing is added to the relative error."""
    return None


def directions(answers: Sequence[Any], spec: ModelSpec, generator: Any) -> dict[Any, Any]:
    """The relative error is the loss."""
    return {}
