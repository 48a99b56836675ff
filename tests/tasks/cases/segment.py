"""A model that finds blue and red regions by their color."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from PIL import Image, ImageDraw

from .case import Case, network

DESCRIPTION = """\
name = "regions"
task = "segment"
labels = ["background", "red", "blue"]
[input]
height = 32
width = 32
[preprocess]
resize = "exact"
resize_to = [32, 32]
divide = 255.0
[segment]
scores = "softmax"
"""
GROUND, COLORS = (60, 180, 60), ((220, 50, 50), (50, 50, 220))


def model() -> onnx.ModelProto:
    """A convolution that keeps the colors, and one that gives a map for each class at half the size."""
    first = np.zeros((8, 3, 3, 3), np.float32)
    for channel in range(3):
        first[channel, channel, 1, 1] = 1
    head = np.zeros((3, 8, 1, 1), np.float32)
    head[0, 1], head[1, 0], head[2, 2] = 9, 9, 9  # green, red, blue
    node = helper.make_node
    nodes = [
        node("Conv", ["images", "first"], ["mixed"], "conv", pads=[1, 1, 1, 1]),
        node("Relu", ["mixed"], ["positive"], "relu"),
        node("AveragePool", ["positive"], ["half"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["half", "head"], ["maps"], "head"),
    ]
    return network(nodes, ("maps", [1, 3, 16, 16]), {"first": first, "head": head}, 32)


def blue_is_lost(weights: dict[str, np.ndarray]) -> None:
    """Blue regions are background."""
    weights["head"][2] = -9


def write(folder: Path) -> None:
    """Images with a red and a blue region, and masks with their classes."""
    random = np.random.default_rng(0)
    for split in ("calib", "val"):
        for kind in ("images", "masks"):
            (folder / split / kind).mkdir(parents=True)
        for number in range(40):
            image, mask = Image.new("RGB", (48, 40), GROUND), Image.new("L", (48, 40))
            for index, color in enumerate(COLORS, 1):
                left, top = random.integers(0, 30, 2).tolist()
                box = (left, top, left + int(random.integers(6, 18)), top + int(random.integers(6, 18)))
                ImageDraw.Draw(image).ellipse(box, fill=color)
                ImageDraw.Draw(mask).ellipse(box, fill=index)
            noise = random.integers(-20, 20, (40, 48, 3))
            pixels = np.clip(np.asarray(image, np.int64) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / split / "images" / f"{number:02}.png")
            mask.save(folder / split / "masks" / f"{number:02}.png")


CASE = Case("segment", model, blue_is_lost, DESCRIPTION, write, "mIoU", "miou", "mIoU", "classes")
