"""Outputs of the graph, (N, 3) from 0 to 1, as colours. Runs on devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec

from .answer import MeanColour
from .spec import of

DTYPE = "float32"


def read(
    outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]] = (), score: float | None = None
) -> list[MeanColour]:
    """A colour an image."""
    return [MeanColour(*map(float, row)) for row in outputs[0].reshape(-1, 3) * of(spec).levels]


def threshold(spec: ModelSpec, score: Any) -> float | None:
    """A colour has no score."""
    if score is not None:
        raise InvalidInput("A colour has no score.", "A least score was given.", "Leave it out.")
    return None


def evaluated(spec: ModelSpec) -> ModelSpec:
    """`spec` as it is."""
    return spec


def rows(
    outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]], names: Sequence[str], first: int
) -> np.ndarray:
    """The outputs as they are, (images, 3)."""
    return np.asarray(outputs[0], np.float32).reshape(-1, 3)


def row_bytes(spec: ModelSpec) -> int:
    """Three float32."""
    return 12


def check_rows(rows: np.ndarray, spec: ModelSpec, images: int) -> tuple[str, str] | None:
    """What is wrong with rows from elsewhere."""
    return None if rows.shape == (images, 3) else (f"answers of shape {rows.shape}", f"({images}, 3)")
