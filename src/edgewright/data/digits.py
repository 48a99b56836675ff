"""The built-in demo set: the 1,797 handwritten digits of scikit-learn, as PNG files."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from edgewright.core.lazy import require

from . import built_in

SPLITS = ("train", "calib", "test")

TEST, CALIBRATION = 50, 10
"""Number of images of each of the ten classes in test/ and calib/. The other 1,197 images are in train/."""


def write(folder: Path) -> None:
    """Write the digits (8x8 gray PNG, 0..16 scaled to 0..255) as ``folder/{train,calib,test}/{0..9}/NNNN.png``.

    NNNN is the index in scikit-learn's set. The hash of the pixels decides the split, so the splits are the same on
    every machine and share no image. An existing set is replaced completely. Raises `InvalidInput` for a folder with
    other files, and `Unavailable` without scikit-learn.
    """
    with built_in.replacing(folder, SPLITS, "digits") as new:
        built_in.write(new, draw())


def draw() -> Iterator[built_in.Named]:
    """Yield the files of the set."""
    pixels, labels, splits = load()
    for index, split in enumerate(splits):
        yield f"{split}/{labels[index]}/{index:04}.png", built_in.png(Image.fromarray(pixels[index]))


def load() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return pixels (1797, 8, 8) uint8, and the digit and split of each. Raises `Unavailable` without scikit-learn."""
    digits = require("sklearn.datasets", "host").load_digits()
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
    return pixels, digits.target, _splits(pixels, digits.target)


def _splits(pixels: np.ndarray, labels: np.ndarray) -> list[str]:
    """Return the split of each image. In each class, the first by hash are for test, the next for calibration."""
    by_class: dict[int, list[int]] = defaultdict(list)
    for index in sorted(range(len(pixels)), key=lambda k: hashlib.sha256(pixels[k].tobytes()).digest()):
        by_class[int(labels[index])].append(index)
    splits = ["train"] * len(pixels)
    for indices in by_class.values():
        for index in indices[: TEST + CALIBRATION]:
            splits[index] = "calib"
        for index in indices[:TEST]:
            splits[index] = "test"
    return splits
