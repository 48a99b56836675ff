"""PSNR and SSIM of two images, on their luminance."""

from __future__ import annotations

import numpy as np

SAME = 100.0
"""The PSNR in dB of equal images. JSON has no infinity."""
WINDOW, SIGMA = 11, 1.5


def luminance(pixels: np.ndarray) -> np.ndarray:
    """Return Y of BT.601 (16 to 235) of uint8 RGB `pixels` (height, width, 3), as float64: MATLAB's rgb2ycbcr."""
    weights = np.array([65.481, 128.553, 24.966]) / 255
    return np.asarray(pixels, np.float64) @ weights + 16


def psnr(found: np.ndarray, wanted: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in dB for a range of 255, at most `SAME`."""
    error = float(np.square(found - wanted).mean())
    return SAME if error == 0 else min(SAME, 10 * float(np.log10(255**2 / error)))


def ssim(found: np.ndarray, wanted: np.ndarray) -> float:
    """Return the structural similarity for a range of 255, from -1 to 1.

    Wang et al. 2004, "Image Quality Assessment": a Gaussian window of 11 x 11 with a sigma of 1.5, where it fits. An
    image smaller than the window is compared as one window.
    """
    mean = _whole if min(found.shape) < WINDOW else _blurred
    a, b = found, wanted
    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b, both = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2, mean(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ratio = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return float(np.mean(ratio))


def _whole(values: np.ndarray) -> np.ndarray:
    return np.asarray(values.mean())


def _blurred(values: np.ndarray) -> np.ndarray:
    """Return the weighted means of all windows inside `values` (h, w)."""
    weights = np.exp(-np.square(np.arange(WINDOW) - WINDOW // 2) / (2 * SIGMA**2))
    weights /= weights.sum()
    rows, columns = (side - WINDOW + 1 for side in values.shape)
    down = sum(weight * values[k : k + rows] for k, weight in enumerate(weights))
    return np.asarray(sum(weight * np.asarray(down)[:, k : k + columns] for k, weight in enumerate(weights)))
