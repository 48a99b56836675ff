"""Convert one image's outputs to boxes in input pixels, for every layout of `Head`, in numpy.

The threshold is compared with the raw scores of the network, and boxes are computed only for cells above it: a few
hundred of 8,400.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from edgewright.core.outputs import probabilities
from edgewright.core.spec import ModelSpec

from . import anchors as anchor_boxes
from .shapes import require_finite
from .spec import Head

MAX_CANDIDATES = 30_000
"""Maximum number of an image's best boxes that enter suppression, as in Ultralytics."""


class Candidates(NamedTuple):
    """Boxes (K, 4) xyxy in input pixels, scores (K,), classes (K,), best first.

    `cells` (K,): the row of each in the network's outputs: a cell, an anchor or a query.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    cells: np.ndarray


def _boxes(arrays: list[np.ndarray], spec: ModelSpec, d: Head, least: float) -> Candidates:
    rows = arrays[0] if d.transposed else arrays[0].T
    cells, classes, values = _best(rows[:, 4 : 4 + spec.classes], _raw(least, d), d.multi_label)
    return Candidates(from_centre(rows[cells, :4]), scored(values, d), classes, cells)


def _dfl(arrays: list[np.ndarray], spec: ModelSpec, d: Head, least: float) -> Candidates:
    rows = arrays[0] if d.transposed else arrays[0].T
    first = 4 * d.bins
    cells, classes, values = _best(rows[:, first : first + spec.classes], _raw(least, d), d.multi_label)
    return Candidates(from_distances(rows[cells, :first], cells, spec, d), scored(values, d), classes, cells)


def _nanodet(arrays: list[np.ndarray], spec: ModelSpec, d: Head, least: float) -> Candidates:
    levels = len(d.strides)
    cells, classes, values = _best(np.concatenate(arrays[:levels]), _raw(least, d), d.multi_label)
    distances = np.concatenate(arrays[levels : 2 * levels])[cells]
    return Candidates(from_distances(distances, cells, spec, d), scored(values, d), classes, cells)


def _yolox(arrays: list[np.ndarray], spec: ModelSpec, d: Head, least: float) -> Candidates:
    rows = arrays[0]
    likely = np.flatnonzero(rows[:, 4] >= _raw(least, d))  # no class score is above 1
    values = scored(rows[likely, 4 : 5 + spec.classes], d)
    chosen, classes, scores = _best(values[:, :1] * values[:, 1:], least, d.multi_label)
    cells = likely[chosen]
    return Candidates(_from_offsets(rows[cells, :4], cells, spec, d), scores, classes, cells)


def _yolov5(arrays: list[np.ndarray], spec: ModelSpec, d: Head, least: float) -> Candidates:
    rows = arrays[0]
    likely = np.flatnonzero(rows[:, 4] >= _raw(least, d))  # no class score is above 1
    values = scored(rows[likely, 4 : 5 + spec.classes], d)
    chosen, classes, scores = _best(values[:, :1] * values[:, 1:], least, d.multi_label)
    cells = likely[chosen]
    return Candidates(from_centre(rows[cells, :4]), scores, classes, cells)


def _yunet(arrays: list[np.ndarray], spec: ModelSpec, d: Head, least: float) -> Candidates:
    """Decode like OpenCV's ``FaceDetectorYN`` (Wu et al. 2023, "YuNet: A Tiny Millisecond-level Face Detector")."""
    levels = len(d.strides)
    kinds, objects, raw = (np.concatenate(arrays[k * levels : (k + 1) * levels]) for k in range(3))
    values = np.sqrt(np.clip(scored(kinds, d), 0, 1) * np.clip(scored(objects, d), 0, 1))
    cells, classes, scores = _best(values, least, d.multi_label)
    return Candidates(_from_offsets(raw[cells], cells, spec, d), scores, classes, cells)


def _ultraface(arrays: list[np.ndarray], spec: ModelSpec, d: Head, least: float) -> Candidates:
    scores, boxes = arrays[:2]
    cells, classes, values = _best(np.ascontiguousarray(scores[:, 1:]), _raw(least, d), d.multi_label)
    return Candidates(boxes[cells] * _input_size(spec), scored(values, d), classes + 1, cells)


def _yolo_fastestv2(arrays: list[np.ndarray], spec: ModelSpec, d: Head, least: float) -> Candidates:
    """Decode like the ncnn sample of dog-qiuqiu/Yolo-FastestV2. Its boxes are those of YOLOv5."""
    boxes, scores = [], []
    for array, level in zip(arrays, d.anchors):
        n = len(level.sizes)
        rows = array.reshape(-1, array.shape[-1])
        sides = rows[:, : 4 * n].reshape(-1, n, 4)
        cells = np.arange(len(rows))
        corners = np.stack([cells % level.columns, cells // level.columns], axis=1)[:, None]
        centres = (2 * sides[..., :2] - 0.5 + corners) * np.asarray(level.step)
        sizes = (2 * sides[..., 2:]) ** 2 * np.asarray(level.sizes)
        boxes.append(np.concatenate([centres, sizes], axis=2, dtype=np.float32).reshape(-1, 4))
        values = scored(rows[:, 4 * n :], d)
        scores.append((values[:, :n, None] * values[:, None, n:]).reshape(-1, spec.classes))
    cells, classes, best = _best(np.concatenate(scores), least, d.multi_label)
    return Candidates(from_centre(np.concatenate(boxes)[cells]), best, classes, cells)


def _fastestdet(arrays: list[np.ndarray], spec: ModelSpec, d: Head, least: float) -> Candidates:
    channels, height, width = arrays[0].shape
    rows = arrays[0].reshape(channels, -1).T
    likely = np.flatnonzero(rows[:, 0] >= _raw(max(least, 0.0) ** (1 / 0.6), d))  # no class score is above 1
    values = np.maximum(scored(rows[likely][:, [0, *range(5, channels)]], d), 0)
    chosen, classes, scores = _best(values[:, :1] ** 0.6 * values[:, 1:] ** 0.4, least, d.multi_label)
    cells = likely[chosen]
    raw = rows[cells, 1:5]
    centre = np.empty_like(raw)
    centre[:, 0] = (np.tanh(raw[:, 0]) + cells % width) / width
    centre[:, 1] = (np.tanh(raw[:, 1]) + cells // width) / height
    centre[:, 2:] = probabilities(raw[:, 2:], "sigmoid")
    return Candidates(from_centre(centre * _input_size(spec)), scores, classes, cells)


def _set(arrays: list[np.ndarray], spec: ModelSpec, d: Head, least: float) -> Candidates:
    cells, classes, values = _best(arrays[0][:, 4 : 4 + spec.classes], _raw(least, d), d.multi_label)
    return Candidates(from_centre(arrays[0][cells, :4] * _input_size(spec)), scored(values, d), classes, cells)


def _end2end(arrays: list[np.ndarray], spec: ModelSpec, d: Head, least: float) -> Candidates:
    rows = arrays[0]
    cells, _, values = _best(rows[:, 4:5], _raw(least, d), False)
    return Candidates(rows[cells, :4], scored(values, d), np.rint(rows[cells, 5]).astype(np.int64), cells)


def _anchors(arrays: list[np.ndarray], spec: ModelSpec, d: Head, least: float) -> Candidates:
    rows, deltas = arrays[:2]
    if d.scores == "softmax":
        # No class has more than its share against the background alone. This needs no exponentials; the margin is for
        # their rounding.
        likely = np.flatnonzero(rows[:, 1:].max(axis=1) - rows[:, 0] >= _raw(least, d) - 1e-3)
        chosen, classes, scores = _best(scored(rows[likely], d)[:, 1:], least, d.multi_label)
        cells, classes = likely[chosen], classes + 1
    else:
        cells, classes, values = _best(rows, _raw(least, d), d.multi_label)
        scores = scored(values, d)
    boxes = anchor_boxes.decode(deltas[cells], anchor_boxes.grid(d.anchors, d.offset)[cells], d.coding)
    return Candidates(boxes, scores, classes, cells)


def _blazeface(arrays: list[np.ndarray], spec: ModelSpec, d: Head, least: float) -> Candidates:
    """Decode like MediaPipe's ``TensorsToDetectionsCalculator`` with anchors of a fixed size."""
    cells, classes, values = _best(arrays[1], _raw(least, d), d.multi_label)
    raw = arrays[0][cells, :4].copy()
    raw[:, :2] += anchor_centres(spec.input.height, spec.input.width, d)[cells]
    return Candidates(from_centre(raw), scored(values, d), classes, cells)


DECODERS: dict[str, Callable[[list[np.ndarray], ModelSpec, Head, float], Candidates]] = {
    "boxes": _boxes, "dfl": _dfl, "yolov5": _yolov5, "yolox": _yolox, "nanodet": _nanodet, "fastestdet": _fastestdet,
    "yolo-fastestv2": _yolo_fastestv2, "yunet": _yunet, "ultraface": _ultraface, "set": _set, "end2end": _end2end,
    "anchors": _anchors, "blazeface": _blazeface,
}  # fmt: skip


def _best(values: np.ndarray, least: float, several: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return cells, classes and values of (cells, classes) `values` not below `least`, best first, ties in order."""
    if values.flags.c_contiguous:
        # Numpy finds the largest value of short rows slowly, so one pass over all values selects the few that count.
        require_finite(values)
        likely = np.zeros(len(values), bool)
        likely[np.flatnonzero(values >= least) // values.shape[1]] = True
        cells = np.flatnonzero(likely)
    else:
        most = values.max(axis=1)  # NaN if the row has one
        require_finite(most)
        cells = np.flatnonzero(most >= least)
    some = values[cells]
    if several:
        rows, classes = np.nonzero(some >= least)
    else:
        rows, classes = np.arange(len(cells)), some.argmax(axis=1)
    chosen = some[rows, classes]
    order = np.argsort(-chosen, kind="stable")[:MAX_CANDIDATES]
    return cells[rows[order]], classes[order], chosen[order]


def _raw(least: float, d: Head) -> float:
    """Return the value of a class output for the score `least`."""
    if d.scores == "none":
        return least
    return -math.inf if least <= 0 else math.inf if least >= 1 else math.log(least / (1 - least))


def scored(values: np.ndarray, d: Head) -> np.ndarray:
    """Return class outputs as scores."""
    return probabilities(values, d.scores)


def from_centre(boxes: np.ndarray) -> np.ndarray:
    """Convert center, width and height (K, 4) to x1, y1, x2, y2."""
    require_finite(boxes)
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def _from_offsets(raw: np.ndarray, cells: np.ndarray, spec: ModelSpec, d: Head) -> np.ndarray:
    """Return boxes from center offsets and logs of width and height (K, 4), in strides (YOLOX, YuNet)."""
    x, y, stride = grid(spec.input.height, spec.input.width, d.strides)[cells].T
    # Bounded, so that an invalid output gives a box over the complete image instead of infinity.
    width, height = (np.exp(np.minimum(raw[:, 2:4], 20)) * stride[:, None]).T
    return from_centre(np.stack([(raw[:, 0] + x) * stride, (raw[:, 1] + y) * stride, width, height], axis=1))


def from_distances(logits: np.ndarray, cells: np.ndarray, spec: ModelSpec, d: Head) -> np.ndarray:
    """Return boxes from the distances left, up, right and down of the cells' centers, in strides.

    The input is (K, 4 x bins) logits. Each distance is the mean of its bin numbers under softmax (generalized focal
    loss, Li et al. 2020), or with one bin the value itself.
    """
    require_finite(logits)
    distances = logits
    if d.bins > 1:
        # Bins are the first axis, because numpy reduces a short last axis slowly.
        each = np.ascontiguousarray(logits.T).reshape(4, d.bins, -1)
        weights = np.exp(each - each.max(axis=1, keepdims=True))
        sums = _moments(d.bins) @ weights
        distances = (sums[:, 1] / sums[:, 0]).T
    places = grid(spec.input.height, spec.input.width, d.strides)[cells]
    boxes = np.empty(distances.shape, np.float32)
    centre, stride = places[:, :2] + 0.5, places[:, 2:]
    np.subtract(centre, distances[:, :2], out=boxes[:, :2])
    np.add(centre, distances[:, 2:], out=boxes[:, 2:])
    boxes *= stride
    return boxes


@lru_cache(maxsize=16)
def _moments(bins: int) -> np.ndarray:
    """Return (2, bins) float32: ones, and the bin numbers."""
    both = np.stack([np.ones(bins), np.arange(bins)]).astype(np.float32)
    both.setflags(write=False)
    return both


@lru_cache(maxsize=16)
def grid(height: int, width: int, strides: tuple[int, ...]) -> np.ndarray:
    """Return (cells, 3) float32: column, row and stride of each cell, stride by stride, row by row."""
    levels = []
    for stride in strides:
        y, x = np.mgrid[: math.ceil(height / stride), : math.ceil(width / stride)]
        levels.append(np.stack([x.ravel(), y.ravel(), np.full(x.size, stride)], axis=1))
    cells = np.concatenate(levels).astype(np.float32)
    cells.setflags(write=False)
    return cells


def anchor_centres(height: int, width: int, d: Head) -> np.ndarray:
    """Return (anchors, 2) float32: the center of each anchor of "blazeface" in input pixels."""
    return _anchor_centres(height, width, d.strides, d.per_cell)


@lru_cache(maxsize=16)
def _anchor_centres(height: int, width: int, strides: tuple[int, ...], per_cell: tuple[int, ...]) -> np.ndarray:
    levels = []
    for stride, count in zip(strides, per_cell):
        level = grid(height, width, (stride,))
        levels.append(np.repeat((level[:, :2] + np.float32(0.5)) * level[:, 2:], count, axis=0))
    centres = np.concatenate(levels)
    centres.setflags(write=False)
    return centres


def _input_size(spec: ModelSpec) -> np.ndarray:
    return np.asarray((spec.input.width, spec.input.height) * 2, np.float32)
