"""Check the outputs of a pose model against its description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgewright.boxes.fit import require_scores
from edgewright.core.spec import ModelSpec
from edgewright.points import fit as points

from . import spec as section
from .decode import read


def require(outputs: list[np.ndarray], spec: ModelSpec, origin: str, images: int, real: bool = True) -> None:
    """Raise `InvalidInput` if the outputs of one run of `origin` over `images` cannot be read by `spec`.

    For `real` images, scores must look like probabilities or logits, and coordinates must have the unit, as described.
    """
    d, size = section.of(spec), (spec.input.width, spec.input.height)
    points.require_readable(lambda: read(outputs, spec, [size] * images), outputs, origin)
    if real and d.single is not None:
        points.require_plausible("pose", d.single, outputs, d, origin)
    elif real:
        require_scores(outputs, spec, origin)


def settle(
    answers: np.ndarray, spec: ModelSpec, function: str, said: Mapping[str, Any], certain: bool
) -> tuple[ModelSpec, tuple[str, ...]]:
    """Return `spec` unchanged, because `require` checked units and scores."""
    return spec, ()
