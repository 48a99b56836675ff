"""Check a segmentation model's outputs against its description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgewright.core.errors import EdgewrightError, InvalidInput
from edgewright.core.spec import ModelSpec

from . import spec as section
from .decode import maps_of


def require(outputs: list[np.ndarray], spec: ModelSpec, origin: str, images: int, real: bool = True) -> None:
    """Raise `InvalidInput` if the first output of one run of `origin` over `images` is not what `spec` describes.

    For `real` images, the values of one map must be probabilities or logits, as described, and classes must be whole
    numbers below the number of classes.
    """
    try:
        array = maps_of(outputs, spec, images)
    except EdgewrightError as error:
        raise InvalidInput(
            f"The description does not fit the outputs of {origin}: {error.what}", error.why, error.fix
        ) from error
    own = section.of(spec)
    if own.scores == "classes":
        _require_classes(array, spec, origin)
    elif real and array.shape[1] == 1 and not own.rescale:
        _require_scores(array, spec, origin)


def settle(
    answers: np.ndarray, spec: ModelSpec, function: str, said: Mapping[str, Any], certain: bool
) -> tuple[ModelSpec, tuple[str, ...]]:
    """Return `spec` with the function of its scores, and notes. Scores that come out of a Softmax or Sigmoid are
    probabilities."""
    own = section.of(spec)
    if not function or said.get("scores") is not None or own.scores in ("none", "classes"):
        return spec, ()
    note = f"The maps come out of a {function}: they are probabilities and are used as they are."
    return spec.with_task(scores="none"), (note,)


def _require_classes(array: np.ndarray, spec: ModelSpec, origin: str) -> None:
    low, high = float(array.min()), float(array.max())
    if low >= 0 and high < spec.classes and bool((array == np.floor(array)).all()):
        return
    raise InvalidInput(
        f'{origin} gives values from {low:.3g} to {high:.3g}; the description says [segment] scores = "classes".',
        f"Classes are whole numbers from 0 to {spec.classes - 1}.",
        'Correct `classes`, or write scores = "softmax" for maps of scores.',
    )


def _require_scores(array: np.ndarray, spec: ModelSpec, origin: str) -> None:
    rule, low, high = section.of(spec).scores, float(array.min()), float(array.max())
    inside = low >= -1e-4 and high <= 1 + 1e-3
    if rule == "softmax":
        raise InvalidInput(
            f"{origin} gives one map, with values from {low:.3g} to {high:.3g}.",
            "One map is the foreground; a softmax needs two.",
            f'Write [segment] scores = "{"none" if inside else "sigmoid"}".',
        )
    if not inside and rule == "none":
        raise InvalidInput(
            f'{origin} gives a map from {low:.3g} to {high:.3g}; the description says scores = "none".',
            "Such numbers are logits.",
            'Write [segment] scores = "sigmoid", or rescale = true for maps without a fixed range.',
        )
