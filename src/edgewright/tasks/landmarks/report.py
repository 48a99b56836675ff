"""Texts and pictures of a landmark model for reports."""

from __future__ import annotations

import numpy as np
from PIL import Image

from edgewright.core.spec import ModelSpec

from . import metric
from .decode import answer_of
from .draw import draw
from .spec import of

HEADING = "NME"
TITLE = "Normalized mean error"
AGREEMENT = "Points within 5% of the reference's"
SHOWN = ("auc", "failures")
GALLERY = "Left: the reference. Right: the chosen artifact. Images with the largest movement of points come first."


def disagreement(found: np.ndarray, reference: np.ndarray, images: int, spec: ModelSpec) -> np.ndarray:
    """Return for each image the mean movement of the points relative to the object's size, and that of the score."""
    moved = metric.moved(found, reference, spec).mean(axis=1)
    return np.asarray(np.minimum(moved, 1.0) + np.abs(found[:, 0] - reference[:, 0]))


def picture(image: Image.Image, rows: np.ndarray, scale: float, spec: ModelSpec) -> Image.Image:
    """Return `image`, reduced by `scale`, with the points in `rows`."""
    return draw(image, answer_of(rows[0], spec, scale))


def caption(reference: np.ndarray, found: np.ndarray, spec: ModelSpec) -> str:
    """Return how far the points moved, and both scores of the object if there are any."""
    moved = metric.moved(found, reference, spec)
    text = f"points moved by {100 * float(moved.mean()):.1f}% of the object's size, at most {100 * moved.max():.1f}%"
    if of(spec).object_score is None:
        return text
    return f"{text}; score {reference[0, 0]:.2f} by the reference, {found[0, 0]:.2f} by the chosen one"
