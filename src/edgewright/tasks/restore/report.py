"""Texts and pictures of restoration models for reports: the part of an image where both models differ most."""

from __future__ import annotations

import numpy as np
from PIL import Image

from edgewright.core.spec import ModelSpec

from . import decode

HEADING = "PSNR"
TITLE = "PSNR (dB)"
AGREEMENT = "Color values within 2 levels"
SHOWN = ("ssim",)
GALLERY = (
    "Left: the reference. Right: the chosen artifact. Both show the part of the restored image where they differ most, "
    "enlarged. Images with the largest difference come first."
)
PART = 96
"""The side of the enlarged part, in pixels of the restored image."""
LEAST = 0.25
"""Images whose largest part differs by less gray levels in the mean are not shown."""


def disagreement(found: np.ndarray, reference: np.ndarray, images: int, spec: ModelSpec) -> np.ndarray:
    """Return for each image the mean difference in gray levels of the part that differs most."""
    gaps = np.array([_worst(a, b)[1] for a, b in zip(decode.unpacked(found), decode.unpacked(reference))])
    return np.where(gaps < LEAST, 0, gaps)


def pictures(reference: np.ndarray, found: np.ndarray, side: int, spec: ModelSpec) -> tuple[Image.Image, Image.Image]:
    """Return the part of both restored images where they differ most, enlarged to at most `side` pixels."""
    theirs, ours = next(decode.unpacked(reference)), next(decode.unpacked(found))
    x, y = _worst(ours, theirs)[0]
    parts = [Image.fromarray(np.array(one[y : y + PART, x : x + PART])) for one in (theirs, ours)]
    factor = max(1, side // max(parts[0].size))
    first, second = (p.resize((p.width * factor, p.height * factor), Image.Resampling.NEAREST) for p in parts)
    return first, second


def picture(image: Image.Image, rows: np.ndarray, scale: float, spec: ModelSpec) -> Image.Image:
    """Return the restored image at the size of `image`."""
    return Image.fromarray(np.array(next(decode.unpacked(rows)))).resize(image.size)


def caption(reference: np.ndarray, found: np.ndarray, spec: ModelSpec) -> str:
    """Return the difference of both images as text."""
    theirs, ours = next(decode.unpacked(reference)), next(decode.unpacked(found))
    (x, y), gap = _worst(ours, theirs)
    apart = np.abs(ours.astype(np.int16) - theirs)
    return f"Part at {x}, {y}: {gap:.1f} gray levels apart in the mean, {apart.mean():.2f} over the whole image"


def _worst(ours: np.ndarray, theirs: np.ndarray) -> tuple[tuple[int, int], float]:
    """Return the corner (x, y) of the part with the largest mean difference, and that difference."""
    apart = np.abs(ours.astype(np.int16) - theirs).mean(axis=2)
    height, width = apart.shape
    high, wide = min(PART, height), min(PART, width)
    total = np.zeros((height + 1, width + 1))
    total[1:, 1:] = apart.cumsum(0).cumsum(1)
    sums = total[high:, wide:] - total[:-high, wide:] - total[high:, :-wide] + total[:-high, :-wide]
    y, x = (int(k) for k in np.unravel_index(int(sums.argmax()), sums.shape))
    return (x, y), float(sums[y, x]) / (high * wide)
