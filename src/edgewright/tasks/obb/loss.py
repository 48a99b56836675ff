"""The distance between the answers of two detectors of rotated boxes."""

from __future__ import annotations

import numpy as np

from edgewright.boxes.loss import BOX_SCORE, agreement, align, energy, same, stable
from edgewright.core.losses import Outputs, each_image
from edgewright.core.spec import ModelSpec

from .decode import read
from .polygons import iou

__all__ = ["agreement", "align", "changes", "divergence", "energy", "same", "stable"]


def divergence(exact: Outputs, found: Outputs, spec: ModelSpec) -> float:
    """Return the score that the float model's boxes lose, relative to the sum of all scores.

    The matching box is that of the same class with the largest intersection over union (IoU) of the outlines. The IoU
    is a factor of the remaining score, so an angle counts by the area that it moves.
    """
    size = (spec.input.width, spec.input.height)
    one = spec.with_input(batch=1)
    total, lost = 1e-12, 0.0
    for image in range(len(exact[0])):
        wanted = read([array[image : image + 1] for array in exact], one, [size], BOX_SCORE)[0]
        given = read([array[image : image + 1] for array in found], one, [size], BOX_SCORE / 10)[0]
        overlaps = iou(wanted.corners.astype(np.float64), given.corners.astype(np.float64))
        overlaps *= wanted.indices[:, None] == given.indices[None]
        left = (overlaps * np.minimum(given.scores[None], wanted.scores[:, None])).max(axis=1, initial=0.0)
        total += float(wanted.scores.sum())
        lost += float(wanted.scores.sum() - left.sum())
    return lost / total


def changes(exact: Outputs, found: Outputs, spec: ModelSpec) -> np.ndarray:
    """Return the relative loss of scores for each image; (images,)."""
    return each_image(exact, found, spec, divergence)
