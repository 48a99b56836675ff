"""From a network's maps to a class for each pixel of the photo.

The maps are scaled bilinearly, and the highest one gives the class. Every value between four neighbors is a weighted
mean of theirs. So where one class is the highest at all four, it is the highest between them, and the class is known
without scaling anything. This holds for nearly all pixels of a photo. Most of the others are between two classes,
and every other class is below one of the two at all four neighbors. There the sign of one scaled difference decides.
Only the rest is computed for all classes. The result is the same as scaling all maps first, up to rounding of ties.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from edgewright.core.spec import ModelSpec
from edgewright.vision.preprocess import placement

Resize = Literal["bilinear", "corners", "nearest"]

_BLOCK = 1 << 21  # values of one block: 8 MB
_BLOCK_PIXELS = 1 << 15  # of the choice of the highest map: stays in the cache
_FEW = 4  # classes that are compared pixel by pixel where more than two may be the highest
_DENSE = 0.5  # share of pixels between classes from which on all pixels are computed


class Axis(NamedTuple):
    """One axis of the photo: for each pixel the two neighbors in the map, and the weight of the second."""

    first: np.ndarray
    second: np.ndarray
    weight: np.ndarray

    @property
    def is_exact(self) -> bool:
        """Whether each pixel of the photo is one of the map."""
        return not self.weight.any()


def axes(size: tuple[int, int], shape: tuple[int, int], spec: ModelSpec, resize: Resize) -> tuple[Axis, Axis]:
    """Return the axes (rows, columns) of a photo of (width, height) `size` in maps of (height, width) `shape`.

    The positions of preprocessing are undone: its scale, its margins and its crop.
    """
    place, image = placement(size, spec.preprocess, spec.input), spec.input
    return (
        _axis(size[1], place.scale_y, place.top, image.height, shape[0], resize),
        _axis(size[0], place.scale_x, place.left, image.width, shape[1], resize),
    )


def _axis(pixels: int, scale: float, start: int, whole: int, length: int, resize: Resize) -> Axis:
    inside = (np.arange(pixels) + 0.5) * scale + start  # in the network's input, from its corner
    if resize == "nearest":
        first = np.clip(np.floor(inside * (length / whole)), 0, length - 1).astype(np.intp)
        return Axis(first, first, np.zeros(pixels, np.float32))
    aligned = resize == "corners" and whole > 1
    position = (inside - 0.5) * ((length - 1) / (whole - 1)) if aligned else inside * (length / whole) - 0.5
    position = np.clip(position, 0, length - 1)
    rounded = np.rint(position)
    position = np.where(np.abs(position - rounded) < 1e-6, rounded, position)  # rounding of the scale is not a shift
    first = position.astype(np.intp)
    return Axis(first, np.minimum(first + 1, length - 1), (position - first).astype(np.float32))


def nearest(classes: np.ndarray, rows: Axis, columns: Axis) -> np.ndarray:
    """Return the class of each pixel of the photo, from a map of classes (height, width)."""
    found: np.ndarray = np.take(np.take(classes, columns.first, axis=1), rows.first, axis=0)
    return found


def highest(maps: np.ndarray) -> np.ndarray:
    """Return the index of the highest of `maps` (C, height, width) at each position; of equal ones the first."""
    count, height, width = maps.shape
    kind = np.uint8 if count <= 256 else np.uint16
    if maps.strides[0] < maps.strides[2]:  # channels last
        return np.asarray(maps.transpose(1, 2, 0).argmax(axis=2), kind)
    out = np.zeros((height, width), kind)
    step = max(1, _BLOCK_PIXELS // width)
    for top in range(0, height, step):
        part, found = maps[:, top : top + step], out[top : top + step]
        best, number = part[0].copy(), np.empty_like(found)
        for index in range(1, count):
            # Multiplied by 0 or 1, and later indices are larger: four passes that the processor vectorizes.
            np.multiply(part[index] > best, kind(index), out=number)
            np.maximum(found, number, out=found)
            np.maximum(best, part[index], out=best)
    return out


def of_scores(maps: np.ndarray, rows: Axis, columns: Axis) -> np.ndarray:
    """Return the class of each pixel of the photo: that of the highest of `maps` (C, height, width), scaled to it."""
    top = highest(maps)
    out = nearest(top, rows, columns)
    if rows.is_exact and columns.is_exact:
        return out
    found = _mixed(top, rows, columns)
    if found is None:
        return out
    cells, pixels = found
    if len(pixels.at) > _DENSE * out.size * min(1.0, len(maps) / 8):
        return _dense(maps, rows, columns, out.dtype)
    corners, best = _corners(maps, cells), _corners(top[None], cells)[:, 0]
    first, second, below = _pairs(corners, best)
    number = np.arange(len(first))
    value = pixels.between(corners[:, first, number] - corners[:, second, number])
    low = (first < second)[pixels.cell]  # of equal classes the first is taken
    chosen = np.where((value > 0) | ((value == 0) & low), first[pixels.cell], second[pixels.cell])
    three = np.flatnonzero(~below.all(axis=0))
    if len(three):
        at = np.full(len(first), -1)
        at[three] = np.arange(len(three))
        part = np.flatnonzero(at[pixels.cell] >= 0)
        rest = pixels.only(part)._replace(cell=at[pixels.cell[part]])
        chosen[part] = _of_few(corners[:, :, three], best[:, three], below[:, three], rest)
    out.reshape(-1)[pixels.at] = chosen
    return out


def above(map_: np.ndarray, level: float, rows: Axis, columns: Axis) -> np.ndarray:
    """Return 1 where `map_` (height, width), scaled to the photo, is above `level`, else 0."""
    top = (map_ > level).view(np.uint8)
    out = nearest(top, rows, columns)
    found = None if rows.is_exact and columns.is_exact else _mixed(top, rows, columns)
    if found is not None:
        cells, pixels = found
        out.reshape(-1)[pixels.at] = pixels.between(_corners(map_[None], cells)[:, 0]) > level
    return out


class _Cells(NamedTuple):
    """Positions between four neighbors: the first row and column of each, and the second ones."""

    top: np.ndarray
    left: np.ndarray
    bottom: np.ndarray
    right: np.ndarray


class _Pixels(NamedTuple):
    """Pixels of the photo (`at`: in the order of reading), the cell of each, and the weights of the cell's second row
    and column."""

    at: np.ndarray
    cell: np.ndarray
    down: np.ndarray
    across: np.ndarray

    def only(self, part: np.ndarray) -> _Pixels:
        return _Pixels(*(field[part] for field in self))

    def between(self, corners: np.ndarray) -> np.ndarray:
        """Return the scaled value of each pixel, from values at the corners of all cells (4, ..., cells)."""
        a, b, c, d = (corner[..., self.cell] for corner in corners)
        upper = a + (b - a) * self.across
        lower = c + (d - c) * self.across
        found: np.ndarray = upper + (lower - upper) * self.down
        return found


def _mixed(top: np.ndarray, rows: Axis, columns: Axis) -> tuple[_Cells, _Pixels] | None:
    """Return the cells whose corners have several of the classes `top`, and their pixels; None if there are none."""
    height, width = top.shape
    across = np.zeros((height, width), bool)
    across[:, :-1] = top[:, 1:] != top[:, :-1]
    mixed = across.copy()
    mixed[:-1] |= across[1:] | (top[1:] != top[:-1])
    if not mixed.any():
        return None
    upper, left = np.nonzero(mixed)
    number = np.full((height, width), -1, np.int32)
    number[upper, left] = np.arange(len(upper), dtype=np.int32)
    inside = nearest(number, rows, columns)  # the cell of each pixel of the photo
    counted = inside >= 0
    counts = np.count_nonzero(counted, axis=1)
    at = np.flatnonzero(counted)
    if not len(at):
        return None
    y = np.repeat(np.arange(len(counts)), counts)
    x = at - y * inside.shape[1]
    cells = _Cells(upper, left, np.minimum(upper + 1, height - 1), np.minimum(left + 1, width - 1))
    pixels = _Pixels(at, inside.reshape(-1)[at], np.repeat(rows.weight, counts), columns.weight[x])
    return cells, pixels


def _corners(maps: np.ndarray, cells: _Cells) -> np.ndarray:
    """Return the values of `maps` (C, height, width) at the corners of each cell, (4, C, cells)."""
    count, height, width = maps.shape
    places = [(y, x) for y in (cells.top, cells.bottom) for x in (cells.left, cells.right)]
    out = np.empty((4, count, len(cells.top)), maps.dtype)
    for corner, (y, x) in zip(out, places):
        if maps.strides[0] < maps.strides[2]:  # channels last
            corner[...] = maps.transpose(1, 2, 0)[y, x].T
        else:
            np.take(maps.reshape(count, height * width), y * width + x, axis=1, out=corner, mode="clip")
    return out


def _pairs(corners: np.ndarray, best: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return two classes of each cell, from the values (4, C, cells) and the highest classes `best` (4, cells) at its
    corners, and which classes (C, cells) are below one of the two at all corners."""
    first = best[0].astype(np.intp)
    differs = best != best[0]
    second = np.take_along_axis(best, differs.argmax(axis=0)[None], axis=0)[0].astype(np.intp)
    return first, second, _below(corners, first) | _below(corners, second)


def _below(corners: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Return which classes (C, cells) are at most the class `index` of each cell, at all its corners."""
    limit = np.take_along_axis(corners, index[None, None], axis=1)
    found: np.ndarray = corners[0] <= limit[0]
    for value, most in zip(corners[1:], limit[1:]):
        found &= value <= most
    return found


def _of_few(corners: np.ndarray, best: np.ndarray, below: np.ndarray, pixels: _Pixels) -> np.ndarray:
    """Return the class of each of `pixels`, in cells with a third class that may be the highest.

    `corners`, `best`, `below`: as in `_pairs`. A few classes remain for nearly all cells.
    """
    index = best.astype(np.intp)
    possible = ~(below | _below(corners, index[2]) | _below(corners, index[3]))
    np.put_along_axis(possible, index, True, axis=0)
    few = np.argsort(~possible, axis=0, kind="stable")[:_FEW]  # in the order of the classes
    values = np.take_along_axis(corners, few[None], axis=1)
    chosen = few[pixels.between(values).argmax(axis=0), pixels.cell]
    many = np.flatnonzero((possible.sum(axis=0) > _FEW)[pixels.cell])
    step = max(1, _BLOCK // (4 * len(below)))
    for start in range(0, len(many), step):
        part = many[start : start + step]
        chosen[part] = pixels.only(part).between(corners).argmax(axis=0)
    found: np.ndarray = chosen
    return found


def _dense(maps: np.ndarray, rows: Axis, columns: Axis, kind: np.dtype) -> np.ndarray:
    """Scale all maps, a few rows of the photo at a time. For maps whose neighbors nearly all differ."""
    count = len(maps)
    first, last = int(rows.first.min()), int(rows.second.max()) + 1
    used = np.ascontiguousarray(maps[:, first:last], np.float32)
    left = np.take(used, columns.first, axis=2)
    wide = left + (np.take(used, columns.second, axis=2) - left) * columns.weight
    out = np.empty((len(rows.first), len(columns.first)), kind)
    step = max(1, _BLOCK_PIXELS * 8 // max(1, count * out.shape[1]))
    for top in range(0, len(out), step):
        part = slice(top, top + step)
        upper = wide[:, rows.first[part] - first]
        lower = wide[:, rows.second[part] - first]
        lower -= upper
        lower *= rows.weight[part, None]
        lower += upper
        out[part] = highest(lower)
    return out
