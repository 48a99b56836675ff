"""Convert the outputs of a landmark model to points in the original image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.core.text import one_line
from edgewright.points import layouts, skeletons
from edgewright.vision.preprocess import placement

from . import spec as section
from .answer import Points

DTYPE = "float32"


def read(
    outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]], score: float | None = None
) -> list[Points]:
    """Return the points of the object in each image. `sizes`: (width, height) of the original images.

    `score`: the minimum score of the object, instead of the spec's. Raises `InvalidInput` if the outputs have other
    shapes than the decoder reads, and `RuntimeFailed` if a value is not finite.
    """
    d = section.of(spec)
    arrays = layouts.checked(d.decoder, outputs, d, spec, len(sizes))
    least = d.score if score is None else score
    skeleton = skeletons.of(d.points, d.names, d.edges)
    answers = list[Points]()
    for k, size in enumerate(sizes):
        found = layouts.decode(d.decoder, [array[k] for array in arrays], d, spec)
        place = placement(size, spec.preprocess, spec.input)
        points = found.points.astype(np.float32)
        points[:, 0] = (points[:, 0] - place.left) / place.scale_x
        points[:, 1] = (points[:, 1] - place.top) / place.scale_y
        points[:, 2:] /= np.float32(place.scale_x)
        there = 1.0 if found.score is None else found.score
        kept = slice(None) if there >= least else slice(0)
        answers.append(Points(points[kept], found.scores[kept], there, skeleton.names, skeleton.edges))
    return answers


def threshold(spec: ModelSpec, score: Any) -> float | None:
    """Return the checked minimum score of the object. Raises `InvalidInput` for an invalid one, and for a model without
    such a score."""
    if score is None:
        return None
    number = isinstance(score, (int, float, np.integer, np.floating)) and not isinstance(score, bool)
    if not number or not 0 <= score <= 1:
        raise InvalidInput(
            f"score={one_line(repr(score))} is no score.",
            "A score is an int or float (or one of numpy) from 0 to 1.",
            "Give a number from 0 to 1.",
        )
    if section.of(spec).object_score is None:
        raise InvalidInput(
            f"score={float(score):g} was given, but '{spec.name}' has no score of the object.",
            "It gives points for every image.",
            "Leave the score out, or describe the output with the score: [landmarks] object_score.",
        )
    return float(score)


def evaluated(spec: ModelSpec) -> ModelSpec:
    """Return `spec` without a minimum score, because errors are measured on every image."""
    return spec.with_task(score=0.0)


def rows(
    outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]], names: Sequence[str], first: int
) -> np.ndarray:
    """Return (images, 1 + values): the object's score, then x, y (z) and the score of each point."""
    found = read(outputs, evaluated(spec), sizes)
    return np.stack([np.r_[one.score, np.column_stack([one.points, one.scores]).reshape(-1)] for one in found]).astype(
        np.float32
    )


def row_bytes(spec: ModelSpec) -> int:
    """Return the number of bytes of an image's row."""
    return 4 * _width(spec)


def check_rows(rows: np.ndarray, spec: ModelSpec, images: int) -> tuple[str, str] | None:
    """Check rows of `images` images. Return (the error, the allowed values), or None if they are valid."""
    shape = (images, _width(spec))
    if rows.shape != shape:
        return f"answers of shape {rows.shape}", f"{shape}"
    return None if np.isfinite(rows).all() else ("values that are not finite", "finite values")


def answer_of(row: np.ndarray, spec: ModelSpec, scale: float = 1.0) -> Points:
    """Return the answer in the `row` of one image, whose points are multiplied by `scale`."""
    d = section.of(spec)
    table = row[1:].reshape(d.points, section.axes(d) + 1)
    skeleton = skeletons.of(d.points, d.names, d.edges)
    return Points(table[:, :-1] * np.float32(scale), table[:, -1], float(row[0]), skeleton.names, skeleton.edges)


def _width(spec: ModelSpec) -> int:
    d = section.of(spec)
    return 1 + d.points * (section.axes(d) + 1)
