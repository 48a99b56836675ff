"""Convert outputs to boxes and masks in the original image."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgewright.boxes import decode as boxes
from edgewright.boxes.shapes import require_finite
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec

from . import prototypes, records
from .answer import InstanceMasks
from .crops import Crop
from .spec import Instances, of

DTYPE = "uint8"

_MOST_RUNS = 16_384
"""Largest number of bytes of a mask's run lengths that a device may send."""


def evaluated(spec: ModelSpec) -> ModelSpec:
    """Return `spec` with the thresholds of an evaluation, because mAP also needs objects with low scores."""
    return boxes.evaluated(spec)


def threshold(spec: ModelSpec, score: Any) -> float | None:
    """Return the minimum score of a caller as a float; None if there is none. Raises `InvalidInput`, see
    `boxes.decode`."""
    return boxes.threshold(score)


def read(
    outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]], score: float | None = None
) -> list[InstanceMasks]:
    """Return the objects of each image, from the outputs of one run over N images.

    `sizes`: (width, height) of the N original images. `score`: the minimum score, instead of the spec's. The masks are
    computed when they are needed.

    Raises `InvalidInput` if the outputs have other shapes than the decoder needs, or do not belong to N images, and
    `RuntimeFailed` if a value is not finite.
    """
    section = of(spec)
    found = boxes.read(outputs[:-1], spec, sizes, section.score if score is None else score)
    values = checked_prototypes(outputs, spec, section, len(sizes))
    return [_answer(one, values[k], spec, size) for k, (one, size) in enumerate(zip(found, sizes))]


def _answer(one: boxes.Found, values: np.ndarray, spec: ModelSpec, size: tuple[int, int]) -> InstanceMasks:
    placed = prototypes.place(values, spec, size)

    @functools.cache
    def crop(k: int) -> Crop:
        return Crop(*placed.column_bits(one.extra[k], one.boxes[k]))

    return InstanceMasks(one.boxes, one.scores, one.classes, size, crop, spec.labels)


def checked_prototypes(outputs: list[np.ndarray], spec: ModelSpec, section: Instances, images: int) -> np.ndarray:
    """Return the prototypes (N, C, height, width), the last of `outputs`.

    Raises `InvalidInput` if their shape does not fit the description, and `RuntimeFailed` if a value is not finite.
    """
    channels, stride = section.coefficients, section.mask_stride
    height, width = spec.input.height // stride, spec.input.width // stride
    values = np.asarray(outputs[-1], np.float32) if outputs else np.zeros(0, np.float32)
    if images == 1 and values.ndim == 3:  # some exporters drop the axis of a batch of one
        values = values[None]
    if values.shape == (images, height, width, channels) != (images, channels, height, width):
        values = values.transpose(0, 3, 1, 2)
    if values.shape != (images, channels, height, width):
        raise InvalidInput(
            f"The last output of the model has the shape {tuple(values.shape)}.",
            f"It must be the prototypes of {images} images: ({images}, {channels}, {height}, {width}), or with the "
            f"{channels} coefficients last.",
            "Correct outputs (the prototypes are the last one), coefficients or mask_stride in [instances].",
        )
    require_finite(np.ascontiguousarray(values))
    return values


def rows(
    outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]], names: Sequence[str], first: int
) -> np.ndarray:
    """Return the objects for the accuracy, (rows, 40) uint8; see `records`."""
    found = read(outputs, evaluated(spec), sizes)
    return np.concatenate([records.written(one, number) for number, one in enumerate(found, first)])


def row_bytes(spec: ModelSpec) -> int:
    """Return the maximum number of bytes of an image's rows."""
    return of(spec).most * (records.WIDTH + _MOST_RUNS)


def check_rows(rows: np.ndarray, spec: ModelSpec, images: int) -> tuple[str, str] | None:
    """Return (the error in the rows of `images` images, the allowed values), or None if they are valid."""
    return records.wrong(rows, images, spec.classes)
