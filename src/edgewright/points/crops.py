"""Cut an object out of a photo for a model that takes one object an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image

from edgewright.core.errors import InvalidInput


class Crop(NamedTuple):
    """A part of a photo: its pixels, and the place of its upper left corner in the photo."""

    image: Image.Image
    left: int
    top: int


def cut(photo: Image.Image, box: Sequence[float], scale: float = 1.25, ratio: float | None = 1.0) -> Crop:
    """Return the part of `photo` around `box` (x1, y1, x2, y2 in pixels), `scale` times as large.

    `ratio`: its width divided by its height, such as the network's input; the box grows to it. None keeps the box's
    ratio. Pixels outside the photo are black. Points of the crop are `left` and `top` pixels further in the photo.
    Raises `InvalidInput` if a corner of `box` is not finite.
    """
    if not all(math.isfinite(value) for value in box):
        raise InvalidInput(f"The box is {list(box)}.", "Its corners must be finite numbers.", "Correct the box.")
    x1, y1, x2, y2 = box
    width, height = scale * max(x2 - x1, 1.0), scale * max(y2 - y1, 1.0)
    if ratio is not None:
        width, height = max(width, height * ratio), max(height, width / ratio)
    left, top = round((x1 + x2 - width) / 2), round((y1 + y2 - height) / 2)
    right, bottom = left + math.ceil(width), top + math.ceil(height)
    return Crop(photo.convert("RGB").crop((left, top, right, bottom)), left, top)
