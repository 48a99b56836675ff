"""Histograms are those of numpy, whatever the values: at edges, in few bins, not finite, out of the range."""

from __future__ import annotations

import numpy as np
import pytest

from edgewright.quantize.calibration.histogram import Histogram


@pytest.mark.parametrize("bins", [7, 2048])
@pytest.mark.parametrize("scale", [1e-36, 1e-12, 1.0, 3e4, 1e38])
def test_counts_are_those_of_numpy(bins: int, scale: float) -> None:
    random = np.random.default_rng(0)
    values = random.normal(0, 1, 150_000).astype(np.float32)
    kinds = (
        values, np.maximum(values, 0), -np.maximum(values, 0), values / (1 + np.exp(-values)), values**9, values[:1],
        np.zeros(5, np.float32), random.integers(-bins, bins, values.size).astype(np.float32),
    )  # fmt: skip
    for kind in kinds:
        array = (kind * np.float32(scale / max(1, np.abs(kind).max()))).reshape(1, -1, 1)
        low, high = np.float64(min(0, array.min())), np.float64(max(0, array.max()))
        _compare(array, bins, low, high if high > low else low + 1)


def test_every_edge_and_its_neighbours() -> None:
    for low, high in ((-3.7, 5.1), (0.0, 6.0), (-0.27846455574035645, 4.0), (-1e-3, 900.0)):
        low, high = float(np.float32(low)), float(np.float32(high))
        edges = np.linspace(low, high, 2049).astype(np.float32)
        _compare(np.stack([np.nextafter(edges, np.float32(to)) for to in (-1e9, 1e9)] + [edges]), 2048, low, high)


def test_what_is_outside_or_not_finite_is_left_out() -> None:
    array = np.array([0.5, np.nan, np.inf, -np.inf, -0.0, 2.0, 1e30, -1e30, -0.001, 1.001, 1.0, 0.25], np.float32)
    _compare(array, 2048, 0.0, 1.0)
    with pytest.raises(ValueError, match="finite"):
        Histogram(2048, 0.0, np.inf).add(array)


def _compare(array: np.ndarray, bins: int, low: float, high: float) -> None:
    wanted = np.histogram(array[array != 0], bins, (np.float64(low), np.float64(high)))[0]
    found = Histogram(bins, low, high)
    for _ in range(2):
        found.add(array)
    np.testing.assert_array_equal(found.counts, 2 * wanted)
