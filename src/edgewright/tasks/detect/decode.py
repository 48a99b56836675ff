"""Convert a detector's outputs to boxes in the original image, with labels and scores.

Suppression is that of torchvision's ``batched_nms``, and the limit on candidates is Ultralytics'. torchvision's own
detectors have a limit for each class (SSD) or feature map (RetinaNet), so boxes with a low score can differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.core.text import one_line
from edgewright.vision.preprocess import placement

from . import layouts, shapes
from . import spec as section
from .answer import Detections
from .spec import Detect
from .suppression import nms

DTYPE = "float32"
_ROW, _AT_ONCE = 7, 65536


def evaluated(spec: ModelSpec) -> ModelSpec:
    """Return `spec` with the thresholds of an evaluation, because mAP also needs boxes with low scores."""
    d = section.of(spec)
    several = d.multi_label or d.multi_label_eval
    return spec.with_task(score=d.score_eval, multi_label=several)


def threshold(spec: ModelSpec, score: Any) -> float | None:
    """The least score of a detection that a caller gave, as a float; None if none was given.

    Texts, arrays, tensors, decimals and booleans are refused, as is NaN, which would leave out every detection without
    a word: `InvalidInput`.
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


def read(
    outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]], score: float | None = None
) -> list[Detections]:
    """Return the objects of each image, from the outputs of one run over N images.

    `sizes`: (width, height) of the N original images. `score`: the minimum score, instead of the spec's.

    Raises `InvalidInput` if the outputs have other shapes than the decoder needs, or do not belong to N images, and
    `RuntimeFailed` if a value is not finite.
    """
    d = section.of(spec)
    arrays = shapes.checked(outputs, spec, d, len(sizes))
    least = d.score if score is None else score
    return [_found([array[k] for array in arrays], spec, d, size, least) for k, size in enumerate(sizes)]


def rows(
    outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]], names: Sequence[str], first: int
) -> np.ndarray:
    """Return the boxes for the accuracy, (boxes, 7): image (from `first` on), x1, y1, x2, y2, score, class."""
    found = read(outputs, evaluated(spec), sizes)
    return np.concatenate([one.rows(number) for number, one in enumerate(found, first)])


def row_bytes(spec: ModelSpec) -> int:
    """Return the maximum number of bytes of an image's rows."""
    return 4 * _ROW * section.of(spec).most


def check_rows(rows: np.ndarray, spec: ModelSpec, images: int) -> tuple[str, str] | None:
    """(the error in the rows of `images` images, what they must be); None if they are valid.

    Boxes are finite, of an image and a class that there are.
    """
    if rows.ndim != 2 or rows.shape[1] != _ROW:
        return f"answers of shape {rows.shape}", f"(boxes, {_ROW})"
    for begin in range(0, len(rows), _AT_ONCE):  # the file is mapped, not read whole
        part = rows[begin : begin + _AT_ONCE]
        image, index = part[:, 0], part[:, 6]
        sound = (
            np.isfinite(part).all(axis=1)
            & (image >= 0) & (image < images) & (image == np.floor(image))
            & (index >= 0) & (index < spec.classes) & (index == np.floor(index))
        )  # fmt: skip
        if len(bad := part[~sound]):
            what = f"{len(bad)} boxes that are none, the first {bad[:1].tolist()}"
            return what, f"finite ones of {images} images and {spec.classes} classes"
    return None


def all_cells(outputs: list[np.ndarray], spec: ModelSpec) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N, cells, 4) xyxy in input pixels and class scores (N, cells, C) of every cell, before any threshold.

    For the decoders "boxes" and "dfl", whose answers can so be compared cell by cell. Raises as `read` does.
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
        scores.append(layouts.scored(rows[:, width:], d))
    return np.stack(boxes), np.stack(scores)


def _found(arrays: list[np.ndarray], spec: ModelSpec, d: Detect, size: tuple[int, int], least: float) -> Detections:
    boxes, scores, classes = layouts.DECODERS[d.decoder](arrays, spec, d, least)
    place = placement(size, spec.preprocess, spec.input)
    corner = np.asarray((place.left, place.top) * 2, np.float32)
    scale = np.asarray((place.scale_x, place.scale_y) * 2, np.float32)
    if d.decoder == "anchors":  # torchvision compares the parts of boxes that are in the image
        boxes = np.clip(boxes, corner, corner + np.asarray(size * 2, np.float32) * scale)
    if d.decoder in ("set", "end2end") or d.iou >= 1:
        keep = np.arange(min(d.most, len(scores)))
    else:
        keep = nms(boxes, classes, d.iou, d.most)
    boxes = (boxes[keep] - corner) / scale
    boxes = np.clip(boxes, 0, np.asarray(size * 2, np.float32))
    return Detections(boxes, scores[keep], classes[keep], spec.labels)
