"""Maps of numbers, resized to a photo as PyTorch's ``interpolate`` does it: two matrix products a map."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np

Method = Literal["bilinear", "bicubic", "corners"]
"""Centers of pixels are at halves. "corners": bilinear with align_corners, so the centers of corner pixels coincide."""


def resized(values: np.ndarray, height: int, width: int, method: Method = "bilinear") -> np.ndarray:
    """Return `values` (h, w) as float32 (height, width). There is no antialiasing."""
    whole = (0.0, float(values.shape[0])), (0.0, float(values.shape[1]))
    return sampled(values, (height, width), whole, method)


def sampled(
    values: np.ndarray,
    size: tuple[int, int],
    part: tuple[tuple[float, float], tuple[float, float]],
    method: Method = "bilinear",
) -> np.ndarray:
    """Return the `part` of `values` (h, w) as float32 of `size` (height, width).

    `part`: the first and the last row, then column, as distances from the map's corner; pixel k reaches from k to
    k + 1. Pixels beyond the edge repeat it.
    """
    down = _weights(values.shape[0], size[0], *part[0], method)
    across = _weights(values.shape[1], size[1], *part[1], method)
    found: np.ndarray = down @ np.asarray(values, np.float32) @ across.T
    return found


@lru_cache(maxsize=16)
def _weights(old: int, new: int, first: float, last: float, method: Method) -> np.ndarray:
    """Return the matrix (new, old) of the weights of one axis."""
    if method == "corners":
        place = np.linspace(first, last - 1, new) if new > 1 else np.array([first])
    else:
        place = first + (np.arange(new) + 0.5) * ((last - first) / new) - 0.5
    if method != "bicubic":
        place = np.clip(place, 0, old - 1)
    start = np.floor(place).astype(int)
    share = place - start
    taps = _cubic(share) if method == "bicubic" else np.stack([1 - share, share], 1)
    weights = np.zeros((new, old))
    for k, weight in enumerate(taps.T):
        column = np.clip(start + k - (method == "bicubic"), 0, old - 1)
        np.add.at(weights, (np.arange(new), column), weight)
    return weights.astype(np.float32)


def _cubic(share: np.ndarray) -> np.ndarray:
    """Return the weights (n, 4) of Keys' kernel with a = -0.75."""
    a, apart = -0.75, np.abs(np.stack([share + 1, share, 1 - share, 2 - share], 1))
    near = ((a + 2) * apart - (a + 3)) * apart**2 + 1
    far = ((a * apart - 5 * a) * apart + 8 * a) * apart - 4 * a
    return np.asarray(np.where(apart <= 1, near, far))
