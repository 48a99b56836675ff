"""Texts and pictures of a segmentation model for reports: images where it and its reference differ."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgewright.core.spec import ModelSpec

from . import runs, tally
from .answer import ClassMap
from .draw import draw

HEADING = "mIoU"
TITLE = "Mean IoU"
AGREEMENT = "Pixels with the reference's class"
SHOWN = ("boundary_iou",)
GALLERY = (
    "Left: the reference. Right: the chosen artifact. Images with the largest share of changed pixels come first. Each "
    "class has its color; the background has none."
)
SHOWN_CHANGE = 0.001
"""Images with a smaller share of changed pixels are not shown."""


def disagreement(found: np.ndarray, reference: np.ndarray, images: int, spec: ModelSpec) -> NDArray[np.float64]:
    """Return the share of changed pixels of each image."""
    each = [float((ours != theirs).mean()) for ours, theirs in tally.both(found, reference)]
    return np.array([share if share >= SHOWN_CHANGE else 0.0 for share in each])


def picture(image: Image.Image, rows: np.ndarray, scale: float, spec: ModelSpec) -> Image.Image:
    """Return `image`, reduced by `scale`, with its classes."""
    classes = runs.decode(rows)
    y, x = ((np.arange(n) + 0.5) * (m / n) for n, m in zip((image.height, image.width), classes.shape))
    small = classes[y.astype(np.intp)][:, x.astype(np.intp)]
    return draw(image, ClassMap(lambda: small, image.size, spec.labels))


def caption(reference: np.ndarray, found: np.ndarray, spec: ModelSpec) -> str:
    """Return the share of changed pixels, and the classes of both answers as text."""
    theirs, ours = runs.decode(reference), runs.decode(found)
    texts = [_classes(classes, spec) for classes in (theirs, ours)]
    return f"{(ours != theirs).mean():.1%} of the pixels changed. Reference: {texts[0]}. Chosen: {texts[1]}"


def _classes(classes: np.ndarray, spec: ModelSpec) -> str:
    answer = ClassMap(lambda: classes, (classes.shape[1], classes.shape[0]), spec.labels)
    return ", ".join(f"{one.label} {one.share:.1%}" for one in answer.shares[:4])
