"""Boundary IoU (Cheng et al., "Boundary IoU", 2021): the IoU of the bands along the outlines of regions.

A band has the pixels of a region that are at most a distance from its outline. The distance is 2% of the image's
diagonal, and the image's border is an outline, as in the authors' code. Thin objects are all band, so they count as
much here as the outline of a large object.
"""

from __future__ import annotations

import numpy as np

from edgewright.data.pairs import IGNORE

WIDTH = 0.02
"""Width of a band, relative to the image's diagonal."""


class Bands:
    """The bands of one map of classes `truth` (height, width), of which pixels with `IGNORE` do not count."""

    def __init__(self, truth: np.ndarray, classes: int) -> None:
        self._truth, self._classes = truth, classes
        self._width = max(1, round(WIDTH * float(np.hypot(*truth.shape))))
        self._counted = truth != IGNORE
        self._bands: dict[int, tuple[slice, slice, np.ndarray]] = {}

    def against(self, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return intersection and union with the bands of another map, each (classes,), in pixels."""
        hits, union = np.zeros((2, self._classes), np.int64)
        for index in np.flatnonzero(_present(found, self._classes) | _present(self._truth, self._classes)):
            ours, theirs = np.zeros((2, *found.shape), bool)
            for into, band in (
                (ours, self._own(int(index))),
                (theirs, _band((found == index) & self._counted, self._width)),
            ):
                if band is not None:
                    into[band[0], band[1]] = band[2]
            hits[index] = np.count_nonzero(ours & theirs)
            union[index] = np.count_nonzero(ours | theirs)
        return hits, union

    def _own(self, index: int) -> tuple[slice, slice, np.ndarray] | None:
        if index not in self._bands:
            band = _band(self._truth == index, self._width)
            if band is None:
                return None
            self._bands[index] = band
        return self._bands[index]


def _present(classes: np.ndarray, count: int) -> np.ndarray:
    return np.bincount(classes.reshape(-1), minlength=count)[:count] > 0


def _band(mask: np.ndarray, width: int) -> tuple[slice, slice, np.ndarray] | None:
    """Return the pixels of `mask` at most `width` from its outline, with the rows and columns that they are in."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    place = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    part = mask[place]
    return (*place, part & ~_eroded(part, width))


def _eroded(mask: np.ndarray, width: int) -> np.ndarray:
    """Return where a square of 2 `width` + 1 pixels is inside `mask`; outside of the array nothing is.

    A window of n pixels is the union of two of n / 2, so a few passes suffice for any width.
    """
    found = np.pad(mask, width)
    for axis in (0, 1):
        found = np.swapaxes(found, 0, axis)
        covered, length = 1, 2 * width + 1
        while covered < length:
            step = min(covered, length - covered)
            found = found[:-step] & found[step:]
            covered += step
        found = np.swapaxes(found, 0, axis)
    return found
