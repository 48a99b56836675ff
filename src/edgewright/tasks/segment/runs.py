"""Class maps as rows of numbers, so that outputs.npy and a device's answers are small.

The rows of an image are (image, -1, width), then one row for each run of equal pixels, (image, class, length). Runs are
in the order of reading and go on over the ends of lines. Numbers are float32, which is exact up to 2^24.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

HEADER = -1.0
LONGEST = 1 << 24
"""The longest run of one row; a longer one has several rows."""


def encode(classes: np.ndarray, image: int) -> np.ndarray:
    """Return the rows (runs + 1, 3) float32 of a map of `classes` (height, width) of the image with this number."""
    flat = np.ascontiguousarray(classes).reshape(-1)
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
    lengths = np.diff(ends, prepend=0)
    values = flat[ends - 1]
    if lengths.max(initial=0) > LONGEST:
        parts = -(-lengths // LONGEST)
        values = np.repeat(values, parts)
        split = np.full(len(values), LONGEST)
        split[np.cumsum(parts) - 1] = lengths - (parts - 1) * LONGEST
        lengths = split
    rows = np.empty((len(lengths) + 1, 3), np.float32)
    rows[:, 0] = image
    rows[0, 1:] = HEADER, classes.shape[1]
    rows[1:, 1], rows[1:, 2] = values, lengths
    return rows


def decode(rows: np.ndarray) -> np.ndarray:
    """Return the map of classes (height, width) in the `rows` of one image."""
    values = rows[1:, 1].astype(np.uint16 if rows[1:, 1].max(initial=0) > 255 else np.uint8)
    width = int(rows[0, 2])
    return np.repeat(values, rows[1:, 2].astype(np.int64)).reshape(-1, width)


def each(rows: np.ndarray, images: int | None = None) -> Iterator[np.ndarray]:
    """Yield the map of each image in `rows`, in order."""
    starts = np.flatnonzero(np.asarray(rows[:, 1]) == HEADER)
    assert images is None or len(starts) == images, (len(starts), images)
    for start, end in zip(starts, np.append(starts[1:], len(rows))):
        yield decode(np.asarray(rows[start:end]))


def problem(rows: np.ndarray, classes: int, images: int) -> tuple[str, str] | None:
    """Check rows of `images` images from outside. Return (the error, the allowed values), or None if they are valid."""
    if rows.ndim != 2 or rows.shape[1] != 3:
        return f"answers of shape {rows.shape}", "(runs, 3)"
    rows = np.asarray(rows)
    header = rows[:, 1] == HEADER
    number = np.cumsum(header) - 1
    whole = np.isfinite(rows).all() and (rows == np.floor(rows)).all()
    if not whole or int(header.sum()) != images or not (len(rows) and header[0]) or (rows[:, 0] != number).any():
        return "rows that are not runs of each image in order", f"whole numbers for images 0 to {images - 1}"
    inside = (rows[:, 1] < classes) & (rows[:, 1] >= HEADER) & (rows[:, 2] >= 1) & (rows[:, 2] <= LONGEST)
    if not inside.all():
        found = f"{int((~inside).sum())} runs with another class or length"
        return found, f"classes 0 to {classes - 1}, lengths from 1"
    pixels = np.bincount(number[~header], rows[~header, 2].astype(np.float64), images)
    if (pixels < 1).any() or (pixels % rows[header, 2]).any():
        return "maps that are not rectangles", "runs that fill all lines"
    return None
