"""Maps of numbers as colors, with a legend. The colors are matplotlib's magma (CC0), which is perceptually uniform."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from .draw import Canvas

_ANCHORS = np.array([
    (0, 0, 4), (28, 16, 68), (79, 18, 123), (129, 37, 129), (181, 54, 122), (229, 80, 100), (251, 135, 97),
    (254, 194, 135), (252, 253, 191),
], np.float32)  # fmt: skip
"""Nine colors at equal distances, from dark to light."""
NOTHING = (96, 96, 96)
"""The color of pixels without a value."""


def colors(values: np.ndarray) -> np.ndarray:
    """Return the colors (h, w, 3) uint8 of `values` (h, w) from 0 to 1; NaN is gray."""
    known = np.isfinite(values)
    place = np.clip(np.where(known, values, 0), 0, 1) * (len(_ANCHORS) - 1)
    first = np.minimum(place.astype(int), len(_ANCHORS) - 2)
    share = (place - first)[..., None]
    mixed = _ANCHORS[first] * (1 - share) + _ANCHORS[first + 1] * share
    found: np.ndarray = np.where(known[..., None], np.rint(mixed), NOTHING).astype(np.uint8)
    return found


def legend(image: Image.Image, ends: Sequence[str]) -> Image.Image:
    """Return a copy of `image` with a bar of all colors in its lower part, labeled with its two `ends`."""
    canvas = Canvas(image)
    width, height = image.size
    high = max(2, height // 40)
    left, right = width // 20, width - width // 20
    top = height - high - max(1, height // 40)
    if right - left < 16:
        return canvas.image
    ramp = np.tile(np.linspace(0, 1, right - left), (high, 1))
    canvas.image.paste(Image.fromarray(colors(ramp)), (left, top))
    canvas.rectangle((left - 1, top - 1, right, top + high), (255, 255, 255))
    taken: list[tuple[int, int, int, int]] = []
    for text, light in zip(ends, (0.0, 1.0)):
        at = canvas.place(text, (left, top, right, top + high), [])
        if light:
            at = (right - (at[2] - at[0]), at[1], right, at[3])
        if any(at[0] <= other[2] for other in taken):
            continue  # a small image has room for one label
        taken.append(at)
        color = colors(np.array([[light]]))[0, 0]
        canvas.label(text, at, (int(color[0]), int(color[1]), int(color[2])))
    return canvas.image
