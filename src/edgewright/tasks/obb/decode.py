"""Convert a detector's outputs to rotated boxes in the original image, with labels and scores.

Boxes and suppression are those of Ultralytics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgewright.boxes import decode as boxes
from edgewright.boxes import layouts, shapes
from edgewright.boxes.decode import Size
from edgewright.boxes.layouts import Candidates
from edgewright.core.errors import InvalidInput
from edgewright.core.outputs import probabilities
from edgewright.core.spec import ModelSpec
from edgewright.vision.preprocess import placement

from . import spec as section
from .answer import RotatedBoxes
from .rotated import suppress
from .spec import DECODERS, Obb

DTYPE = "float32"
_ROW, _AT_ONCE = 8, 65536

evaluated = boxes.evaluated


def threshold(spec: ModelSpec, score: Any) -> float | None:
    """Return the minimum score of a caller as a float; None if there is none.

    Raises `InvalidInput` for anything but a number from 0 to 1.
    """
    return boxes.threshold(score)


def read(
    outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[Size], score: float | None = None
) -> list[RotatedBoxes]:
    """Return the objects of each image, from the outputs of one run over N images.

    `sizes`: (width, height) of the N original images. `score`: the minimum score, instead of the spec's.

    Raises `InvalidInput` if the outputs have other shapes than the decoder needs, or do not belong to N images, and
    `RuntimeFailed` if a value is not finite.
    """
    d = section.of(spec)
    if d.decoder not in DECODERS:
        raise InvalidInput(
            f'The decoder is "{d.decoder}".',
            f"Rotated boxes can have the decoders {', '.join(DECODERS)}.",
            "Correct the decoder in [obb].",
        )
    arrays = shapes.checked(outputs, spec, d, len(sizes))
    least = d.score if score is None else score
    return [_found([array[k] for array in arrays], spec, d, size, least) for k, size in enumerate(sizes)]


def rows(
    outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[Size], names: Sequence[str], first: int
) -> np.ndarray:
    """Return the boxes for the accuracy, (boxes, 8): image (from `first` on), cx, cy, w, h, score, class, angle."""
    found = read(outputs, evaluated(spec), sizes)
    return np.concatenate([one.rows(number) for number, one in enumerate(found, first)])


def row_bytes(spec: ModelSpec) -> int:
    """Return the maximum number of bytes of an image's rows."""
    return 4 * _ROW * section.of(spec).most


def check_rows(rows: np.ndarray, spec: ModelSpec, images: int) -> tuple[str, str] | None:
    """Check rows of `images` images. Return (the error, the allowed values), or None if they are valid.

    Boxes are finite, and their image and class exist.
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


def radians(values: np.ndarray, d: Obb) -> np.ndarray:
    """Return the network's angles in radians."""
    return values if d.angles == "radians" else (probabilities(values, "sigmoid") - 0.25) * np.float32(math.pi)


def all_cells(outputs: list[np.ndarray], spec: ModelSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes (N, cells, 5) in input pixels and class scores (N, cells, C) of every cell, without threshold.

    The decoders are "boxes" and "dfl". Raises the errors of `read`.
    """
    d = section.of(spec)
    upright, scores = boxes.all_cells(outputs, spec)
    every = np.arange(upright.shape[1])
    arrays = shapes.checked(outputs, spec, d, len(upright))
    found = []
    for k, one in enumerate(upright):
        angles = shapes.extra_values([array[k] for array in arrays], spec, d, every)
        found.append(_rotated(Candidates(one, scores[k, :, 0], every, every), angles, spec, d))
    return np.stack(found), scores


def _found(arrays: list[np.ndarray], spec: ModelSpec, d: Obb, size: Size, least: float) -> RotatedBoxes:
    every = boxes.candidates(arrays, spec, size, least)
    inner = _rotated(every, shapes.extra_values(arrays, spec, d, every.cells), spec, d)
    every_one = np.arange(min(d.most, len(inner)))
    keep = every_one if boxes.sparse(d) else suppress(inner, every.classes, d.iou, d.most)
    return RotatedBoxes(_in_photo(inner[keep], spec, size), every.scores[keep], every.classes[keep], spec.labels)


def _rotated(every: Candidates, values: np.ndarray, spec: ModelSpec, d: Obb) -> np.ndarray:
    """Return boxes (K, 5) in input pixels, from upright ones and the network's `values` (K, 1) of angles."""
    angles = radians(values, d)[:, 0]
    if d.decoder == "end2end":
        return np.concatenate([every.boxes, angles[:, None]], axis=1)
    low, high = every.boxes[:, :2], every.boxes[:, 2:]
    center, sides = (low + high) / 2, high - low
    if d.decoder == "dfl":  # the box is rotated around the center of its cell
        grid = layouts.grid(spec.input.height, spec.input.width, d.strides)[every.cells]
        pivot = (grid[:, :2] + 0.5) * grid[:, 2:]
        (x, y), cos, sin = (center - pivot).T, np.cos(angles), np.sin(angles)
        center = pivot + np.stack([x * cos - y * sin, x * sin + y * cos], axis=1)
    return np.concatenate([center, sides, angles[:, None]], axis=1, dtype=np.float32)


def _in_photo(found: np.ndarray, spec: ModelSpec, size: Size) -> np.ndarray:
    """Convert boxes (K, 5) from input pixels to pixels of an image of `size`.

    If the image was stretched, a box becomes a parallelogram. Then the result has its width, its area and its angle.
    """
    place = placement(size, spec.preprocess, spec.input)
    scale = np.asarray((place.scale_x, place.scale_y), np.float32)
    center = (found[:, :2] - np.asarray((place.left, place.top), np.float32)) / scale
    if spec.preprocess.resize == "letterbox":  # both scales differ only by rounding, which Ultralytics ignores
        return np.concatenate([center, found[:, 2:4] / scale, found[:, 4:]], axis=1)
    along = found[:, 2:3] * np.stack([np.cos(found[:, 4]), np.sin(found[:, 4])], axis=1) / scale
    width = np.hypot(along[:, 0], along[:, 1])
    area = found[:, 2] * found[:, 3] / scale.prod()
    height = area / np.maximum(width, 1e-6)
    angle = np.where(width > 0, np.arctan2(along[:, 1], along[:, 0]), found[:, 4])
    return np.column_stack([center, width, height, angle]).astype(np.float32)
