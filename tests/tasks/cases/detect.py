"""A detector of squares."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .case import Case, load

squares = load("e2e/test_detect.py")


def write(folder: Path) -> None:
    """Images with squares, for calibration and validation."""
    for split, count, seed in (("calib", 32, 0), ("val", 24, 1)):
        squares.write_scenes(folder / split, count, seed)


def aside(weights: dict[str, np.ndarray]) -> None:
    """All boxes are a little to the right."""
    weights["bias"][0] += 0.2


CASE = Case("detect", squares.squares, aside, squares.SPEC, write, "mAP", "map", "mAP", "%")
