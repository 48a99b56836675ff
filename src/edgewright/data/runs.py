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
    try:
        content = text.encode("ascii")
    except UnicodeEncodeError:
        raise ValueError("a compressed mask has ASCII characters only") from None
    found: tuple[int, ...] = tuple(counts_of(content).tolist())
    return found


def counts_of(content: bytes) -> NDArray[np.int64]:
    """Return the result of `decompressed` for the bytes of a compressed RLE, as an array. Raises `ValueError`."""
    digits = np.frombuffer(content, np.uint8).astype(np.int64) - 48
    if not len(digits):
        return np.zeros(0, np.int64)
    if (odd := (digits < 0) | (digits >= 64)).any():
        raise ValueError(f"the character {chr(content[int(odd.argmax())])!r} is not part of a compressed mask")
    last = np.flatnonzero(digits & 32 == 0)
    if not len(last) or last[-1] != len(digits) - 1:
        raise ValueError("the last number is cut off")
    first = np.concatenate([[0], last[:-1] + 1])
    lengths = last - first + 1
    if lengths.max() > 12:
        raise ValueError("a count has too many digits")
    shift = 5 * (np.arange(len(digits)) - np.repeat(first, lengths))
    values = np.add.reduceat((digits & 31) << shift, first)
    values -= np.where(digits[last] & 16, 1 << (5 * lengths), 0)
    for begin in (1, 2):  # the first count stands alone
        values[begin::2] = np.cumsum(values[begin::2])
    if (values < 0).any():
        place = int((values < 0).argmax())
        raise ValueError(f"count {place + 1} is {values[place]}")
    return values


def compressed(counts: Sequence[int]) -> str:
    """Return `counts` as COCO's compressed string (pycocotools' ``rleToString``)."""
    return compress(np.asarray(counts, np.int64)).decode()


def compress(counts: NDArray[np.int64]) -> bytes:
    """Return the result of `compressed` as bytes."""
    values = counts.astype(np.int64)
    values[3:] -= counts[1:-2]
    groups = values[:, None] >> np.arange(0, 65, 5).clip(max=63)
    more = (groups < -16) | (groups > 15)
    kept = np.concatenate([np.ones((len(values), 1), bool), more[:, :-1]], axis=1)
    text: bytes = ((groups & 31) + 32 * more + 48)[kept].astype(np.uint8).tobytes()
    return text
