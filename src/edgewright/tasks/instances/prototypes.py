"""Masks from prototypes and coefficients, at the size of the photo.

The pixels are those of Ultralytics with ``retina_masks=True`` (``ops.process_mask_native``), and of its validator with
``save_json=True``: the logits at the resolution of the prototypes are scaled bilinearly to the photo, the padding of
the letterbox is cut off, a pixel above 0 belongs to the object, and pixels outside of the box do not. Only the pixels
inside of the box are computed. Values next to 0 can round to the other side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from edgewright.core.spec import ModelSpec
from edgewright.vision.preprocess import placement

from .spec import of

_TILE = 64
"""Photo pixels along one side that are computed at once."""
_TAPS = 3
"""Pixels of a prototype from which a pixel of the photo is interpolated, along one side."""


@dataclass(frozen=True, eq=False)
class Axis:
    """The interpolation along one side: photo pixel k is `weights`[k] (3,) times the prototype's pixels from
    `first`[k] on. `pixels`: those of the prototype."""

    first: np.ndarray
    weights: np.ndarray
    pixels: int

    def part(self, low: int, high: int) -> tuple[int, np.ndarray]:
        """Return the first prototype pixel and the matrix (high - low, pixels) float32 of photo pixels low to high."""
        first, taps = self.first[low:high], self.weights[low:high]
        start = int(first[0])
        matrix = np.zeros((high - low, int(first[-1]) + _TAPS - start), np.float32)
        at, row = first - start, np.arange(high - low)
        for tap in range(_TAPS):
            matrix[row, at + tap] = taps[:, tap]
        return start, matrix[:, : self.pixels - start]


@lru_cache(maxsize=32)
def axis(pixels: int, photo: int, content: tuple[float, float], factor: int) -> Axis:
    """Return the interpolation from a prototype's `pixels` along a side to `photo` pixels.

    `content`: the part of the prototype with the photo, in its pixels. `factor`: the prototype is scaled up by this
    before the padding is cut off, as Ultralytics does if the padding ends inside of a prototype's pixel.
    """
    low, high = content
    start, stop = round(low * factor), round(high * factor)
    whole = abs(start - low * factor) + abs(stop - high * factor) < 1e-6
    if whole and 0 <= start < stop <= pixels * factor:
        at, after, part = _bilinear(photo, stop - start, (stop - start) / photo)
        ends = [_bilinear(pixels * factor, pixels, 1 / factor, places + start) for places in (at, after)]
        mixed = [(1 - part, ends[0]), (part, ends[1])]
    else:  # a crop of the photo, whose ends are not on whole pixels
        scale = (high - low) / photo
        position = (np.arange(photo) + 0.5) * scale + low - 0.5
        position = np.clip(position, 0, pixels - 1)
        one = np.floor(position).astype(np.int64)
        mixed = [(np.ones(photo), (one, np.minimum(one + 1, pixels - 1), position - one))]
    first = np.clip(mixed[0][1][0], 0, max(0, pixels - _TAPS))
    weights = np.zeros((photo, _TAPS))
    row = np.arange(photo)
    for share, (one, other, fraction) in mixed:
        np.add.at(weights, (row, one - first), share * (1 - fraction))
        np.add.at(weights, (row, other - first), share * fraction)
    made = Axis(first, weights.astype(np.float32), pixels)
    for array in (made.first, made.weights):
        array.setflags(write=False)
    return made


def _bilinear(
    many: int, few: int, scale: float, places: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the two source pixels and the share of the second, of torch's ``interpolate(mode="bilinear")``.

    From `few` pixels to `many`, `scale` source pixels each; only for the `places` among the many if given.
    """
    target = np.arange(many) if places is None else places
    position = np.maximum((target + 0.5) * scale - 0.5, 0)
    first = np.minimum(np.floor(position).astype(np.int64), few - 1)
    return first, np.minimum(first + 1, few - 1), np.minimum(position - first, 1.0)


@dataclass(frozen=True, eq=False)
class Prototypes:
    """The prototypes (C, height, width) float32 of one image, and their place in the photo."""

    values: np.ndarray
    across: Axis
    down: Axis
    size: tuple[int, int]

    def column_bits(self, coefficients: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, int, int]:
        """Return the mask inside of `box` (x1, y1, x2, y2 in photo pixels), bool (columns, rows), and its first column
        and row. `coefficients`: (C,)."""
        left, top, right, bottom = self.inside(box)
        bits = np.zeros((max(0, right - left), max(0, bottom - top)), bool)
        if not bits.size:
            return bits, left, top
        (x, wide), (y, tall) = self._span(self.across, left, right), self._span(self.down, top, bottom)
        part = self.values[:, y : y + tall, x : x + wide]
        logits = (coefficients @ part.reshape(len(part), -1)).reshape(tall, wide)
        rows = np.empty((wide, bottom - top), np.float32)
        for low in range(top, bottom, _TILE):
            high = min(low + _TILE, bottom)
            start, matrix = self.down.part(low, high)
            np.matmul(logits[start - y : start - y + matrix.shape[1]].T, matrix.T, out=rows[:, low - top : high - top])
        for low in range(left, right, _TILE):
            high = min(low + _TILE, right)
            start, matrix = self.across.part(low, high)
            np.greater(matrix @ rows[start - x : start - x + matrix.shape[1]], 0, out=bits[low - left : high - left])
        return bits, left, top

    def inside(self, box: np.ndarray) -> tuple[int, int, int, int]:
        """Return the first column and row, and those after the last, of the pixels in `box`."""
        x1, y1, x2, y2 = (math.ceil(value) for value in box.tolist())
        return max(0, x1), max(0, y1), min(self.size[0], x2), min(self.size[1], y2)

    @staticmethod
    def _span(axis: Axis, low: int, high: int) -> tuple[int, int]:
        start = int(axis.first[low])
        return start, min(axis.pixels, int(axis.first[high - 1]) + _TAPS) - start


def place(values: np.ndarray, spec: ModelSpec, size: tuple[int, int]) -> Prototypes:
    """Return the prototypes `values` (C, height, width) of an image with the original `size` (width, height)."""
    stride = of(spec).mask_stride
    _, height, width = values.shape
    at = placement(size, spec.preprocess, spec.input)
    ends = (
        (at.left, at.left + round(at.scale_x * size[0])),
        (at.top, at.top + round(at.scale_y * size[1])),
    )
    factor = stride // math.gcd(stride, *ends[0], *ends[1])
    across, down = (
        axis(pixels, photo, (low / stride, high / stride), factor)
        for pixels, photo, (low, high) in zip((width, height), size, ends)
    )
    return Prototypes(values, across, down, size)
