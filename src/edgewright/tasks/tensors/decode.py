"""Convert outputs to named arrays, and to the rows that the accuracy is computed from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.core.text import one_line

from .answer import Arrays
from .outputs import require_finite, samples, widths
from .spec import of

DTYPE = "float32"


def read(
    outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]] = (), score: float | None = None
) -> list[Arrays]:
    """Return the arrays of each sample by name, without a batch axis. `sizes` and `score` have no effect.

    Raises `InvalidInput` if the sizes differ from the spec's, and `RuntimeFailed` if a value is not finite.
    """
    count = samples(outputs, spec)
    for name, array in zip(spec.outputs, outputs):
        require_finite(array, name, "the input")
    shaped = [array.reshape(count, *shape) for array, shape in zip(outputs, of(spec).shapes)]
    return [Arrays({name: array[k] for name, array in zip(spec.outputs, shaped)}) for k in range(count)]


def threshold(spec: ModelSpec, score: Any) -> float | None:
    """Return None. Raises `InvalidInput` if the caller gives a minimum score."""
    if score is not None:
        raise InvalidInput(
            f"score={one_line(repr(score))} was given to a model of arrays.",
            "A minimum score selects detections. This model answers with arrays.",
            "Leave it out.",
        )
    return None


def evaluated(spec: ModelSpec) -> ModelSpec:
    """Return `spec` unchanged."""
    return spec


def rows(
    outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]], names: Sequence[str], first: int
) -> np.ndarray:
    """Return all outputs of each sample, flattened and joined in their order, (samples, values).

    Integers above 2**24 are rounded to float32. Raises the errors of `read`.
    """
    count = samples(outputs, spec)
    flat = [array.reshape(count, -1) for array in outputs]
    for k in range(count):
        for name, array in zip(spec.outputs, flat):
            require_finite(array[k], name, names[k])
    return np.concatenate([np.asarray(array, np.float32) for array in flat], axis=1)


def row_bytes(spec: ModelSpec) -> int:
    """Return the number of bytes of a sample's row."""
    return 4 * sum(widths(spec))


def check_rows(rows: np.ndarray, spec: ModelSpec, images: int) -> tuple[str, str] | None:
    """Check rows of `images` samples. Return (the error, the allowed values), or None if they are valid."""
    shape = (images, sum(widths(spec)))
    return None if rows.shape == shape else (f"answers of shape {rows.shape}", f"{shape}")
