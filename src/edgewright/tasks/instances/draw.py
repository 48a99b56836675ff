"""Draw masks, boxes and labels on an image."""

from __future__ import annotations

import numpy as np
from PIL import Image

from edgewright.vision.draw import Canvas, Rectangle, class_color

from .answer import InstanceMasks

_SHARE = 0.45
"""Share of the color in the pixels of a mask."""


def draw(image: Image.Image, answer: InstanceMasks) -> Image.Image:
    """Return a copy of `image` as RGB with each mask of `answer` in the color of its class, its outline, its label and
    its score in percent.

    The masks of `answer` are in pixels of this image. The best object is drawn last, on top of the others.
    """
    canvas, taken = Canvas(image), list[Rectangle]()
    order = range(len(answer) - 1, -1, -1)
    pixels = np.array(canvas.image)
    for k in order:
        _paint(pixels, answer, k, canvas.line)
    canvas = Canvas(Image.fromarray(pixels))
    for k in range(len(answer)):  # the best objects place their labels first
        taken.append(canvas.place(_text(answer, k), canvas.corners(answer.boxes[k].tolist()), taken))
    for k in order:
        canvas.label(_text(answer, k), taken[k], class_color(int(answer.indices[k])))
    return canvas.image


def _paint(pixels: np.ndarray, answer: InstanceMasks, k: int, line: int) -> None:
    """Color the mask of object `k` in `pixels` (height, width, 3), with an outline of `line` pixels inside of it."""
    columns, left, top = answer.crop(k)
    mask = columns.T
    part = pixels[top : top + mask.shape[0], left : left + mask.shape[1]]
    color = np.array(class_color(int(answer.indices[k])), np.float32)
    part[mask] = (part[mask] * (1 - _SHARE) + color * _SHARE).astype(np.uint8)
    inner = np.pad(mask, 1)
    for _ in range(line):
        inner[1:-1, 1:-1] &= inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
    part[mask & ~inner[1:-1, 1:-1]] = color.astype(np.uint8)


def _text(answer: InstanceMasks, k: int) -> str:
    return f"{answer.label(k)} {answer.scores[k]:.0%}"
