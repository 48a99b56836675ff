"""Texts and pictures of a model of instance masks for reports: images where it and its reference differ."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgewright.boxes.differences import disagreement as box_disagreement
from edgewright.core.spec import ModelSpec

from . import crops, records
from .answer import InstanceMasks
from .crops import Crop
from .draw import draw
from .spec import of

HEADING = "mask mAP"
TITLE = "mask mAP 50-95"
AGREEMENT = "Reference's objects found"
SHOWN = ("box_map", "boundary_map")
GALLERY = (
    "Left: the reference. Right: the chosen artifact. Images with the largest difference come first: objects that only "
    "one of the two finds, and scores that moved. Objects with a score of at least 25%."
)


def disagreement(found: np.ndarray, reference: np.ndarray, images: int, spec: ModelSpec) -> NDArray[np.float64]:
    """Return for each image the scores of unmatched objects plus the score differences of matched ones.

    Objects with at least the spec's score count. A match has the same class and an IoU of boxes of at least 0.5.
    """
    ours, theirs = (records.read(rows).boxes[:, :7] for rows in (found, reference))
    return box_disagreement(ours, theirs, images, of(spec).score)


def picture(image: Image.Image, rows: np.ndarray, scale: float, spec: ModelSpec) -> Image.Image:
    """Return `image`, reduced by `scale`, with the objects in `rows` that count."""
    found = records.read(rows)
    kept = _counted(found, spec)
    boxes = found.boxes[kept]

    def crop(k: int) -> Crop:
        return crops.of_rle(found.rle(int(kept[k]))).scaled(scale, image.size)

    answer = InstanceMasks(
        boxes[:, 1:5] * np.float32(scale), boxes[:, 5], boxes[:, 6].astype(np.int64), image.size, crop, spec.labels
    )
    return draw(image, answer)


def caption(reference: np.ndarray, found: np.ndarray, spec: ModelSpec) -> str:
    """Return the number of objects that count on an image, for the reference and the chosen artifact."""
    theirs, ours = (len(_counted(records.read(rows), spec)) for rows in (reference, found))
    return f"{theirs} objects by the reference, {ours} by the chosen one"


def _counted(found: records.Records, spec: ModelSpec) -> NDArray[np.intp]:
    """Return the objects with at least the spec's score, best first."""
    order = np.argsort(-found.boxes[:, 5], kind="stable")
    counted: NDArray[np.intp] = order[found.boxes[order, 5] >= of(spec).score]
    return counted
