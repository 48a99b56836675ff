"""From a detector's outputs to boxes in the original image, with labels and scores.

Every layout that `Detect` names is decoded here, in numpy. Scores are compared with the threshold as the network gives
them, and boxes are computed for what survives only: of 8400 cells some hundred do. Suppression is that of torchvision's
``batched_nms``; the limit on candidates is Ultralytics'. torchvision's own detectors limit them further: so many boxes
of each class (SSD) or of each feature map (RetinaNet) enter suppression. Boxes of low score can differ by that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise

import msgspec
import numpy as np

from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.core.spec import Detect, ModelSpec, Postprocess

from . import anchors as anchor_boxes
from .postprocess import scores as probabilities
from .preprocess import placement

MAX_CANDIDATES = 30_000
"""So many of the best boxes of an image enter suppression, as in Ultralytics."""

_BLOCK = 256  # boxes compared with one another at once in suppression


class Detection(msgspec.Struct, frozen=True):
    """One object: index and label of its class, score, and `box` (x1, y1, x2, y2) in the original image's pixels."""

    index: int
    label: str
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Detections:
    """The objects found in one image, best first. Indexing and iteration give a `Detection` each.

    `boxes` (N, 4) float32: x1, y1, x2, y2 in the original image's pixels, inside the image. `scores` (N,) float32,
    `indices` (N,) int64: classes. `names`: the classes' labels; where empty, the index serves as label. `masks` and
    `keypoints` are kept for models that give them.
    """

    boxes: np.ndarray
    scores: np.ndarray
    indices: np.ndarray
    names: tuple[str, ...] = ()
    masks: np.ndarray | None = None
    keypoints: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, k: int) -> Detection:
        index = int(self.indices[k])
        x1, y1, x2, y2 = self.boxes[k].tolist()
        label = self.names[index] if self.names else str(index)
        return Detection(index, label, float(self.scores[k]), (x1, y1, x2, y2))

    def __iter__(self) -> Iterator[Detection]:
        return (self[k] for k in range(len(self)))

    def rows(self, image: int) -> np.ndarray:
        """(N, 7) float32: the number `image`, the box, score and class; what mAP is computed from."""
        number = np.full((len(self), 1), image, np.float32)
        return np.hstack([number, self.boxes, self.scores[:, None], self.indices[:, None]]).astype(np.float32)


def evaluated(spec: ModelSpec) -> ModelSpec:
    """`spec` of a detector with the thresholds of an evaluation: mAP wants boxes of low scores too."""
    d = spec.detect
    assert d is not None, spec.name
    several = d.multi_label or d.multi_label_eval
    return msgspec.structs.replace(spec, detect=msgspec.structs.replace(d, score=d.score_eval, multi_label=several))


def detect(
    outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]], score: float | None = None
) -> list[Detections]:
    """The objects of each image, from the outputs of one run over N images, read as `spec.detect` says.

    `sizes`: (width, height) of the N original images. `score`: the least score, instead of the spec's.

    Raises `InvalidInput` where the outputs have other shapes than the decoder takes, or do not belong to N images, and
    `RuntimeFailed` where a value that is read is not finite.
    """
    d = spec.detect
    if d is None:
        raise InvalidInput(
            f"The model {spec.name} has no rule for reading its boxes.",
            "Its spec has no part named detect.",
            "Add detect to the model's spec, with the decoder that its outputs need.",
        )
    arrays = _checked(outputs, spec, d, len(sizes))
    least = d.score if score is None else score
    return [_found([array[k] for array in arrays], spec, d, size, least) for k, size in enumerate(sizes)]


def all_cells(outputs: list[np.ndarray], spec: ModelSpec) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N, cells, 4) xyxy in input pixels and class scores (N, cells, C) of every cell, before any threshold.

    For the decoders "boxes" and "dfl", whose answers can so be compared cell by cell. Raises as `detect` does.
    """
    d = spec.detect
    assert d is not None and d.decoder in ("boxes", "dfl"), d
    boxes, scores = [], []
    for array in _checked(outputs, spec, d, len(outputs[0]))[0]:
        _require_finite(array)
        rows = array if d.transposed else array.T
        width = 4 if d.decoder == "boxes" else 4 * d.bins
        cells, raw = np.arange(len(rows)), rows[:, :width]
        boxes.append(_from_centre(raw) if d.decoder == "boxes" else _from_distances(raw, cells, spec, d))
        scores.append(_scored(rows[:, width:], d))
    return np.stack(boxes), np.stack(scores)


def nms(boxes: np.ndarray, classes: np.ndarray, iou: float, most: int) -> np.ndarray:
    """The positions of at most `most` boxes to keep, in order. `boxes` (N, 4) xyxy must be sorted, best first.

    A box goes where an earlier one of its class, itself kept, covers it with an intersection over union above `iou`.
    Blocks of boxes are compared at once, and work ends with the last box that is needed.
    """
    sides = np.ascontiguousarray(boxes.T)
    areas = (sides[2] - sides[0]) * (sides[3] - sides[1])
    kinds = classes.astype(np.int32)  # all pairs are compared: half of the bytes
    kept = np.zeros(0, np.int64)
    for start in range(0, len(boxes), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(boxes)))
        if len(kept):
            _, covered = _covering(sides, areas, kinds[kept][:, None] == kinds[block], kept, block, iou)
            block = np.delete(block, covered)
        same = (kinds[block][:, None] == kinds[block]) & _later()[: len(block), : len(block)]
        rows, covered = _covering(sides, areas, same, block, block, iou)
        alive = np.ones(len(block), bool)
        starts = np.searchsorted(rows, np.arange(len(block) + 1)).tolist()
        for row, (first, last) in enumerate(pairwise(starts)):
            if first < last and alive[row]:
                alive[covered[first:last]] = False
        kept = np.concatenate([kept, block[alive]])
        if len(kept) >= most:
            break
    return kept[:most]


def _covering(
    sides: np.ndarray, areas: np.ndarray, pairs: np.ndarray, rows: np.ndarray, columns: np.ndarray, iou: float
) -> tuple[np.ndarray, np.ndarray]:
    """Those `pairs` (place in `rows`, place in `columns`), in order, of boxes that overlap by more than `iou`.

    `sides` (4, N): x1, y1, x2, y2 of all boxes; `pairs`, (rows, columns) bool, are those to compare. Of 20 objects with
    8 boxes each those of one class are 5 % of all.
    """
    first, second = np.divmod(np.flatnonzero(pairs), len(columns))  # faster than nonzero in two dimensions
    one, other = rows[first], columns[second]
    a, b = sides.take(one, axis=1), sides.take(other, axis=1)
    shared = np.maximum(np.minimum(a[2], b[2]) - np.maximum(a[0], b[0]), 0)
    shared *= np.maximum(np.minimum(a[3], b[3]) - np.maximum(a[1], b[1]), 0)
    with np.errstate(invalid="ignore", divide="ignore"):  # two boxes without area: NaN, which is not above `iou`
        over = shared / (areas[one] + areas[other] - shared) > iou
    return first[over], second[over]


@cache
def _later() -> np.ndarray:
    """(_BLOCK, _BLOCK) bool: the pairs of which the second is the later one."""
    later = np.triu(np.ones((_BLOCK, _BLOCK), bool), 1)
    later.setflags(write=False)
    return later


# --- one image: raw arrays to Detections


def _found(arrays: list[np.ndarray], spec: ModelSpec, d: Detect, size: tuple[int, int], least: float) -> Detections:
    boxes, scores, classes = _DECODERS[d.decoder](arrays, spec, d, least)
    place = placement(size, spec.preprocess, spec.input)
    corner = np.asarray((place.left, place.top) * 2, np.float32)
    scale = np.asarray((place.scale_x, place.scale_y) * 2, np.float32)
    if d.decoder == "anchors":  # torchvision compares the parts of boxes that lie in the image
        boxes = np.clip(boxes, corner, corner + np.asarray(size * 2, np.float32) * scale)
    if d.decoder in ("set", "end2end") or d.iou >= 1:
        keep = np.arange(min(d.most, len(scores)))
    else:
        keep = nms(boxes, classes, d.iou, d.most)
    boxes = (boxes[keep] - corner) / scale
    boxes = np.clip(boxes, 0, np.asarray(size * 2, np.float32))
    return Detections(boxes, scores[keep], classes[keep], spec.labels)


Decoded = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Boxes (K, 4) xyxy in input pixels, scores (K,), classes (K,), best first."""


def _boxes(arrays: list[np.ndarray], spec: ModelSpec, d: Detect, least: float) -> Decoded:
    rows = arrays[0] if d.transposed else arrays[0].T
    cells, classes, values = _best(rows[:, 4:], _raw(least, d), d.multi_label)
    return _from_centre(rows[cells, :4]), _scored(values, d), classes


def _dfl(arrays: list[np.ndarray], spec: ModelSpec, d: Detect, least: float) -> Decoded:
    rows = arrays[0] if d.transposed else arrays[0].T
    cells, classes, values = _best(rows[:, 4 * d.bins :], _raw(least, d), d.multi_label)
    return _from_distances(rows[cells, : 4 * d.bins], cells, spec, d), _scored(values, d), classes


def _nanodet(arrays: list[np.ndarray], spec: ModelSpec, d: Detect, least: float) -> Decoded:
    levels = len(d.strides)
    cells, classes, values = _best(np.concatenate(arrays[:levels]), _raw(least, d), d.multi_label)
    distances = np.concatenate(arrays[levels:])[cells]
    return _from_distances(distances, cells, spec, d), _scored(values, d), classes


def _yolox(arrays: list[np.ndarray], spec: ModelSpec, d: Detect, least: float) -> Decoded:
    rows = arrays[0]
    likely = np.flatnonzero(rows[:, 4] >= _raw(least, d))  # no class score is above 1
    values = _scored(rows[likely, 4:], d)
    chosen, classes, scores = _best(values[:, :1] * values[:, 1:], least, d.multi_label)
    cells = likely[chosen]
    return _from_offsets(rows[cells, :4], cells, spec, d), scores, classes


def _yolov5(arrays: list[np.ndarray], spec: ModelSpec, d: Detect, least: float) -> Decoded:
    rows = arrays[0]
    likely = np.flatnonzero(rows[:, 4] >= _raw(least, d))  # no class score is above 1
    values = _scored(rows[likely, 4:], d)
    chosen, classes, scores = _best(values[:, :1] * values[:, 1:], least, d.multi_label)
    return _from_centre(rows[likely[chosen], :4]), scores, classes


def _yunet(arrays: list[np.ndarray], spec: ModelSpec, d: Detect, least: float) -> Decoded:
    """As OpenCV's ``FaceDetectorYN`` decodes it (Wu et al. 2023, "YuNet: A Tiny Millisecond-level Face Detector")."""
    levels = len(d.strides)
    kinds, objects, raw = (np.concatenate(arrays[k * levels : (k + 1) * levels]) for k in range(3))
    values = np.sqrt(np.clip(_scored(kinds, d), 0, 1) * np.clip(_scored(objects, d), 0, 1))
    cells, classes, scores = _best(values, least, d.multi_label)
    return _from_offsets(raw[cells], cells, spec, d), scores, classes


def _ultraface(arrays: list[np.ndarray], spec: ModelSpec, d: Detect, least: float) -> Decoded:
    scores, boxes = arrays
    cells, classes, values = _best(np.ascontiguousarray(scores[:, 1:]), _raw(least, d), d.multi_label)
    return boxes[cells] * _input_size(spec), _scored(values, d), classes + 1


def _yolo_fastestv2(arrays: list[np.ndarray], spec: ModelSpec, d: Detect, least: float) -> Decoded:
    """As the ncnn sample of dog-qiuqiu/Yolo-FastestV2 decodes it; its boxes are those of YOLOv5."""
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
        values = _scored(rows[:, 4 * n :], d)
        scores.append((values[:, :n, None] * values[:, None, n:]).reshape(-1, spec.classes))
    cells, classes, best = _best(np.concatenate(scores), least, d.multi_label)
    return _from_centre(np.concatenate(boxes)[cells]), best, classes


def _fastestdet(arrays: list[np.ndarray], spec: ModelSpec, d: Detect, least: float) -> Decoded:
    channels, height, width = arrays[0].shape
    rows = arrays[0].reshape(channels, -1).T
    likely = np.flatnonzero(rows[:, 0] >= _raw(max(least, 0.0) ** (1 / 0.6), d))  # no class score is above 1
    values = np.maximum(_scored(rows[likely][:, [0, *range(5, channels)]], d), 0)
    chosen, classes, scores = _best(values[:, :1] ** 0.6 * values[:, 1:] ** 0.4, least, d.multi_label)
    cells = likely[chosen]
    raw = rows[cells, 1:5]
    centre = np.empty_like(raw)
    centre[:, 0] = (np.tanh(raw[:, 0]) + cells % width) / width
    centre[:, 1] = (np.tanh(raw[:, 1]) + cells // width) / height
    centre[:, 2:] = probabilities(raw[:, 2:], Postprocess(scores="sigmoid"))
    return _from_centre(centre * _input_size(spec)), scores, classes


def _set(arrays: list[np.ndarray], spec: ModelSpec, d: Detect, least: float) -> Decoded:
    cells, classes, values = _best(arrays[0][:, 4:], _raw(least, d), d.multi_label)
    return _from_centre(arrays[0][cells, :4] * _input_size(spec)), _scored(values, d), classes


def _end2end(arrays: list[np.ndarray], spec: ModelSpec, d: Detect, least: float) -> Decoded:
    rows = arrays[0]
    cells, _, values = _best(rows[:, 4:5], _raw(least, d), False)
    return rows[cells, :4], _scored(values, d), np.rint(rows[cells, 5]).astype(np.int64)


def _anchors(arrays: list[np.ndarray], spec: ModelSpec, d: Detect, least: float) -> Decoded:
    rows, deltas = arrays
    if d.scores == "softmax":
        # No class has more than its share against the background alone. That costs no exponentials; the margin is for
        # their rounding.
        likely = np.flatnonzero(rows[:, 1:].max(axis=1) - rows[:, 0] >= _raw(least, d) - 1e-3)
        chosen, classes, scores = _best(_scored(rows[likely], d)[:, 1:], least, d.multi_label)
        cells, classes = likely[chosen], classes + 1
    else:
        cells, classes, values = _best(rows, _raw(least, d), d.multi_label)
        scores = _scored(values, d)
    return anchor_boxes.decode(deltas[cells], anchor_boxes.grid(d.anchors, d.offset)[cells], d.coding), scores, classes


_DECODERS: dict[str, Callable[[list[np.ndarray], ModelSpec, Detect, float], Decoded]] = {
    "boxes": _boxes, "dfl": _dfl, "yolov5": _yolov5, "yolox": _yolox, "nanodet": _nanodet, "fastestdet": _fastestdet,
    "yolo-fastestv2": _yolo_fastestv2, "yunet": _yunet, "ultraface": _ultraface, "set": _set, "end2end": _end2end,
    "anchors": _anchors,
}  # fmt: skip


def _best(values: np.ndarray, least: float, several: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells, classes and values of (cells, classes) `values` not below `least`, best first, ties in their order."""
    if values.flags.c_contiguous:
        # Numpy is slow to find the largest of each short row: one pass over all, then the few that count.
        _require_finite(values)
        likely = np.zeros(len(values), bool)
        likely[np.flatnonzero(values >= least) // values.shape[1]] = True
        cells = np.flatnonzero(likely)
    else:
        most = values.max(axis=1)  # NaN where there is one
        _require_finite(most)
        cells = np.flatnonzero(most >= least)
    some = values[cells]
    if several:
        rows, classes = np.nonzero(some >= least)
    else:
        rows, classes = np.arange(len(cells)), some.argmax(axis=1)
    chosen = some[rows, classes]
    order = np.argsort(-chosen, kind="stable")[:MAX_CANDIDATES]
    return cells[rows[order]], classes[order], chosen[order]


def _raw(least: float, d: Detect) -> float:
    """The value of a class output that stands for the score `least`."""
    if d.scores == "none":
        return least
    return -math.inf if least <= 0 else math.inf if least >= 1 else math.log(least / (1 - least))


def _scored(values: np.ndarray, d: Detect) -> np.ndarray:
    return probabilities(values, Postprocess(scores=d.scores))


def _from_centre(boxes: np.ndarray) -> np.ndarray:
    """Centre, width and height (K, 4) as x1, y1, x2, y2."""
    _require_finite(boxes)
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def _from_offsets(raw: np.ndarray, cells: np.ndarray, spec: ModelSpec, d: Detect) -> np.ndarray:
    """Boxes from offsets of the centre from the cell and logs of width and height (K, 4), in strides (YOLOX, YuNet)."""
    x, y, stride = _grid(spec.input.height, spec.input.width, d.strides)[cells].T
    # Bounded, so that a broken output gives a box over the whole image instead of infinity.
    width, height = (np.exp(np.minimum(raw[:, 2:4], 20)) * stride[:, None]).T
    return _from_centre(np.stack([(raw[:, 0] + x) * stride, (raw[:, 1] + y) * stride, width, height], axis=1))


def _from_distances(logits: np.ndarray, cells: np.ndarray, spec: ModelSpec, d: Detect) -> np.ndarray:
    """Boxes from logits (K, 4 x bins) of the distances left, up, right, down of the cells' centres, in strides: each
    distance is the mean of its bins' numbers under softmax (generalized focal loss, Li et al. 2020), or is given."""
    _require_finite(logits)
    distances = logits
    if d.bins > 1:
        # Bins ahead of boxes: numpy is slow to reduce along a short last axis.
        each = np.ascontiguousarray(logits.T).reshape(4, d.bins, -1)
        weights = np.exp(each - each.max(axis=1, keepdims=True))
        sums = _moments(d.bins) @ weights
        distances = (sums[:, 1] / sums[:, 0]).T
    grid = _grid(spec.input.height, spec.input.width, d.strides)[cells]
    boxes = np.empty(distances.shape, np.float32)
    centre, stride = grid[:, :2] + 0.5, grid[:, 2:]
    np.subtract(centre, distances[:, :2], out=boxes[:, :2])
    np.add(centre, distances[:, 2:], out=boxes[:, 2:])
    boxes *= stride
    return boxes


@lru_cache(maxsize=16)
def _moments(bins: int) -> np.ndarray:
    """(2, bins) float32: ones, and the bins' numbers."""
    both = np.stack([np.ones(bins), np.arange(bins)]).astype(np.float32)
    both.setflags(write=False)
    return both


@lru_cache(maxsize=16)
def _grid(height: int, width: int, strides: tuple[int, ...]) -> np.ndarray:
    """(cells, 3) float32: column, row and stride of each cell, stride by stride, row by row."""
    levels = []
    for stride in strides:
        y, x = np.mgrid[: math.ceil(height / stride), : math.ceil(width / stride)]
        levels.append(np.stack([x.ravel(), y.ravel(), np.full(x.size, stride)], axis=1))
    grid = np.concatenate(levels).astype(np.float32)
    grid.setflags(write=False)
    return grid


def _input_size(spec: ModelSpec) -> np.ndarray:
    return np.asarray((spec.input.width, spec.input.height) * 2, np.float32)


# --- outputs as they must be

Shape = tuple["int | None", ...]
"""One image's output; None: any length."""


def _shapes(d: Detect, spec: ModelSpec) -> list[Shape]:
    """The outputs that `d.decoder` reads, for one image, in order."""
    c, i = spec.classes, spec.input
    cells = [math.ceil(i.height / s) * math.ceil(i.width / s) for s in d.strides]
    single: dict[str, Shape] = {
        "boxes": (None, 4 + c) if d.transposed else (4 + c, None),
        "dfl": (sum(cells), 4 * d.bins + c) if d.transposed else (4 * d.bins + c, sum(cells)),
        "yolov5": (None, 5 + c),
        "yolox": (sum(cells), 5 + c),
        "fastestdet": (5 + c, None, None),
        "set": (None, 4 + c),
        "end2end": (None, 6),
    }
    if d.decoder == "anchors":
        n = anchor_boxes.count(d.anchors)
        return [(n, c), (n, 4)]
    if d.decoder == "nanodet":
        return [(n, width) for width in (c, 4 * d.bins) for n in cells]
    if d.decoder == "yunet":
        return [(n, width) for width in (c, 1, 4, 10) for n in cells]
    if d.decoder == "ultraface":
        return [(None, c), (None, 4)]
    if d.decoder == "yolo-fastestv2":
        return [(level.rows, level.columns, 5 * len(level.sizes) + c) for level in d.anchors]
    return [single[d.decoder]]


def _checked(outputs: list[np.ndarray], spec: ModelSpec, d: Detect, images: int) -> list[np.ndarray]:
    """The outputs as float32 with N first."""
    if d.scores == "softmax" and (d.decoder != "anchors" or spec.classes < 2):
        raise InvalidInput(
            f'The decoder "{d.decoder}" is described with scores = "softmax" and {spec.classes} classes.',
            'Softmax needs a class for the background beside the others, which only the outputs of "anchors" have.',
            'Correct scores in the model\'s spec: "sigmoid" or "none".',
        )
    expected = _shapes(d, spec)
    arrays = [np.asarray(output, np.float32) for output in outputs]
    if d.decoder == "yunet" and len(arrays) == 3 * len(d.strides):  # the landmarks were left out
        expected = expected[: len(arrays)]
    if images == 1 and len(arrays) == len(expected):  # some exporters drop the axis of a batch of one
        arrays = [a[None] if a.ndim == len(shape) else a for a, shape in zip(arrays, expected)]
    paired = d.decoder != "ultraface" or len({array.shape[1:2] for array in arrays}) == 1
    if not _fit(arrays, expected, images) or not paired:
        raise _misfit([np.asarray(output) for output in outputs], spec, d, images)
    if d.decoder not in ("boxes", "dfl", "nanodet"):  # there scores are checked when read, and what boxes are made of
        for array in arrays:
            _require_finite(array)
    return arrays


def _require_finite(array: np.ndarray) -> None:
    flat = array.reshape(-1)
    with np.errstate(all="ignore"):
        finite = math.isfinite(np.dot(flat, flat))  # one pass; the exact test only where this one overflows
    if not finite and not np.isfinite(flat).all():
        raise RuntimeFailed(
            "The model's output holds NaN or infinite values.",
            "No box can be read from it; weights that overflow in a low precision are the usual cause.",
            "Build the artifact with a higher precision, or check the checkpoint.",
        )


def _fit(arrays: list[np.ndarray], expected: list[Shape], images: int) -> bool:
    return len(arrays) == len(expected) and all(
        a.ndim == len(shape) + 1
        and len(a) == images
        and all(want is None or have == want for have, want in zip(a.shape[1:], shape))
        for a, shape in zip(arrays, expected)
    )


def _misfit(arrays: list[np.ndarray], spec: ModelSpec, d: Detect, images: int) -> InvalidInput:
    def text(shape: Shape) -> str:
        return f"({', '.join([str(images), *('any' if n is None else str(n) for n in shape)])})"

    others = []
    for name in _DECODERS:
        for transposed in (False, True) if name in ("boxes", "dfl") else (False,):
            other = msgspec.structs.replace(d, decoder=name, transposed=transposed)
            if _fit(arrays, _shapes(other, spec), images):
                others.append(f'decoder = "{name}"{", transposed = true" if transposed else ""}')
    fits = f"These shapes fit {' or '.join(others)}." if others else "See the list of decoders for the one that fits."
    return InvalidInput(
        f"The model's outputs have the shapes {', '.join(str(a.shape) for a in arrays) or '(none)'}.",
        f'The decoder "{d.decoder}" reads {", ".join(map(text, _shapes(d, spec)))} for {images} images of '
        f"{spec.classes} classes at {spec.input.height}x{spec.input.width}.",
        f"Correct decoder (or classes, bins, strides, outputs) in the model's spec. {fits}",
    )
