"""Check the outputs against the description, so that shapes that a device cannot read are refused early."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgewright.boxes.fit import require_scores
from edgewright.core.errors import EdgewrightError, InvalidInput
from edgewright.core.spec import ModelSpec

from .decode import read


def require(outputs: list[np.ndarray], spec: ModelSpec, origin: str, images: int, real: bool = True) -> None:
    """Raise `InvalidInput` if the outputs of one run of `origin` over `images` cannot be read by `spec`.

    The decoder must accept the shapes. For `real` images, the values must look like probabilities or logits, as
    described.
    """
    size = (spec.input.width, spec.input.height)
    try:
        read(outputs, spec, [size] * images)
    except EdgewrightError as error:
        shapes = ", ".join(f"[{', '.join(map(str, ('N', *array.shape[1:])))}]" for array in outputs)
        raise InvalidInput(
            f"The description does not fit the outputs of {origin} ({shapes}): {error.what}", error.why, error.fix
        ) from error
    if real:
        require_scores(outputs[:-1], spec, origin)


def settle(
    answers: np.ndarray, spec: ModelSpec, function: str, said: Mapping[str, Any], certain: bool
) -> tuple[ModelSpec, tuple[str, ...]]:
    """Return `spec` unchanged, because `require` checked the scores."""
    return spec, ()
