"""Texts and pictures of a pose model for reports."""

from __future__ import annotations

import numpy as np
from PIL import Image

from edgewright.core.spec import ModelSpec

from . import pairs
from .decode import answer_of
from .draw import draw
from .spec import of

HEADING = "Pose mAP"
TITLE = "Pose mAP 50-95 (OKS)"
AGREEMENT = "Points within 5% of the reference's"
SHOWN = ("pose_ap50",)
GALLERY = (
    "Left: the reference. Right: the chosen artifact. Images with the largest difference come first: objects that only "
    "one of the two finds, and points that moved. Objects with at least the model's score."
)


def disagreement(found: np.ndarray, reference: np.ndarray, images: int, spec: ModelSpec) -> np.ndarray:
    """Return for each image the scores of unmatched objects, plus the mean movement of the points of matched ones
    relative to their size."""
    gaps = np.zeros(images)
    floor = of(spec).score
    alone = [set(np.flatnonzero(rows[:, 5] >= floor).tolist()) for rows in (found, reference)]
    for i, j in pairs.matched(found, reference, spec):
        if found[i, 5] < floor and reference[j, 5] < floor:
            continue
        moved, seen = pairs.moved(found[i], reference[j])
        gaps[int(reference[j, 0])] += float(np.minimum(moved[seen], 1.0).mean()) if seen.any() else 0.0
        alone[0].discard(i)
        alone[1].discard(j)
    for rows, left in zip((found, reference), alone):
        for k in left:
            gaps[int(rows[k, 0])] += float(rows[k, 5])
    return gaps


def picture(image: Image.Image, rows: np.ndarray, scale: float, spec: ModelSpec) -> Image.Image:
    """Return `image`, reduced by `scale`, with the objects in `rows` that count."""
    return draw(image, answer_of(_counted(rows, spec), spec, scale))


def caption(reference: np.ndarray, found: np.ndarray, spec: ModelSpec) -> str:
    """Return the number of objects that count on an image, for the reference and the chosen artifact."""
    ours, theirs = len(_counted(found, spec)), len(_counted(reference, spec))
    return f"{theirs} objects by the reference, {ours} by the chosen one"


def _counted(rows: np.ndarray, spec: ModelSpec) -> np.ndarray:
    return rows[rows[:, 5] >= of(spec).score]
