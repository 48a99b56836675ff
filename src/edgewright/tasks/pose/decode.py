"""Convert the outputs of a pose model to objects with keypoints in the original image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgewright.boxes import decode as boxes
from edgewright.boxes import layouts as cells
from edgewright.core.outputs import probabilities
from edgewright.core.spec import ModelSpec
from edgewright.points import layouts, skeletons

from . import spec as section
from .answer import Poses
from .spec import Pose

DTYPE = "float32"
_BOX, _AT_ONCE = 7, 65536


def evaluated(spec: ModelSpec) -> ModelSpec:
    """Return `spec` with the thresholds of an evaluation, because mAP also needs objects with low scores."""
    return boxes.evaluated(spec)


def threshold(spec: ModelSpec, score: Any) -> float | None:
    """Return the minimum score of a caller as a float; None if there is none. Raises `InvalidInput`, see
    `boxes.decode`."""
    return boxes.threshold(score)


def read(
    outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]], score: float | None = None
) -> list[Poses]:
    """Return the objects of each image, from the outputs of one run over N images.

    `sizes`: (width, height) of the N original images. `score`: the minimum score, instead of the spec's. Raises
    `InvalidInput` if the outputs have other shapes than the decoder needs, and `RuntimeFailed` if a value is not
    finite.
    """
    d = section.of(spec)
    least = d.score if score is None else score
    if d.single is not None:
        arrays = layouts.checked(d.single, outputs, d, spec, len(sizes))
        return [_one([array[k] for array in arrays], spec, size, least) for k, size in enumerate(sizes)]
    answers = list[Poses]()
    for found, size in zip(boxes.read(outputs, spec, sizes, least), sizes):
        points = keypoints(found.extra, found.cells, spec)
        moved = boxes.in_photo(points[..., :2], spec, size)
        points[..., :2] = np.clip(moved, 0, np.asarray(size, np.float32))  # as Ultralytics' predictor and its results
        answers.append(_poses(found.boxes, found.scores, found.classes, points, spec))
    return answers


def keypoints(extra: np.ndarray, at: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Return (N, K, 3): x and y in input pixels, and the score of the points of N objects, from the values `extra` of
    their cells `at`."""
    d = section.of(spec)
    raw = extra.reshape(len(extra), d.points, len(d.values))
    found = np.ones((len(extra), d.points, 3), np.float32)
    found[..., :2] = raw[..., [d.values.index("x"), d.values.index("y")]]
    if d.decoder == "dfl":
        a, b = d.point_coding
        places = cells.grid(spec.input.height, spec.input.width, d.strides)[at][:, None]
        found[..., :2] = (np.float32(a) * found[..., :2] + places[..., :2] + np.float32(b)) * places[..., 2:]
    elif d.decoder == "blazeface":
        found[..., :2] += cells.anchor_centres(spec.input.height, spec.input.width, d)[at][:, None]
    for place in (k for k, letter in enumerate(d.values) if letter == "s"):
        found[..., 2] *= probabilities(raw[..., place], d.point_scores)
    return found


def rows(
    outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]], names: Sequence[str], first: int
) -> np.ndarray:
    """Return the objects for the accuracy, (objects, 7 + 3 K): image (from `first` on), x1, y1, x2, y2, score, class,
    then x, y and score of each point."""
    found = read(outputs, evaluated(spec), sizes)
    return np.concatenate([one.rows(number) for number, one in enumerate(found, first)])


def row_bytes(spec: ModelSpec) -> int:
    """Return the maximum number of bytes of an image's rows."""
    d = section.of(spec)
    return 4 * width(d) * (1 if d.single is not None else d.most)


def check_rows(rows: np.ndarray, spec: ModelSpec, images: int) -> tuple[str, str] | None:
    """Check rows of `images` images. Return (the error, the allowed values), or None if they are valid."""
    d = section.of(spec)
    if rows.ndim != 2 or rows.shape[1] != width(d):
        return f"answers of shape {rows.shape}", f"(objects, {width(d)})"
    for begin in range(0, len(rows), _AT_ONCE):  # the file is mapped, not read whole
        part = rows[begin : begin + _AT_ONCE]
        image, index = part[:, 0], part[:, 6]
        sound = (
            np.isfinite(part).all(axis=1)
            & (image >= 0) & (image < images) & (image == np.floor(image))
            & (index >= 0) & (index < d.classes) & (index == np.floor(index))
        )  # fmt: skip
        if len(bad := part[~sound]):
            what = f"{len(bad)} objects that are none, the first {bad[0, :_BOX].tolist()}"
            return what, f"finite ones of {images} images and {d.classes} classes"
    return None


def width(d: Pose) -> int:
    """Return the number of values in a row."""
    return _BOX + 3 * d.points


def answer_of(rows: np.ndarray, spec: ModelSpec, scale: float = 1.0) -> Poses:
    """Return the answer in `rows` of one image, whose pixels are multiplied by `scale`."""
    kept = rows[np.argsort(-rows[:, 5], kind="stable")]
    points = kept[:, _BOX:].reshape(len(kept), section.of(spec).points, 3).copy()
    points[..., :2] *= np.float32(scale)
    return _poses(kept[:, 1:5] * np.float32(scale), kept[:, 5], kept[:, 6].astype(np.int64), points, spec)


def _one(arrays: list[np.ndarray], spec: ModelSpec, size: tuple[int, int], least: float) -> Poses:
    d = section.of(spec)
    assert d.single is not None
    found = layouts.decode(d.single, arrays, d, spec)
    score = float(found.scores.mean()) if found.score is None else found.score
    xy = boxes.in_photo(found.points[:, :2], spec, size).astype(np.float32)
    around = boxes.clipped(np.r_[xy.min(axis=0), xy.max(axis=0)][None], size)
    points = np.concatenate([xy, found.scores[:, None]], axis=1)[None]
    kept = slice(None) if score >= least else slice(0)
    one, first = np.array([score], np.float32), np.zeros(1, np.int64)
    return _poses(around[kept], one[kept], first[kept], points[kept], spec)


def _poses(
    around: np.ndarray, scores: np.ndarray, classes: np.ndarray, points: np.ndarray, spec: ModelSpec
) -> Poses:  # fmt: skip
    d = section.of(spec)
    skeleton = skeletons.of(d.points, d.names, d.edges)
    return Poses(around, scores, classes, points.astype(np.float32), d.labels, skeleton.names, skeleton.edges)
