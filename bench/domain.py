"""Check whether calibration images are similar to the evaluation images, by a few numbers for each image.

The numbers: mean and standard deviation of each color channel, sharpness, number of pixels, and width over height.
Sharpness is the mean difference of neighboring pixels at the model's input resolution.

The two-sample Kolmogorov-Smirnov statistic D compares the two sets for each number. D is 0 for equal sets and 1 for
sets that do not overlap. A difference counts if it is both significant (p value times the number of statistics below
`SURE`) and large (D at least `LARGE`). With thousands of images, even a tiny difference is significant. Random splits
of one set are not both.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from edgewright.data.sets import spread
from edgewright.vision.image import open_image

from .results import Finding

SURE, LARGE = 1e-4, 0.35

IMAGES = 100
"""Number of images compared per set, at even distances in its list. Decoding them takes most of the time."""

FEW = 64
"""With fewer calibration images, a check warns. With n images, about one image in n + 1 exceeds their range."""

NAMES = (
    "mean red", "mean green", "mean blue", "deviation of red", "deviation of green", "deviation of blue", "sharpness",
    "pixels", "width over height",
)  # fmt: skip


def describe(path: str, size: tuple[int, int]) -> np.ndarray:
    """Return the numbers `NAMES` of an image file. `size`: the model's input as (width, height) in pixels."""
    image = open_image(path)
    width, height = image.size
    small = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BILINEAR), np.float32)
    gray = small.mean(2)
    steps = np.abs(np.diff(gray, axis=0)).mean() + np.abs(np.diff(gray, axis=1)).mean()
    flat = small.reshape(-1, 3)
    return np.array([*flat.mean(0), *flat.std(0), steps, width * height, width / height], np.float64)


def compare(calibration: np.ndarray, evaluation: np.ndarray) -> Finding:
    """Return the finding for two arrays of numbers, each (images, `NAMES`)."""
    from scipy.stats import ks_2samp

    found = [ks_2samp(calibration[:, k], evaluation[:, k]) for k in range(len(NAMES))]
    worst = max(range(len(NAMES)), key=lambda k: float(found[k].statistic) * (found[k].pvalue * len(NAMES) < SURE))
    distance, sure = float(found[worst].statistic), found[worst].pvalue * len(NAMES) < SURE
    of = f"of {len(calibration)} calibration and {len(evaluation)} evaluation images"
    if not sure or distance < LARGE:
        largest = max(float(one.statistic) for one in found)
        text = f"Colors, sharpness and size {of} are similar (largest Kolmogorov-Smirnov distance {largest:.2f})."
        return Finding(level="ok", code="calibration-domain", text=text)
    medians = (float(np.median(values[:, worst])) for values in (calibration, evaluation))
    ours, theirs = (f"{median:,.0f}" if median >= 1000 else f"{median:.3g}" for median in medians)
    text = (
        f"The calibration images differ from the evaluation images in {NAMES[worst]}: medians {ours} and {theirs}, "
        f"Kolmogorov-Smirnov distance {distance:.2f} {of}."
    )
    return Finding(level="warning", code="calibration-domain", text=text)


def look(calibration: Sequence[str], evaluation: Sequence[str], size: tuple[int, int]) -> Finding:
    """Call `compare` for image files."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ours, theirs = (
            np.stack(list(pool.map(lambda path: describe(path, size), spread(paths, IMAGES))))
            for paths in (calibration, evaluation)
        )
    return compare(ours, theirs)


def few(images: int) -> Finding:
    """Check that there are enough different calibration images."""
    left = f"about one image in {images + 1} exceeds a calibrated range"
    if images < FEW:
        text = f"Only {images} different calibration images: {left}. Use at least {FEW}."
        return Finding(level="warning", code="calibration-few", text=text)
    return Finding(level="ok", code="calibration-few", text=f"{images} different calibration images: {left}.")
