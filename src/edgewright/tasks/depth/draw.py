"""Draw a depth map: colors over the photo, light for near, with the distances of both ends of the scale."""

from __future__ import annotations

import numpy as np
from PIL import Image

from edgewright.vision import colormap

from .answer import DepthMap

STRENGTH = 0.75
"""Weight of the color; the rest is the photo in gray."""
ENDS = (2.0, 98.0)
"""Percentiles of the depth at the ends of the scale. Single pixels beyond them do not change the colors."""


def draw(image: Image.Image, answer: DepthMap) -> Image.Image:
    """Return a copy of `image` as RGB with the colors of `answer` over it and a legend. Near pixels are light."""
    values, ends = shades(answer)
    gray = np.asarray(image.convert("L"), np.float32)[..., None]
    mixed = STRENGTH * colormap.colors(values) + (1 - STRENGTH) * gray
    return colormap.legend(Image.fromarray(np.rint(mixed).astype(np.uint8)), ends)


def shades(answer: DepthMap) -> tuple[np.ndarray, tuple[str, str]]:
    """Return the lightness from 0 (far) to 1 (near) of each pixel, and the texts of both ends."""
    depth = answer.depth
    seen = depth[np.isfinite(depth)]
    low, high = np.percentile(seen, ENDS) if len(seen) else (0.0, 1.0)
    if answer.inverse:
        far, near, values = low, high, depth
    else:
        far, near, values = high, low, depth
    logarithmic = not answer.inverse and low > 0
    if logarithmic:  # equal ratios of distances have equal steps of color
        values, start, end = np.log(np.maximum(values, 1e-6)), np.log(far), np.log(near)
    else:
        start, end = far, near
    shade = (values - start) / (end - start if abs(end - start) > 1e-9 else 1.0)
    unit = " m" if answer.unit == "m" else ""
    return shade, (f"far {far:.3g}{unit}", f"near {near:.3g}{unit}")
