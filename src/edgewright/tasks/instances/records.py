"""The objects of images as rows of bytes: what ``outputs.npy`` contains.

Each object is a header and its mask. The header is one row of ten float32 (little endian): the image, x1, y1, x2, y2 in
pixels, the score, the class, the number of bytes of the mask, and the height and width of the image. The rows after it
have the mask as COCO's compressed run lengths (ASCII), filled with zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgewright.data import runs
from edgewright.data.runs import Rle

if TYPE_CHECKING:
    from .answer import InstanceMasks

WIDTH = 40
"""Bytes in a row."""
_FLOAT = np.dtype("<f4")
_FIELDS = WIDTH // 4
_MOST = float(1 << 24)


class Records(NamedTuple):
    """Objects: `boxes` (N, 8) float32 (image, x1, y1, x2, y2, score, class, number of the object), the compressed run
    lengths of each mask, and the (height, width) of each image."""

    boxes: np.ndarray
    masks: list[bytes]
    sizes: list[tuple[int, int]]

    def coco(self, k: int) -> dict[str, object]:
        """Return the mask of object `k` in COCO's format."""
        return {"size": list(self.sizes[k]), "counts": self.masks[k]}

    def rle(self, k: int) -> Rle:
        """Return the mask of object `k`."""
        return Rle(*self.sizes[k], tuple(runs.counts_of(self.masks[k]).tolist()))


def written(answer: InstanceMasks, image: int) -> np.ndarray:
    """Return the rows of the objects of one image."""
    width, height = answer.size
    parts = []
    for k in range(len(answer)):
        text = runs.compress(answer.source(k).counts(answer.size))
        header = [image, *answer.boxes[k], answer.scores[k], answer.indices[k], len(text), height, width]
        content = np.array(header, _FLOAT).tobytes() + text
        parts.append(content + bytes(-len(content) % WIDTH))
    return np.frombuffer(b"".join(parts), np.uint8).reshape(-1, WIDTH)


def read(rows: np.ndarray) -> Records:
    """Return the objects in `rows`."""
    starts = _starts(rows)
    headers = _headers(rows, starts)
    flat = np.ascontiguousarray(rows).reshape(-1)
    masks = [
        flat[WIDTH * (start + 1) : WIDTH * (start + 1) + length].tobytes()
        for start, length in zip(starts.tolist(), headers[:, 7].astype(int).tolist())
    ]
    sizes = [(height, width) for height, width in headers[:, 8:].astype(int).tolist()]
    boxes = headers[:, :8].copy()
    boxes[:, 7] = np.arange(len(boxes))
    return Records(boxes, masks, sizes)


def chosen(rows: np.ndarray, places: Sequence[int]) -> np.ndarray:
    """Return the rows of only the images at `places`, renumbered in their order."""
    starts = _starts(rows)
    images = _headers(rows, starts)[:, 0]
    ends = np.append(starts[1:], len(rows))
    parts = [np.zeros((0, WIDTH), np.uint8)]
    for number, place in enumerate(places):
        for at in np.flatnonzero(images == place):
            part = np.array(rows[starts[at] : ends[at]])
            part[0, :4] = np.frombuffer(np.array(number, _FLOAT).tobytes(), np.uint8)
            parts.append(part)
    return np.concatenate(parts)


def wrong(rows: np.ndarray, images: int, classes: int) -> tuple[str, str] | None:
    """Return (the error in rows from outside, the allowed values); None if they are valid."""
    if rows.ndim != 2 or rows.shape[1] != WIDTH or rows.dtype != np.uint8:
        return f"answers of shape {rows.shape}, {rows.dtype}", f"(rows, {WIDTH}), uint8"
    at = 0
    while at < len(rows):
        header = np.frombuffer(np.ascontiguousarray(rows[at]).tobytes(), _FLOAT)
        whole = header[[0, 6, 7, 8, 9]]
        if not (np.isfinite(header).all() and (whole == np.floor(whole)).all() and (whole >= 0).all()):
            return f"an object in row {at} whose header is {header.tolist()}", "finite numbers"
        image, index, length, height, width = (int(value) for value in whole)
        lines = -(-length // WIDTH)
        if image >= images or index >= classes or at + lines >= len(rows) or not length:
            return f"an object of image {image}, class {index}, with {length} bytes", (
                f"{images} images, {classes} classes and {len(rows)} rows"
            )
        text = np.ascontiguousarray(rows[at + 1 : at + 1 + lines]).reshape(-1)[:length].tobytes()
        try:
            total = int(runs.counts_of(text).sum())
        except ValueError as error:
            return f"a mask in row {at} that cannot be read ({error})", "COCO's compressed run lengths"
        if total != height * width or max(height, width) >= _MOST:
            return f"a mask of {total} pixels in row {at}", f"the {height} x {width} pixels of its image"
        at += 1 + lines
    return None


def _starts(rows: np.ndarray) -> np.ndarray:
    """Return the rows that are headers, (N,) int64."""
    lengths = np.ascontiguousarray(rows[:, 28:32]).view(_FLOAT)[:, 0] if len(rows) else np.zeros(0, _FLOAT)
    starts, at = [], 0
    while at < len(rows):
        starts.append(at)
        at += 1 + -(-int(lengths[at]) // WIDTH)
    return np.array(starts, np.int64)


def _headers(rows: np.ndarray, starts: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rows[starts]).view(_FLOAT).reshape(-1, _FIELDS).astype(np.float32)
