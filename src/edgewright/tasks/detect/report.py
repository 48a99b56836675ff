"""Texts and pictures of a detector for reports: images where it and its reference differ, with the boxes of both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgewright.boxes import differences
from edgewright.boxes.matching import Boxes
from edgewright.core.spec import ModelSpec

from .answer import Detections
from .draw import draw
from .spec import of

HEADING = "mAP"
TITLE = "mAP 50-95"
AGREEMENT = "Reference's boxes found"
SHOWN = ("ap50",)
GALLERY = (
    "Left: the reference. Right: the chosen artifact. Images with the largest difference come first: boxes that only "
    "one of the two finds, and scores that moved. Boxes with a score of at least 25%."
)


def disagreement(found: Boxes, reference: Boxes, images: int, spec: ModelSpec) -> NDArray[np.float64]:
    """Return for each image the scores of unmatched boxes plus the score differences of matched boxes.

    Boxes with at least the spec's score count. A match has the same class and an IoU of at least 0.5.
    """
    return differences.disagreement(found, reference, images, of(spec).score)


def picture(image: Image.Image, rows: Boxes, scale: float, spec: ModelSpec) -> Image.Image:
    """Return `image`, reduced by `scale`, with the boxes in `rows` that count."""
    kept = _counted(rows, spec)
    kept = kept[np.argsort(-kept[:, 5], kind="stable")]
    boxes = Detections(kept[:, 1:5] * np.float32(scale), kept[:, 5], kept[:, 6].astype(np.int64), spec.labels)
    return draw(image, boxes)


def caption(reference: Boxes, found: Boxes, spec: ModelSpec) -> str:
    """Return the number of boxes that count on an image, for the reference and the chosen artifact."""
    ours, theirs = len(_counted(found, spec)), len(_counted(reference, spec))
    return f"{theirs} boxes by the reference, {ours} by the chosen one"


def _counted(rows: Boxes, spec: ModelSpec) -> Boxes:
    return rows[rows[:, 5] >= of(spec).score]
