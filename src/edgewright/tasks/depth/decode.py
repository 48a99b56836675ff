"""Outputs of a depth model as maps. A row for the accuracy is the network's own map: height, width, then its values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.core.spec import ModelSpec

from . import spec as section
from .answer import DepthMap
from .place import place_of

DTYPE = "float32"
HEADER = 2
"""Values of a row before the map: its height and width."""


def threshold(spec: ModelSpec, score: Any) -> float | None:
    """Return None. Raises `InvalidInput` for a score, because a depth map has none."""
    if score is not None:
        raise InvalidInput("A depth map has no score.", f"You gave score={score!r}.", "Leave out the score.")
    return None


def evaluated(spec: ModelSpec) -> ModelSpec:
    """Return `spec` unchanged."""
    return spec


def maps(outputs: Sequence[np.ndarray], spec: ModelSpec, images: int) -> np.ndarray:
    """Return the network's maps (images, h, w) float32. Raises `InvalidInput` for an output of another shape."""
    array = np.asarray(outputs[0], np.float32) if len(outputs) == 1 else np.empty(0, np.float32)
    shape = array.shape
    if len(shape) == 4 and shape[1] == 1:
        array = array[:, 0]
    elif len(shape) == 4 and shape[3] == 1:
        array = array[..., 0]
    most = spec.input.height * spec.input.width
    if array.ndim != 3 or len(array) != images or not 0 < array.shape[1] * array.shape[2] <= most:
        shapes = ", ".join(str(list(one.shape)) for one in outputs)
        raise InvalidInput(
            f"The model gives {shapes} for {images} images of {spec.input.height}x{spec.input.width} pixels.",
            "A depth model has one output: [N, 1, h, w], [N, h, w] or [N, h, w, 1], not larger than its input.",
            "Name the depth map in `outputs` of the model's description.",
        )
    return array


def read(
    outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]], score: float | None = None
) -> list[DepthMap]:
    """Return the depth map of each image. Raises `InvalidInput` for wrong shapes, `RuntimeFailed` for NaN."""
    found = _finite(maps(outputs, spec, len(sizes)), "")
    depth = section.of(spec)
    return [DepthMap(one, depth, place_of(size, spec)) for one, size in zip(found, sizes)]


def rows(
    outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]], names: Sequence[str], first: int
) -> np.ndarray:
    """Return a row for each image: the height and width of the network's map, and its values."""
    found = maps(outputs, spec, len(sizes))
    for one, name in zip(found, names):
        _finite(one, f" for {name}")
    header = np.broadcast_to(np.array(found.shape[1:], np.float32), (len(found), HEADER))
    return np.hstack([header, found.reshape(len(found), -1)])


def map_of(row: np.ndarray) -> np.ndarray:
    """Return the map (h, w) in a row."""
    height, width = int(row[0]), int(row[1])
    return np.asarray(row[HEADER : HEADER + height * width]).reshape(height, width)


def row_bytes(spec: ModelSpec) -> int:
    """Return the maximum number of bytes of an image's row."""
    return 4 * (HEADER + spec.input.height * spec.input.width)


def check_rows(rows: np.ndarray, spec: ModelSpec, images: int) -> tuple[str, str] | None:
    """Return (the error in the rows, the allowed values); None if each row is a finite map of one size."""
    if rows.ndim != 2 or len(rows) != images or rows.shape[1] <= HEADER:
        return f"answers of shape {rows.shape}", f"{images} rows with a map each"
    for row in rows:
        sides = row[:HEADER]
        if not np.isfinite(row).all() or (sides != np.floor(sides)).any() or sides.prod() != rows.shape[1] - HEADER:
            return "a depth map that is not valid", "finite maps with their height and width"
    return None


def _finite(values: np.ndarray, which: str) -> np.ndarray:
    if not np.isfinite(values).all():
        raise RuntimeFailed(
            f"The depth map{which} has NaN or infinite values.",
            "Usually, an exponential or a weight overflows in a low precision.",
            "Build the artifact with a higher precision, or check the checkpoint.",
        )
    return values
