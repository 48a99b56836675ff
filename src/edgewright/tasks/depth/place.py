"""Where the photo is in a network's map, and the map at the photo's size."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edgewright.core.spec import ModelSpec
from edgewright.vision.enlarge import sampled
from edgewright.vision.preprocess import placement

from .spec import Depth

TINY = 1e-6


class Place(NamedTuple):
    """`size`: (width, height) of the photo. `input`: (height, width) of the network's input. `rows`, `columns`: the
    part of the input that shows the photo, in pixels, which may reach beyond the input."""

    size: tuple[int, int]
    input: tuple[int, int]
    rows: tuple[float, float]
    columns: tuple[float, float]


def place_of(size: tuple[int, int], spec: ModelSpec) -> Place:
    """Return where preprocessing puts a photo of (width, height) `size`."""
    found = placement(size, spec.preprocess, spec.input)
    rows = (float(found.top), found.top + size[1] * found.scale_y)
    columns = (float(found.left), found.left + size[0] * found.scale_x)
    return Place(size, (spec.input.height, spec.input.width), rows, columns)


def to_photo(network: np.ndarray, depth: Depth, place: Place) -> np.ndarray:
    """Return the depth of each pixel of the photo, (height, width) float32; NaN outside the network's input.

    A relative disparity stays one.
    """
    values = network if depth.scale == 1 and not depth.shift else depth.scale * network + np.float32(depth.shift)
    if depth.values == "log":
        values = np.exp(values)
    values = _enlarged(values, depth, place)
    if depth.values == "disparity" and depth.unit == "m":
        values = 1 / np.maximum(values, np.float32(TINY))
    return values


def _enlarged(values: np.ndarray, depth: Depth, place: Place) -> np.ndarray:
    (high, wide), (width, height) = place.input, place.size
    if depth.interpolation == "corners":  # as Ultralytics: to the input first, then to the photo
        whole = (0.0, float(values.shape[0])), (0.0, float(values.shape[1]))
        values = sampled(values, place.input, whole, "corners")
    step = values.shape[0] / high, values.shape[1] / wide
    part = (
        (place.rows[0] * step[0], place.rows[1] * step[0]),
        (place.columns[0] * step[1], place.columns[1] * step[1]),
    )
    found = sampled(values, (height, width), part, depth.interpolation)
    for axis, (first, last), side in ((0, place.rows, high), (1, place.columns, wide)):
        if first < -0.5 or last > side + 0.5:
            number = found.shape[axis]
            centers = first + (np.arange(number) + 0.5) * (last - first) / number
            outside = (centers < 0) | (centers > side)
            found[outside if axis == 0 else (slice(None), outside)] = np.nan
    return found
