"""A network that enlarges photos by two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from PIL import Image

from .case import Case, network

DESCRIPTION = """\
name = "larger"
task = "restore"
[input]
height = 16
width = 16
[preprocess]
resize = "tiles"
divide = 255.0
[restore]
scale = 2
overlap = 4
"""


def model() -> onnx.ModelProto:
    """Each pixel becomes four: a convolution and a pixel shuffle."""
    first = np.zeros((8, 3, 3, 3), np.float32)
    for channel in range(3):
        first[channel, channel, 1, 1] = 1
    middle, last = (np.zeros(shape, np.float32) for shape in ((8, 8, 3, 3), (12, 8, 3, 3)))
    middle[range(3), range(3), 1, 1] = 1
    for channel in range(3):
        for part, (y, x) in enumerate(((-1, -1), (-1, 1), (1, -1), (1, 1))):  # bilinear: 3/4 and 1/4 of the neighbor
            for dy, down in ((0, 0.75), (y, 0.25)):
                for dx, across in ((0, 0.75), (x, 0.25)):
                    last[4 * channel + part, channel, 1 + dy, 1 + dx] += down * across
    nodes = [
        helper.make_node("Conv", ["images", "first"], ["features"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["features"], ["positive"], "relu"),
        helper.make_node("Conv", ["positive", "middle"], ["more"], "middle", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["more", "last"], ["parts"], "last", pads=[1, 1, 1, 1]),
        helper.make_node("DepthToSpace", ["parts"], ["upscaled"], "shuffle", blocksize=2, mode="CRD"),
    ]
    return network(nodes, ("upscaled", [1, 3, 32, 32]), {"first": first, "middle": middle, "last": last})


def write(folder: Path) -> None:
    """Photos of soft waves, 40 in each split: the wanted images, from which inputs are computed."""
    random = np.random.default_rng(0)
    for split in ("calib", "val"):
        (folder / split).mkdir(parents=True)
        for number in range(40):
            y, x = np.mgrid[:40, :48]
            waves = [np.sin(x * random.uniform(-0.6, 0.6) + y * random.uniform(-0.6, 0.6)) for _ in range(3)]
            pixels = 128 + 100 * np.stack(waves, 2) * random.uniform(0.5, 1)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / split / f"{number:02}.png")


def darker(weights: dict[str, np.ndarray]) -> None:
    """Colors are a tenth darker."""
    weights["last"] *= 0.9


CASE = Case("restore", model, darker, DESCRIPTION, write, "PSNR", "psnr", "PSNR", "restored")
