"""Texts and pictures of depth models for reports: the depth maps of images where both models differ most."""

from __future__ import annotations

import numpy as np
from PIL import Image

from edgewright.core.spec import ModelSpec

from .answer import DepthMap
from .decode import map_of
from .draw import draw
from .loss import divergence
from .place import Place, place_of
from .spec import of

HEADING = "delta1"
TITLE = "delta1 (ratio to the truth below 1.25)"
AGREEMENT = "Pixels within 5% of reference"
SHOWN = ("abs_rel",)
GALLERY = (
    "Left: the reference. Right: the chosen artifact. Images with the largest difference come first. Light is near, "
    "dark is far."
)
LEAST = 1e-3
"""Maps that differ by less, relative to their spread, are not shown."""


def disagreement(found: np.ndarray, reference: np.ndarray, images: int, spec: ModelSpec) -> np.ndarray:
    """Return for each image the mean difference of both maps, relative to the spread of the reference's."""
    each = (divergence([map_of(b)[None]], [map_of(a)[None]], spec) for a, b in zip(found, reference))
    gaps = np.array(list(each))
    return np.where(gaps < LEAST, 0, gaps)


def picture(image: Image.Image, rows: np.ndarray, scale: float, spec: ModelSpec) -> Image.Image:
    """Return `image`, reduced by `scale`, with the depth map in `rows` over it."""
    full = (max(1, round(image.width / scale)), max(1, round(image.height / scale)))
    place: Place = place_of(full, spec)._replace(size=image.size)
    return draw(image, DepthMap(map_of(rows[0]), of(spec), place))


def caption(reference: np.ndarray, found: np.ndarray, spec: ModelSpec) -> str:
    """Return the difference of both maps as text."""
    gap = divergence([map_of(reference[0])[None]], [map_of(found[0])[None]], spec)
    return f"The maps differ by {100 * gap:.1f}% of the spread of the reference's"
