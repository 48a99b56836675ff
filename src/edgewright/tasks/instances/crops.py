"""A mask as the pixels inside of its box: its run lengths over the image, and its outlines."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edgewright.data import runs
from edgewright.data.runs import Rle
from edgewright.vision import masks


class Crop(NamedTuple):
    """The part of a mask inside of a box. `columns`: bool (columns, rows). `left`, `top`: its first column and row."""

    columns: np.ndarray
    left: int
    top: int

    def bits(self, size: tuple[int, int]) -> np.ndarray:
        """Return the mask of an image with `size` (width, height), bool (height, width)."""
        mask = np.zeros((size[1], size[0]), bool)
        wide, tall = self.columns.shape
        mask[self.top : self.top + tall, self.left : self.left + wide] = self.columns.T
        return mask

    def counts(self, size: tuple[int, int]) -> np.ndarray:
        """Return the run lengths of the mask of an image with `size` (width, height), column by column, int64."""
        width, height = size
        wide, tall = self.columns.shape
        padded = np.zeros((wide, tall + 2), np.int8)
        padded[:, 1:-1] = self.columns
        changes = np.diff(padded, axis=1)
        places = [np.flatnonzero(changes.ravel() == kind) for kind in (1, -1)]
        starts, ends = ((self.left + at // (tall + 1)) * height + self.top + at % (tall + 1) for at in places)
        apart = np.ones(len(starts) + 1, bool)
        apart[1:-1] = starts[1:] != ends[:-1]  # a run from the bottom of a column into the next one
        edges = np.stack([starts[apart[:-1]], ends[apart[1:]]], axis=1).ravel()
        total = width * height
        return np.diff(edges if len(edges) and edges[-1] == total else np.append(edges, total), prepend=0)

    def rle(self, size: tuple[int, int]) -> Rle:
        """Return the run lengths of the mask of an image with `size` (width, height)."""
        return Rle(size[1], size[0], tuple(self.counts(size).tolist()))

    def polygons(self) -> list[np.ndarray]:
        """Return the outer outlines, (points, 2) float32 each: x, y in pixels of the image, the largest first."""
        return masks.polygons(self.columns.T, self.top, self.left)

    def scaled(self, scale: float, size: tuple[int, int]) -> Crop:
        """Return the mask of the image reduced by `scale` to `size` (width, height): the nearest pixels."""
        if scale == 1:
            return self
        ends = [(self.left, self.left + self.columns.shape[0]), (self.top, self.top + self.columns.shape[1])]
        chosen, corners = [], []
        for (low, high), most in zip(ends, size):
            first, last = int(np.floor(low * scale)), min(most, int(np.ceil(high * scale)))
            places = ((np.arange(first, last) + 0.5) / scale).astype(np.int64) - low
            chosen.append(np.clip(places, 0, max(0, high - low - 1)))
            corners.append(first)
        return Crop(self.columns[np.ix_(*chosen)] if self.columns.size else self.columns, corners[0], corners[1])


def of_rle(rle: Rle) -> Crop:
    """Return the part of a mask with pixels."""
    mask = runs.bits(rle)
    return of_bits(mask)


def of_bits(mask: np.ndarray) -> Crop:
    """Return the part of a mask, bool (height, width), with pixels."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return Crop(np.zeros((0, 0), bool), 0, 0)
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Crop(np.ascontiguousarray(part.T), int(columns[0]), int(rows[0]))
