"""A network that reads the depth from the brightness of a pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from PIL import Image

from .case import Case, network

DESCRIPTION = """\
name = "depths"
task = "depth"
[input]
height = 16
width = 16
[preprocess]
resize = "exact"
resize_to = [16, 16]
divide = 255.0
[depth]
unit = "m"
values = "log"
"""
NEAR, FAR = 0.5, 8.0


def model() -> onnx.ModelProto:
    """The mean of the colors, then the logarithm of the depth: dark is near, light is far."""
    first = np.zeros((4, 3, 3, 3), np.float32)
    first[:, :, 1, 1] = 1 / 3
    head = np.full((1, 4, 1, 1), np.log(FAR / NEAR) / 4, np.float32)
    nodes = [
        helper.make_node("Conv", ["images", "first"], ["mean"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["mean"], ["positive"], "relu"),
        helper.make_node("Conv", ["positive", "head", "bias"], ["log"], "head"),
    ]
    weights = {"first": first, "head": head, "bias": np.log([NEAR]).astype(np.float32)}
    return network(nodes, ("log", [1, 1, 16, 16]), weights)


def write(folder: Path) -> None:
    """Photos of planes, 40 in each split, and their depth as .npy in meters."""
    random = np.random.default_rng(0)
    for split in ("calib", "val"):
        for kind in ("images", "depth"):
            (folder / split / kind).mkdir(parents=True)
        for number in range(40):
            y, x = np.mgrid[:24, :32] / 32
            level = np.clip(random.uniform(0.2, 0.8) + random.normal(0, 0.4) * x + random.normal(0, 0.4) * y, 0, 1)
            noisy = np.clip(level + random.normal(0, 0.03, level.shape), 0, 1)
            pixels = np.rint(255 * noisy).astype(np.uint8)[..., None].repeat(3, 2)
            Image.fromarray(pixels).save(folder / split / "images" / f"{number:02}.png")
            depth = (NEAR * (FAR / NEAR) ** level).astype(np.float32)
            np.save(folder / split / "depth" / f"{number:02}.npy", depth)


def farther(weights: dict[str, np.ndarray]) -> None:
    """All depths are 1.15 times as large."""
    weights["bias"] += np.float32(np.log(1.15))


CASE = Case("depth", model, farther, DESCRIPTION, write, "delta1", "delta1", "delta1", "median depth")
