"""Convert a detector's outputs to boxes in the original image, with labels and scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgewright.boxes import decode as boxes
from edgewright.core.spec import ModelSpec

from . import spec as section
from .answer import Detections

DTYPE = "float32"
_ROW, _AT_ONCE = 7, 65536


def evaluated(spec: ModelSpec) -> ModelSpec:
    """Return `spec` with the thresholds of an evaluation, because mAP also needs boxes with low scores."""
    return boxes.evaluated(spec)


def threshold(spec: ModelSpec, score: Any) -> float | None:
    """Return the minimum score of a caller as a float; None if there is none. Raises `InvalidInput`, see
    `boxes.decode`."""
    return boxes.threshold(score)


def read(
    outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]], score: float | None = None
) -> list[Detections]:
    """Return the objects of each image, from the outputs of one run over N images.

    `sizes`: (width, height) of the N original images. `score`: the minimum score, instead of the spec's.

    Raises `InvalidInput` if the outputs have other shapes than the decoder needs, or do not belong to N images, and
    `RuntimeFailed` if a value is not finite.
    """
    least = section.of(spec).score if score is None else score
    found = boxes.read(outputs, spec, sizes, least)
    return [Detections(one.boxes, one.scores, one.classes, spec.labels) for one in found]


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
