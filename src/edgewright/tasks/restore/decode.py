"""Outputs of a restoration model as images.

The rows of an image for the accuracy are bytes: a row with its height and width (little-endian, four bytes each), then
its pixels, filled with zeros up to whole rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.core.spec import MAX_PIXELS, ModelSpec

from . import spec as section
from .answer import Restored

DTYPE = "uint8"
WIDTH = 4096
"""Bytes of a row."""


def threshold(spec: ModelSpec, score: Any) -> float | None:
    """Return None. Raises `InvalidInput` for a score, because an image has none."""
    if score is not None:
        raise InvalidInput("A restored image has no score.", f"You gave score={score!r}.", "Leave out the score.")
    return None


def evaluated(spec: ModelSpec) -> ModelSpec:
    """Return `spec` unchanged."""
    return spec


def images(outputs: Sequence[np.ndarray], spec: ModelSpec, count: int) -> np.ndarray:
    """Return the output values (count, height, width, channels). Raises `InvalidInput` for an output of other shape."""
    channels = 1 if section.of(spec).color == "L" else 3
    array: np.ndarray = np.asarray(outputs[0]) if len(outputs) == 1 else np.empty(0, np.float32)
    if array.ndim == 3 and channels == 1:
        array = array[..., None]
    elif array.ndim == 4 and spec.input.layout == "NCHW" and array.shape[1] == channels:
        array = array.transpose(0, 2, 3, 1)
    if array.ndim != 4 or array.shape[3] != channels or len(array) != count or not array.size:
        shapes = ", ".join(str(list(one.shape)) for one in outputs)
        raise InvalidInput(
            f"The model gives {shapes} for {count} images; color is {section.of(spec).color}.",
            f"A restoration model has one output: an image with {channels} channels for each input.",
            "Name the image in `outputs` of the model's description, or correct `color` in [restore].",
        )
    if array.shape[1] * array.shape[2] > MAX_PIXELS:
        raise InvalidInput(
            f"The restored image has {array.shape[1]}x{array.shape[2]} pixels.", f"At most {MAX_PIXELS} are allowed.",
            "Give a smaller photo.",
        )  # fmt: skip
    return array


def pixels(values: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Return output values (height, width, channels) as uint8 RGB (height, width, 3): clipped and rounded."""
    s = section.of(spec)
    values = np.asarray(values, np.float32)
    if s.black or s.white != 255:
        values = (values - np.float32(s.black)) * np.float32(255 / (s.white - s.black))
    levels = np.rint(np.clip(values, 0, 255)).astype(np.uint8)
    if s.color == "L":
        return np.repeat(levels, 3, axis=2)
    return np.ascontiguousarray(levels[..., ::-1] if s.color == "BGR" else levels)


def read(
    outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]], score: float | None = None
) -> list[Restored]:
    """Return the image for each input. Raises `InvalidInput` for wrong shapes, `RuntimeFailed` for NaN."""
    return [Restored(one, size) for one, size in zip(_all(outputs, spec, len(sizes)), sizes)]


def rows(
    outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]], names: Sequence[str], first: int
) -> np.ndarray:
    """Return the rows of all images: see the module."""
    return np.concatenate([packed(one) for one in _all(outputs, spec, len(sizes), names)])


def row_bytes(spec: ModelSpec) -> int:
    """Return the maximum number of bytes of an image's rows."""
    return 3 * MAX_PIXELS + 2 * WIDTH


def check_rows(rows: np.ndarray, spec: ModelSpec, images: int) -> tuple[str, str] | None:
    """Return (the error in the rows, the allowed values); None if they hold as many images."""
    if rows.ndim != 2 or rows.shape[1] != WIDTH:
        return f"answers of shape {rows.shape}", f"(rows, {WIDTH})"
    try:
        count = len(starts(rows))
    except ValueError as error:
        return str(error), "images with their height and width"
    return None if count == images else (f"{count} images", f"{images} images")


def packed(image: np.ndarray) -> np.ndarray:
    """Return the rows of `image` (height, width, 3) uint8."""
    lines = _lines(image.shape[0], image.shape[1])
    found = np.zeros((1 + lines, WIDTH), np.uint8)
    found[0, :8] = np.array(image.shape[:2], "<u4").view(np.uint8)
    found[1:].reshape(-1)[: image.size] = image.reshape(-1)
    return found


def starts(rows: np.ndarray) -> list[tuple[int, int, int]]:
    """Return (first row, height, width) of each image. Raises `ValueError` for impossible sizes."""
    found, place = [], 0
    while place < len(rows):
        height, width = (int(side) for side in np.array(rows[place, :8]).view("<u4"))
        if not 0 < height * width <= MAX_PIXELS or place + 1 + _lines(height, width) > len(rows):
            raise ValueError(f"an image of {height}x{width} pixels in {len(rows) - place} rows")
        found.append((place, height, width))
        place += 1 + _lines(height, width)
    return found


def unpacked(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield each image in `rows` as (height, width, 3) uint8."""
    for place, height, width in starts(rows):
        flat = rows[place + 1 : place + 1 + _lines(height, width)].reshape(-1)
        yield flat[: height * width * 3].reshape(height, width, 3)


def _lines(height: int, width: int) -> int:
    return -(-height * width * 3 // WIDTH)


def _all(outputs: Sequence[np.ndarray], spec: ModelSpec, count: int, names: Sequence[str] = ()) -> list[np.ndarray]:
    found = images(outputs, spec, count)
    if found.dtype.kind == "f":
        for number, one in enumerate(found):
            if not np.isfinite(one).all():
                which = f" for {names[number]}" if names else ""
                raise RuntimeFailed(
                    f"The restored image{which} has NaN or infinite values.",
                    "Usually, weights overflow in a low precision.",
                    "Build the artifact with a higher precision, or check the checkpoint.",
                )  # fmt: skip
    return [pixels(one, spec) for one in found]
