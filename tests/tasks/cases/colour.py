"""The mean colour of an image: a task of another package."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import onnx
from PIL import Image

from .case import Case, mean_colour

DESCRIPTION = """\
name = "colours"
task = "colour"
[input]
height = 16
width = 16
[preprocess]
resize = "exact"
resize_to = [16, 16]
divide = 255.0
"""


def model() -> onnx.ModelProto:
    """The mean of each colour, from 0 to 1."""
    return mean_colour(np.eye(8, 3, dtype=np.float32), "colour")


def darker(weights: dict[str, np.ndarray]) -> None:
    """Every answer is a tenth darker."""
    weights["head"] *= 0.9


def write(folder: Path) -> None:
    """Images of one colour with noise; ``colours.csv`` says which."""
    random = np.random.default_rng(0)
    for split in ("calib", "val"):
        (folder / split).mkdir(parents=True)
        rows = []
        for number in range(40):
            pixels = random.integers(20, 236, 3) + random.integers(-20, 20, (20, 24, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / split / f"{number:02}.png")
            rows.append([f"{number:02}.png", *pixels.mean((0, 1)).round(3)])
        with (folder / split / "colours.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)


CASE = Case("colour", model, darker, DESCRIPTION, write, "Colour error", "colour_error", "colour error", "colour #")
