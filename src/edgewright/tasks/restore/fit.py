"""Check that a restoration model's output fits its description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec

from . import decode
from .spec import of


def require(outputs: list[np.ndarray], spec: ModelSpec, origin: str, images: int, real: bool = True) -> None:
    """Raise `InvalidInput` if the output is no image of `scale` times the size, or has another range than described."""
    found, s = decode.images(outputs, spec, images), of(spec)
    wanted = (s.scale * spec.input.height, s.scale * spec.input.width)
    if found.shape[1:3] != wanted:
        raise InvalidInput(
            f"{origin} gives images of {found.shape[1]}x{found.shape[2]} pixels for inputs of "
            f"{spec.input.height}x{spec.input.width}; scale is {s.scale}.",
            f"The output must have {wanted[0]}x{wanted[1]} pixels.",
            "Correct `scale` in [restore].",
        )
    if s.white == s.black:
        raise InvalidInput(
            f"black and white are both {s.white}.", "They are the output values of black and of white.",
            "Correct them in [restore].",
        )  # fmt: skip
    if real and found.dtype.kind == "f" and np.isfinite(found).all():
        _require_range(found, spec, origin)


def settle(
    answers: np.ndarray, spec: ModelSpec, function: str, said: Mapping[str, Any], certain: bool
) -> tuple[ModelSpec, tuple[str, ...]]:
    """Return `spec` unchanged, because the description says all."""
    return spec, ()


def _require_range(found: np.ndarray, spec: ModelSpec, origin: str) -> None:
    """Raise if the values cannot be colors: nearly all of them are outside the range, or in a hundredth of it."""
    s = of(spec)
    shares = (found.astype(np.float64) - s.black) / (s.white - s.black)
    low, high = np.percentile(shares, (5, 95))
    if high < 0.02 or low > 1.5 or high > 8:
        raise InvalidInput(
            f"{origin} gives values from {found.min():.3g} to {found.max():.3g}; the description says black = "
            f"{s.black:g} and white = {s.white:g}.",
            "Such values are no colors of that range.",
            "Correct [restore] black and white, for instance white = 255.0.",
        )
