"""The smallest real job: a network that tells red, green and blue apart, its images, its spec. Imported by path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

COLOURS = ("red", "green", "blue")
SPEC = """\
name = "colours"
classes = 3
labels = ["red", "green", "blue"]
[input]
height = 16
width = 16
[preprocess]
resize = "exact"
resize_to = [16, 16]
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
"""


def build(width: int = 8) -> Any:
    """A convolution, a ReLU, a pool and a classifier whose weights were set by hand: right on every clear colour."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    conv = nn.Conv2d(3, int(width), 3, padding=1)
    head = nn.Linear(int(width), 3)
    with torch.no_grad():
        conv.weight.mul_(0.05)
        head.weight.mul_(0.05)
        for channel in range(3):
            conv.weight[channel, channel, 1, 1] += 1.0
            head.weight[channel, channel] += 4.0
        conv.bias.fill_(0.5)
    return nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


def write_images(folder: Path, each: int = 40, seed: int = 0) -> Path:
    """Noisy images of the three colours, a folder a class, below ``calib`` and ``val``."""
    random = np.random.default_rng(seed)
    for split in ("calib", "val"):
        for label, name in enumerate(COLOURS):
            (folder / split / name).mkdir(parents=True)
            for index in range(each):
                pixels = random.integers(0, 120, (20, 24, 3), dtype=np.uint8)
                pixels[:, :, label] += 100
                Image.fromarray(pixels).save(folder / split / name / f"{index:03}.png")
    return folder
