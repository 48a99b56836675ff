"""Convert the outputs of a network for one object to points in input pixels, in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np

from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.core.outputs import Rule, probabilities
from edgewright.core.spec import ModelSpec

Single = Literal["points", "heatmaps", "simcc"]
"""The names of the layouts with one object."""
SINGLE: tuple[Single, ...] = ("points", "heatmaps", "simcc")
Refine = Literal["none", "quarter", "dark"]
Units = Literal["pixels", "relative"]
Shape = tuple["int | None", ...]


class Described(Protocol):
    """The fields of a section that describe the points of one object."""

    @property
    def points(self) -> int:
        """The number of points."""
        ...

    @property
    def values(self) -> str:
        """The numbers of a point in order: x, y, z, s and -."""
        ...

    @property
    def units(self) -> Units:
        """The unit of coordinates."""
        ...

    @property
    def point_scores(self) -> Rule:
        """The function that turns scores of points into probabilities."""
        ...

    @property
    def object_score(self) -> Rule | None:
        """The same for the output with the object's score; None without one."""
        ...

    @property
    def refine(self) -> Refine:
        """How the place of the largest value is refined."""
        ...

    @property
    def udp(self) -> bool:
        """Whether the corners of map and input are aligned."""
        ...


class Found(NamedTuple):
    """The points of one object in input pixels, (points, 2) or with z (points, 3); the score of each point (points,);
    the score of the object, None without one."""

    points: np.ndarray
    scores: np.ndarray
    score: float | None


def wrong_values(values: str) -> str:
    """Return the error in `values`, the order of a point's numbers; empty if there is none."""
    if set(values) <= set("xyzs-") and all(values.count(one) == 1 for one in "xy") and values.count("z") <= 1:
        return ""
    return f'values is "{values}": it needs x and y once, at most one z, s for a score, and - for a number to leave out'


def shapes(layout: Single, d: Described, spec: ModelSpec) -> list[Shape]:
    """Return the shape of each output for one image."""
    k = d.points
    known: dict[Single, list[Shape]] = {
        "points": [(k * len(d.values),)], "heatmaps": [(None, None, None)], "simcc": [(k, None), (k, None)],
    }  # fmt: skip
    return known[layout] + ([(1,)] if d.object_score is not None else [])


def checked(
    layout: Single, outputs: Sequence[np.ndarray], d: Described, spec: ModelSpec, images: int
) -> list[np.ndarray]:
    """Return the outputs of a run over `images` as float32, in the shapes that `decode` reads.

    Raises `InvalidInput` for other shapes, and `RuntimeFailed` if a value is not finite.
    """
    expected = shapes(layout, d, spec)
    arrays = [np.asarray(output, np.float32) for output in outputs]
    if len(arrays) != len(expected) or any(len(array) != images for array in arrays):
        raise _misfit(outputs, layout, d, images)
    found = list[np.ndarray]()
    for given, shape in zip(arrays, expected):
        array = given
        if len(shape) == 1 and array.size == images * (shape[0] or 0):
            array = given.reshape(images, -1)  # (N, 1, 1, points x values) and the like
        elif len(shape) == 3 and array.ndim == 4 and array.shape[1] != d.points and array.shape[3] == d.points:
            array = given.transpose(0, 3, 1, 2)
        known = (d.points, None, None) if len(shape) == 3 else shape
        fits = array.ndim == len(known) + 1 and all(w in (None, h) for w, h in zip(known, array.shape[1:]))
        if not fits:
            raise _misfit(outputs, layout, d, images)
        if not np.isfinite(array).all():
            raise RuntimeFailed(
                "The model's output holds NaN or infinite values.",
                "edgewright can read no point from it. Usually, weights overflow in a low precision.",
                "Build the artifact with a higher precision, or check the checkpoint.",
            )
        found.append(array)
    return found


def decode(layout: Single, arrays: Sequence[np.ndarray], d: Described, spec: ModelSpec) -> Found:
    """Return the points of one image from its outputs, which `checked` returned, without the axis of images."""
    size = np.asarray((spec.input.width, spec.input.height), np.float32)
    if layout == "points":
        points, scores = _values(arrays[0], d, size)
    elif layout == "heatmaps":
        points, scores = _peaks(arrays[0], d, size)
    else:
        points, scores = _vectors(arrays[0], arrays[1], d, size)
    last = None if d.object_score is None else float(probabilities(arrays[-1], d.object_score)[0])
    return Found(points, scores, last)


def _values(flat: np.ndarray, d: Described, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = flat.reshape(d.points, len(d.values))
    axes = [d.values.index(axis) for axis in "xyz" if axis in d.values]
    scale = size[[0, 1, 0][: len(axes)]] if d.units == "relative" else np.float32(1)
    points = np.ascontiguousarray(rows[:, axes]) * scale
    scores = np.ones(d.points, np.float32)
    for place in (k for k, letter in enumerate(d.values) if letter == "s"):
        scores = scores * probabilities(rows[:, place], d.point_scores)
    return points, scores


def _peaks(maps: np.ndarray, d: Described, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest value of each map (points, height, width) with its place.

    "quarter" moves it by a quarter of a cell to the larger neighbor (Newell et al. 2016, "Stacked Hourglass Networks";
    HRNet). "dark" takes the maximum of a parabola through the logs of the neighbors, which is Zhang et al. 2020,
    "Distribution-Aware Coordinate Representation", without the smoothing.
    """
    count, height, width = maps.shape
    flat = maps.reshape(count, -1)
    at = flat.argmax(axis=1)
    scores = probabilities(flat[np.arange(count), at], d.point_scores)
    y, x = np.divmod(at, width)
    places = np.stack([x, y], axis=1).astype(np.float32)
    for k in range(count if d.refine != "none" else 0):
        places[k] += _offset(maps[k], int(y[k]), int(x[k]), d)
    cells = np.asarray((width, height), np.float32)
    scale = (size - 1) / np.maximum(cells - 1, 1) if d.udp else size / cells
    return places * scale, scores


def _offset(one: np.ndarray, y: int, x: int, d: Described) -> np.ndarray:
    height, width = one.shape
    offset = np.zeros(2, np.float32)
    if not (0 < x < width - 1 and 0 < y < height - 1):
        return offset
    if d.refine == "quarter":
        gaps = (one[y, x + 1] - one[y, x - 1], one[y + 1, x] - one[y - 1, x])
        return np.float32(0.25) * np.sign(np.asarray(gaps, np.float32))
    around = probabilities(one[y - 1 : y + 2, x - 1 : x + 2], d.point_scores)
    logs = np.log(np.maximum(around, 1e-10)).astype(np.float64)
    gradient = np.array([logs[1, 2] - logs[1, 0], logs[2, 1] - logs[0, 1]]) / 2
    xx, yy = logs[1, 2] - 2 * logs[1, 1] + logs[1, 0], logs[2, 1] - 2 * logs[1, 1] + logs[0, 1]
    xy = (logs[2, 2] - logs[2, 0] - logs[0, 2] + logs[0, 0]) / 4
    if xx * yy - xy * xy <= 1e-12:
        return offset
    step = -np.linalg.solve(np.array([[xx, xy], [xy, yy]]), gradient)
    return np.clip(step, -1, 1).astype(np.float32)


def _vectors(x: np.ndarray, y: np.ndarray, d: Described, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest values of the two vectors of each point (Li et al. 2022, "SimCC"); the score is the smaller
    one, as in mmpose."""
    places = np.stack([x.argmax(axis=1) / x.shape[1], y.argmax(axis=1) / y.shape[1]], axis=1)
    scores = probabilities(np.minimum(x.max(axis=1), y.max(axis=1)), d.point_scores)
    return (places * size).astype(np.float32), scores


def _misfit(outputs: Sequence[np.ndarray], layout: Single, d: Described, images: int) -> InvalidInput:
    k = d.points
    wanted = {
        "points": f"({images}, {k * len(d.values)}), or another shape with {len(d.values)} values for each point",
        "heatmaps": f"({images}, {k}, height, width) or ({images}, height, width, {k})",
        "simcc": f"({images}, {k}, columns), ({images}, {k}, rows)",
    }[layout]
    score = f", then the object's score ({images}, 1)" if d.object_score is not None else ""
    return InvalidInput(
        f"The model's outputs have the shapes {', '.join(str(np.asarray(a).shape) for a in outputs) or '(none)'}.",
        f'The decoder "{layout}" reads {wanted}{score}.',
        "Correct decoder, points or values in the model's spec, or name the outputs to read: outputs = [...].",
    )
