"""Masks as run lengths: COCO's RLE, and the pixels that it means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)


class Rle(msgspec.Struct, frozen=True):
    """A mask as run lengths: COCO's uncompressed RLE, column by column. `counts` begins with the background."""

    height: int
    width: int
    counts: tuple[int, ...]


def bits(rle: Rle) -> NDArray[np.bool_]:
    """Return the mask, bool (height, width)."""
    values = np.zeros(len(rle.counts), np.bool_)
    values[1::2] = True
    return np.repeat(values, rle.counts).reshape(rle.width, rle.height).T


def of_bits(mask: NDArray[np.bool_]) -> Rle:
    """Return the run lengths of a mask, bool (height, width)."""
    height, width = mask.shape
    flat = np.concatenate([[False], mask.T.reshape(-1), [False]])
    places = np.flatnonzero(flat[1:] != flat[:-1])
    if not mask.size:
        return Rle(height, width, ())
    ends = places if len(places) and places[-1] == mask.size else np.append(places, mask.size)
    return Rle(height, width, tuple(np.diff(ends, prepend=0).tolist()))


def area(rle: Rle) -> int:
    """Return the number of pixels of the mask."""
    return sum(rle.counts[1::2])


def around(rle: Rle) -> tuple[int, int, int, int] | None:
    """Return the box (x, y, width, height) around the mask, in pixels; None if the mask is empty."""
    columns, rows = (np.flatnonzero(bits(rle).any(axis=axis)) for axis in (0, 1))
    if not len(columns):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1] - columns[0]) + 1, int(rows[-1] - rows[0]) + 1


def turned(rle: Rle, orientation: int) -> Rle:
    """Return the mask after the image is rotated by an EXIF `orientation`."""
    return of_bits(rotated(bits(rle), orientation))


def rotated(pixels: NDArray[T], orientation: int) -> NDArray[T]:
    """Return `pixels` (height, width, ...) after the image is rotated by an EXIF `orientation`."""
    if orientation >= 5:
        pixels = np.swapaxes(pixels, 0, 1)
    across = -1 if orientation in (2, 3, 6, 7) else 1
    down = -1 if orientation in (3, 4, 7, 8) else 1
    return pixels[::down, ::across]


def decompressed(text: str) -> tuple[int, ...]:
    """Return the counts of COCO's compressed RLE. Raises `ValueError` if the string is malformed or a count negative.

    The format is pycocotools' ``rleFrString``: five bits a character from "0", the sixth bit continues the number, and
    from the third on a count is the difference to the one two before it.
    """
    counts = list[int]()
    value = shift = 0
    for character in text:
        digit = ord(character) - 48
        if not 0 <= digit < 64:
            raise ValueError(f"the character {character!r} is not part of a compressed mask")
        value |= (digit & 31) << shift
        shift += 5
        if shift > 60:
            raise ValueError("a count has too many digits")
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        if counts[-1] < 0:
            raise ValueError(f"count {len(counts)} is {counts[-1]}")
        value = shift = 0
    if shift:
        raise ValueError("the last number is cut off")
    return tuple(counts)


def compressed(counts: Sequence[int]) -> str:
    """Return `counts` as COCO's compressed string (pycocotools' ``rleToString``)."""
    found = list[str]()
    for k, count in enumerate(counts):
        value, more = count - counts[k - 2] if k > 2 else count, True
        while more:
            digit = value & 31
            value >>= 5
            more = value != (-1 if digit & 16 else 0)
            found.append(chr((digit | 32 if more else digit) + 48))
    return "".join(found)
