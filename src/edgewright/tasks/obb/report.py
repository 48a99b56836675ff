"""Texts and pictures of rotated boxes for reports: images where an artifact and its reference differ, with both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgewright.boxes.matching import Boxes, best_pairs, groups
from edgewright.core.spec import ModelSpec

from .answer import RotatedBoxes
from .draw import draw
from .overlap import GEOMETRY, of_rows
from .spec import of

HEADING = "mAP"
TITLE = "mAP 50-95 of rotated boxes"
AGREEMENT = "Reference's boxes found"
SHOWN = ("ap50",)
GALLERY = (
    "Left: the reference. Right: the chosen artifact. Images with the largest difference come first: boxes that only "
    "one of the two finds, and scores that moved. Boxes with a score of at least 25%."
)
IOU = 0.5


def disagreement(found: Boxes, reference: Boxes, images: int, spec: ModelSpec) -> NDArray[np.float64]:
    """Return for each image the scores of unmatched boxes plus the score differences of matched boxes.

    Boxes with at least the spec's score count. A match has the same class and an overlap of at least 0.5.
    """
    d = of(spec)
    gaps = np.zeros(images)
    found, reference = (rows[rows[:, 5] >= d.score / 2] for rows in (found, reference))
    ours, theirs = (dict(groups(rows)) for rows in (found, reference))
    for key in {*ours, *theirs}:
        own, other = found[ours.get(key, [])], reference[theirs.get(key, [])]
        pairs = best_pairs(own, other, IOU, of_rows(d))
        gap = sum(abs(own[i, 5] - other[j, 5]) for i, j in pairs if max(own[i, 5], other[j, 5]) >= d.score)
        alone = [np.delete(own[:, 5], [i for i, _ in pairs]), np.delete(other[:, 5], [j for _, j in pairs])]
        gaps[key[1]] += gap + sum(scores[scores >= d.score].sum() for scores in alone)
    return gaps


def picture(image: Image.Image, rows: Boxes, scale: float, spec: ModelSpec) -> Image.Image:
    """Return `image`, reduced by `scale`, with the boxes in `rows` that count."""
    kept = _counted(rows, spec)
    kept = kept[np.argsort(-kept[:, 5], kind="stable")]
    boxes = kept[:, GEOMETRY] * np.array([scale, scale, scale, scale, 1], np.float32)
    return draw(image, RotatedBoxes(boxes, kept[:, 5], kept[:, 6].astype(np.int64), spec.labels))


def caption(reference: Boxes, found: Boxes, spec: ModelSpec) -> str:
    """Return the number of boxes that count on an image, for the reference and the chosen artifact."""
    ours, theirs = len(_counted(found, spec)), len(_counted(reference, spec))
    return f"{theirs} boxes by the reference, {ours} by the chosen one"


def _counted(rows: Boxes, spec: ModelSpec) -> Boxes:
    return rows[rows[:, 5] >= of(spec).score]
