"""The boxes that a head finds in an image, with the cell of each and its extra values.

Suppression is that of torchvision's ``batched_nms``, and the limit on candidates is Ultralytics'. torchvision's own
detectors have a limit for each class (SSD) or feature map (RetinaNet), so boxes with a low score can differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.core.text import one_line
from edgewright.vision.preprocess import placement

from . import layouts, shapes
from . import spec as section
from .layouts import Candidates
from .spec import Head
from .suppression import nms

Size = tuple[int, int]
"""(width, height) of an image."""


class Found(NamedTuple):
    """The boxes of one image after suppression, best first.

    - `boxes`: (K, 4) x1, y1, x2, y2 in pixels of the original image, clipped to it. `scores`: (K,). `classes`: (K,).
    - `cells`: (K,) the row of each in the network's outputs. `extra`: (K, `Head.extra`) the cell's further values.
    - `inner`: (K, 4) the boxes in input pixels, not clipped.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    cells: np.ndarray
    extra: np.ndarray
    inner: np.ndarray


def read(outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[Size], least: float) -> list[Found]:
    """Return the boxes of each image with a score of at least `least`, from the head's outputs of a run over N images.

    `sizes`: of the N original images. Raises `InvalidInput` if the outputs have other shapes than the decoder needs, or
    do not belong to N images, and `RuntimeFailed` if a value is not finite.
    """
    d = section.of(spec)
    arrays = shapes.checked(outputs, spec, d, len(sizes))
    return [_found([array[k] for array in arrays], spec, d, size, least) for k, size in enumerate(sizes)]


def candidates(arrays: list[np.ndarray], spec: ModelSpec, size: Size, least: float) -> Candidates:
    """Return the boxes of one image before suppression, from its outputs (one of N of `shapes.checked`)."""
    d = section.of(spec)
    found = layouts.DECODERS[d.decoder](arrays, spec, d, least)
    if d.decoder != "anchors":
        return found
    # torchvision compares the parts of boxes that are in the image
    corner, scale = _placed(size, spec)
    return found._replace(boxes=np.clip(found.boxes, corner, corner + np.asarray(size * 2, np.float32) * scale))


def sparse(d: Head) -> bool:
    """Whether the head gives each object once, so that nothing is suppressed."""
    return d.decoder in ("set", "end2end") or d.iou >= 1


def in_photo(points: np.ndarray, spec: ModelSpec, size: Size) -> np.ndarray:
    """Convert (..., 2) x, y, or (..., 4) two points, from input pixels to pixels of an image of `size`; not clipped."""
    corner, scale = _placed(size, spec)
    width = points.shape[-1]
    moved: np.ndarray = (points - corner[:width]) / scale[:width]
    return moved


def clipped(boxes: np.ndarray, size: Size) -> np.ndarray:
    """Return `boxes` (K, 4) clipped to an image of `size`."""
    inside: np.ndarray = np.clip(boxes, 0, np.asarray(size * 2, np.float32))
    return inside


def evaluated(spec: ModelSpec) -> ModelSpec:
    """Return `spec` with the thresholds of an evaluation, because mAP also needs boxes with low scores."""
    d = section.of(spec)
    several = d.multi_label or d.multi_label_eval
    return spec.with_task(score=d.score_eval, multi_label=several)


def threshold(score: Any) -> float | None:
    """Return the minimum score of a caller as a float; None if there is none.

    Raises `InvalidInput` for texts, arrays, tensors, decimals, booleans and NaN. NaN would leave out every detection
    without a message.
    """
    if score is None:
        return None
    number = isinstance(score, (int, float, np.integer, np.floating)) and not isinstance(score, bool)
    if not number or not 0 <= score <= 1:
        raise InvalidInput(
            f"score={one_line(repr(score))} is no score.",
            "A score is an int or float (or one of numpy) from 0 to 1.",
            "Give a number from 0 to 1.",
        )
    return float(score)


def all_cells(outputs: list[np.ndarray], spec: ModelSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes (N, cells, 4) xyxy in input pixels and class scores (N, cells, C) of every cell, without threshold.

    The decoders are "boxes" and "dfl". So their answers can be compared cell by cell. Raises the errors of `read`.
    """
    d = section.of(spec)
    assert d.decoder in ("boxes", "dfl"), d
    boxes, scores = [], []
    for array in shapes.checked(outputs, spec, d, len(outputs[0]))[0]:
        shapes.require_finite(array)
        rows = array if d.transposed else array.T
        width = 4 if d.decoder == "boxes" else 4 * d.bins
        cells, raw = np.arange(len(rows)), rows[:, :width]
        boxes.append(layouts.from_centre(raw) if d.decoder == "boxes" else layouts.from_distances(raw, cells, spec, d))
        scores.append(layouts.scored(rows[:, width : width + spec.classes], d))
    return np.stack(boxes), np.stack(scores)


def all_extra(outputs: list[np.ndarray], spec: ModelSpec) -> np.ndarray:
    """Return the further values (N, cells, `Head.extra`) of every cell. Raises the errors of `read`."""
    d, images = section.of(spec), len(outputs[0])
    arrays = shapes.checked(outputs, spec, d, images)
    cells = np.arange(arrays[0].shape[1 if d.transposed else 2])
    return np.stack([shapes.extra_values([array[k] for array in arrays], spec, d, cells) for k in range(images)])


def _found(arrays: list[np.ndarray], spec: ModelSpec, d: Head, size: Size, least: float) -> Found:
    every = candidates(arrays, spec, size, least)
    every_one = np.arange(min(d.most, len(every.scores)))
    keep = every_one if sparse(d) else nms(every.boxes, every.classes, d.iou, d.most)
    inner, cells = every.boxes[keep], every.cells[keep]
    boxes = clipped(in_photo(inner, spec, size), size)
    further = shapes.extra_values(arrays, spec, d, cells)
    return Found(boxes, every.scores[keep], every.classes[keep], cells, further, inner)


def _placed(size: Size, spec: ModelSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return the image's corner in the input (x, y, x, y), and the input pixels of each of its pixels (x, y, x, y)."""
    place = placement(size, spec.preprocess, spec.input)
    corner = np.asarray((place.left, place.top) * 2, np.float32)
    return corner, np.asarray((place.scale_x, place.scale_y) * 2, np.float32)
