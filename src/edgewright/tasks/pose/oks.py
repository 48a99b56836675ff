"""COCO's object keypoint similarity (OKS) between found and labeled keypoints."""

from __future__ import annotations

import numpy as np

from edgewright.boxes.matching import Floats, Overlap
from edgewright.data.boxes import Box

MOST = 20
"""Maximum number of objects per image and class: COCO's maxDets for keypoints."""
_BOX = 7


def counts(box: Box) -> bool:
    """Whether an object is to be found: it has a labeled point and is no crowd."""
    return not box.crowd and any(visible > 0 for *_, visible in box.keypoints or ())


def overlap(sigmas: np.ndarray) -> Overlap:
    """Return the function that compares rows with labeled objects, with the falloff `sigmas` of each point.

    It is COCOeval's ``computeOks``. An object without a labeled point is compared by its box, doubled in size.
    """
    falloff = (2 * sigmas) ** 2

    def similarity(rows: Floats, truth: list[Box]) -> Floats:
        points = rows[:, _BOX:].reshape(len(rows), len(sigmas), 3)
        found = np.zeros((len(rows), len(truth)))
        for k, box in enumerate(truth):
            labels = np.asarray(box.keypoints or ((0.0, 0.0, 0),) * len(sigmas), np.float64)
            visible = labels[:, 2] > 0
            if visible.any():
                apart = np.square(points[:, :, :2] - labels[:, :2]).sum(axis=2)
            else:
                width, height = box.x2 - box.x1, box.y2 - box.y1
                low = np.array([box.x1 - width, box.y1 - height])
                high = np.array([box.x1 + 2 * width, box.y1 + 2 * height])
                outside = np.maximum(0, low - points[:, :, :2]) + np.maximum(0, points[:, :, :2] - high)
                apart = np.square(outside).sum(axis=2)
            errors = apart / falloff / (box.area + np.spacing(1)) / 2
            chosen = errors[:, visible] if visible.any() else errors
            found[:, k] = np.exp(-chosen).mean(axis=1)
        return found

    return similarity
