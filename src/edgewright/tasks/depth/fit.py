"""Check that a depth model's output fits its description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec

from . import decode
from .spec import of

LARGEST_LOG = 20.0
"""exp(20) meters are farther than any photo shows."""


def require(outputs: list[np.ndarray], spec: ModelSpec, origin: str, images: int, real: bool = True) -> None:
    """Raise `InvalidInput` if the output is no map, or if the numbers of `real` images cannot be what `values` says."""
    found, depth = decode.maps(outputs, spec, images), of(spec)
    if depth.min_depth >= depth.max_depth:
        raise InvalidInput(
            f"min_depth is {depth.min_depth} and max_depth {depth.max_depth}.", "The minimum must be smaller.",
            "Correct them in [depth].",
        )  # fmt: skip
    if not real or not np.isfinite(found).all():
        return
    values = depth.scale * found + depth.shift
    low, high = float(values.min()), float(values.max())
    if depth.values == "log" and high > LARGEST_LOG:
        raise _misfit(origin, low, high, "log", "A logarithm of a depth is below 20.")
    if depth.unit == "m" and depth.values != "log" and float((values <= 0).mean()) > 0.5:
        raise _misfit(origin, low, high, depth.values, f'A {depth.values} with unit = "m" is above 0.')


def settle(
    answers: np.ndarray, spec: ModelSpec, function: str, said: Mapping[str, Any], certain: bool
) -> tuple[ModelSpec, tuple[str, ...]]:
    """Return `spec` unchanged, because the description says all."""
    return spec, ()


def _misfit(origin: str, low: float, high: float, values: str, why: str) -> InvalidInput:
    return InvalidInput(
        f'{origin} gives values from {low:.3g} to {high:.3g}; the description says values = "{values}".', why,
        'Correct [depth] values ("depth", "disparity" or "log"), or scale and shift.',
    )  # fmt: skip
