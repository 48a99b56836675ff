"""Photos of any size through a network of a fixed size: overlapping tiles, and one result from theirs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from .image import Picture, picture_of, size_of


class Tile(NamedTuple):
    """A tile at `left`, `top` of the photo. `kept`: the part x1, y1, x2, y2 of the photo that its result gives."""

    left: int
    top: int
    kept: tuple[int, int, int, int]


def tiles(size: tuple[int, int], side: tuple[int, int], overlap: int) -> list[Tile]:
    """Return the tiles of (height, width) `side` that cover a photo of (width, height) `size`, by row.

    Neighbors share at least `overlap` pixels, and each gives the half next to its center: results near the edge of a
    tile, where the network sees padding, are not used. A tile never reaches beyond a photo that is large enough.
    """
    across, down = _spans(size[0], side[1], overlap), _spans(size[1], side[0], overlap)
    return [Tile(left, top, (x1, y1, x2, y2)) for top, y1, y2 in down for left, x1, x2 in across]


def cut(image: Picture, tile: Tile, side: tuple[int, int]) -> Picture:
    """Return the pixels of `tile`, of (height, width) `side`. The edge of a smaller photo is repeated."""
    if isinstance(image, np.ndarray):
        part = image[tile.top : tile.top + side[0], tile.left : tile.left + side[1]]
        return part if part.shape[:2] == side else _extended(part, side)
    width, height = size_of(image)
    box = (tile.left, tile.top, min(tile.left + side[1], width), min(tile.top + side[0], height))
    crop = image if box == (0, 0, width, height) else image.crop(box)
    return crop if crop.size == side[::-1] else picture_of(_extended(np.asarray(crop), side))


def center(image: Picture, side: tuple[int, int]) -> Picture:
    """Return the tile in the middle of the photo."""
    width, height = size_of(image)
    middle = Tile(max(0, (width - side[1]) // 2), max(0, (height - side[0]) // 2), (0, 0, width, height))
    return cut(image, middle, side)


def joined(
    parts: Sequence[np.ndarray], places: Sequence[Tile], size: tuple[int, int], side: tuple[int, int], layout: str
) -> np.ndarray:
    """Return one output (1, channels, height, width) or (1, height, width, channels) from those of all tiles, each
    without a batch axis.

    A network that enlarges gives larger tiles; the result is enlarged in the same way.
    """
    first = 1 if layout == "NCHW" and parts[0].ndim == 3 else 0
    high, wide = (parts[0].shape[first + axis] // side[axis] for axis in (0, 1))
    shape = list(parts[0].shape)
    shape[first : first + 2] = size[1] * high, size[0] * wide
    out = np.empty(shape, parts[0].dtype)
    for part, tile in zip(parts, places):
        x1, y1, x2, y2 = tile.kept
        into, of = [slice(None)] * part.ndim, [slice(None)] * part.ndim
        for axis, (begin, end, start, factor) in enumerate(((y1, y2, tile.top, high), (x1, x2, tile.left, wide))):
            into[first + axis] = slice(begin * factor, end * factor)
            of[first + axis] = slice((begin - start) * factor, (end - start) * factor)
        out[tuple(into)] = part[tuple(of)]
    return out[None]


def _spans(length: int, side: int, overlap: int) -> list[tuple[int, int, int]]:
    """Return (start of the tile, begin and end of its kept part) along one axis."""
    step = max(1, side - overlap)
    starts = [*range(0, max(length - side, 0), step), max(length - side, 0)]
    cuts = [0, *((one + side + other) // 2 for one, other in pairwise(starts)), length]
    return list(zip(starts, cuts, cuts[1:]))


def _extended(pixels: np.ndarray, side: tuple[int, int]) -> np.ndarray:
    more = [(0, side[0] - pixels.shape[0]), (0, side[1] - pixels.shape[1])] + [(0, 0)] * (pixels.ndim - 2)
    return np.ascontiguousarray(np.pad(pixels, more, "edge"))
