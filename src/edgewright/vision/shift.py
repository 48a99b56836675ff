"""The shift between two nearly equal maps."""

from __future__ import annotations

import numpy as np


def normal_equations(reference: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums (2, 2) and (2,) whose solution is the shift (x, y) of `found`, by least squares on gradients.

    Add those of several images. Source: Lucas and Kanade 1981, "An Iterative Image Registration Technique". The
    inner part of both maps (h, w) is used.
    """
    a, b = reference.astype(np.float64), found.astype(np.float64)
    mean = (a + b) / 2  # the gradient of the mean is exact for a shift of second order
    across, down = (mean[1:-1, 2:] - mean[1:-1, :-2]) / 2, (mean[2:, 1:-1] - mean[:-2, 1:-1]) / 2
    apart = (a - b)[1:-1, 1:-1]
    matrix = np.array([[(across**2).sum(), (across * down).sum()], [(across * down).sum(), (down**2).sum()]])
    return matrix, np.array([(across * apart).sum(), (down * apart).sum()])


def solved(matrix: np.ndarray, vector: np.ndarray) -> tuple[float, float]:
    """Return the shift (x, y) in pixels; (0, 0) if the maps are flat."""
    if np.linalg.matrix_rank(matrix) < 2:
        return 0.0, 0.0
    x, y = np.linalg.solve(matrix, vector)
    return float(x), float(y)
