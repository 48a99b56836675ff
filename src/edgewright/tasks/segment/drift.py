"""What the mean IoU of a few classes hides: exchanged classes, lost outlines and thin objects, and a shift of masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgewright.core.spec import ModelSpec
from edgewright.tasks.scores import Drift

from . import boundary

Maps = Sequence[tuple[np.ndarray, np.ndarray]]
"""The maps of an artifact and of its reference, of the same images."""
FEWEST = 0.002
"""A class with a smaller share of the reference's pixels is not checked."""
CLASSES, BOUNDARY, OFFSET = (0.15, 0.5), (0.25, 0.6), (1.0, 3.0)
"""Limits of a warning and of an error: the share of a class's pixels that changed, 1 - boundary IoU, and pixels of the
network's input."""


def drifts(maps: Maps, spec: ModelSpec) -> list[Drift]:
    """Compare the `maps` of an artifact and of its reference."""
    if not maps:
        return []
    return [_classes(maps, spec), _boundary(maps, spec), _offset(maps, spec)]


def _classes(maps: Maps, spec: ModelSpec) -> Drift:
    count = spec.classes
    matrix = np.zeros((count, count))
    for ours, theirs in maps:
        pairs = theirs.reshape(-1).astype(np.int64) * count + ours.reshape(-1)
        matrix += np.bincount(pairs, minlength=count * count).reshape(count, count) / theirs.size
    there = matrix.sum(1)
    changed = np.where(there >= FEWEST * len(maps), 1 - np.diag(matrix) / np.maximum(there, 1e-12), 0.0)
    worst = int(changed.argmax())
    others = np.where(np.arange(count) == worst, 0, matrix[worst])
    total = 100 * (1 - np.trace(matrix) / len(maps))
    text = (
        f"{total:.2f}% of all pixels changed their class. Most affected is {spec.label(worst)}: "
        f"{changed[worst]:.1%} of its pixels"
    )
    if changed[worst] > 0:
        text += f", mostly to {spec.label(int(others.argmax()))}"
    return Drift("classes", text, float(changed[worst]), CLASSES)


def _boundary(maps: Maps, spec: ModelSpec) -> Drift:
    hits, union = np.zeros((2, spec.classes))
    for ours, theirs in maps:
        one, other = boundary.Bands(theirs, spec.classes).against(ours)
        hits, union = hits + one, union + other
    present = union > 0
    iou = float((hits[present] / union[present]).mean()) if present.any() else 1.0
    text = f"Outlines: the boundary IoU with the reference is {iou:.1%}, a difference of {1 - iou:.3f}"
    return Drift("boundary", text, 1 - iou, BOUNDARY)


def _offset(maps: Maps, spec: ModelSpec) -> Drift:
    """Fit one shift to all images: by the gradient of smoothed maps (Lucas & Kanade, 1981)."""
    from scipy.ndimage import uniform_filter

    products, errors = np.zeros((2, 2)), np.zeros(2)
    for pair in maps:
        scale = max(1, round(max(pair[0].shape) / 160))  # a coarse map suffices
        ours, theirs = (one[::scale, ::scale] for one in pair)
        size = max(3, round(0.08 * max(theirs.shape)) | 1)
        unit = np.array([spec.input.height / theirs.shape[0], spec.input.width / theirs.shape[1]])
        for index in np.flatnonzero(np.bincount(theirs.reshape(-1)) >= FEWEST * theirs.size):
            before, after = (uniform_filter((one == index).astype(np.float32), size) for one in (theirs, ours))
            slope = np.stack([part.reshape(-1) for part in np.gradient((before + after) / 2)]) / unit[:, None]
            products += slope @ slope.T
            errors -= slope @ (after - before).reshape(-1)
    shift = np.linalg.lstsq(products, errors, rcond=None)[0]
    length = float(np.hypot(*shift))
    text = f"Regions are shifted by {length:.2f} pixels of the input, {shift[1]:+.2f} in x and {shift[0]:+.2f} in y"
    return Drift("offset", text, length, OFFSET)
