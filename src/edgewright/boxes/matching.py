"""Match boxes of two sets: by the rules of COCO with labeled boxes, and greedily between two detectors.

Boxes are one float32 array (M, 7) for a set of images: image index, x1, y1, x2, y2 in pixels of the image, score,
class. A row with a value that is not finite matches nothing, so it counts as a false positive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgewright.core.errors import InvalidInput
from edgewright.core.lazy import require
from edgewright.data.boxes import Box
from edgewright.data.sets import Item

Boxes = NDArray[np.float32]
Floats = NDArray[np.float64]
Ints = NDArray[np.integer[Any]]

Overlap = Callable[[Floats, list[Box]], Floats]
"""A function of rows and labeled objects, all of one image and class: their likeness from 0 to 1 (rows, objects)."""
Likeness = Callable[[Floats, Floats], Floats]
"""A function of the rows of two models, all of one image and class: their likeness from 0 to 1 (rows, rows)."""

COLUMNS = ("image", "x1", "y1", "x2", "y2", "score", "class")
MOST = 100
"""Maximum number of detections per image and class, best first: COCO's maxDets."""
IOUS = np.linspace(0.5, 0.95, 10)


class Matches(NamedTuple):
    """The detections of one class, best first: image (D,), hit and ignored (IoUs, D); objects of each image (I,)."""

    image: Ints
    hit: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    objects: Ints


def groups(rows: NDArray[Any]) -> Iterator[tuple[tuple[int, int], Ints]]:
    """Yield ((class, image), its rows), ordered. Within a group, the best score is first, and ties keep their order."""
    order = np.lexsort((-rows[:, 5], rows[:, 0], rows[:, 6]))
    keys = rows[order][:, [6, 0]].astype(np.int64)
    if not len(rows):
        return
    starts = np.flatnonzero(np.r_[True, (keys[1:] != keys[:-1]).any(axis=1)])
    for start, group in zip(starts, np.split(order, starts[1:])):
        yield (int(keys[start, 0]), int(keys[start, 1])), group


def counted(box: Box) -> bool:
    """Whether a labeled box is an object to find. Detections on others are ignored."""
    return not box.crowd


def matches(
    found: Boxes,
    items: Sequence[Item],
    classes: int,
    overlap: Overlap | None = None,
    most: int = MOST,
    counts: Callable[[Box], bool] = counted,
) -> list[Matches]:
    """Return COCOeval's matches over all sizes, for each class. The evaluator in C++ does not expose them.

    `overlap`: how a row and a labeled object are compared; the IoU of boxes by default. Then a row can have more
    columns. `most`: the maximum number of detections per image and class. `counts`: whether a labeled object is to be
    found. Raises `InvalidInput` if no item has an object to find.
    """
    require_objects(items)
    rows = clean(found)
    truth: dict[tuple[int, int], list[Box]] = {}
    objects = np.zeros((classes, len(items)), np.int64)
    for k, item in enumerate(items):
        for box in item.boxes or ():
            truth.setdefault((box.label, k), []).append(box)
            objects[box.label, k] += counts(box)
    parts: list[list[tuple[Ints, NDArray[np.bool_], NDArray[np.bool_]]]] = [[] for _ in range(classes)]
    for (label, image), every in groups(rows):
        best = every[:most]
        hit, ignored = _matched(rows[best], truth.get((label, image), []), overlap or boxes_overlap, counts)
        parts[label].append((best, hit, ignored))
    return [_by_score(rows, parts[k], objects[k]) for k in range(classes)]


def _by_score(rows: Floats, parts: list[tuple[Ints, NDArray[np.bool_], NDArray[np.bool_]]], objects: Ints) -> Matches:
    if not parts:
        nothing = np.zeros((len(IOUS), 0), bool)
        return Matches(np.zeros(0, np.int64), nothing, nothing, objects)
    every = np.concatenate([part[0] for part in parts])
    order = np.argsort(-rows[every, 5], kind="stable")
    hit, ignored = (np.concatenate([part[k] for part in parts], axis=1)[:, order] for k in (1, 2))
    return Matches(rows[every[order], 0].astype(np.int64), hit, ignored, objects)


def _matched(
    rows: Floats, truth: list[Box], overlap: Overlap, counts: Callable[[Box], bool]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return (hit, ignored) of one image and class, each (IoUs, detections), by the rules of COCOeval.evaluateImg.

    Detections are matched in order of score. Each takes the free object with the largest IoU (the later of equal ones),
    or else one that does not count, and then the detection is ignored. A crowd stays free.
    """
    hit, ignored = np.zeros((2, len(IOUS), len(rows)), bool)
    if not truth or not len(rows):
        return hit, ignored
    truth = sorted(truth, key=lambda box: not counts(box))
    ious, crowds = overlap(rows, truth), [box.crowd for box in truth]
    plain = sum(map(counts, truth))
    for t, threshold in enumerate(IOUS):
        free = np.ones(len(truth), bool)
        for d in np.flatnonzero(ious.max(axis=1) >= threshold):
            own = np.where(free, ious[d], -1.0)
            for kind, first, last in ((hit, 0, plain), (ignored, plain, len(truth))):
                if last > first and own[first:last].max() >= threshold:
                    taken = last - 1 - int(own[first:last][::-1].argmax())
                    free[taken] = crowds[taken]
                    kind[t, d] = True
                    break
    return hit, ignored


def boxes_overlap(rows: Floats, truth: list[Box]) -> Floats:
    """Return the IoU (rows, objects) of boxes; for a crowd, the share of the row's area that is in it."""
    iou = require("faster_coco_eval.core.mask", "host").iou
    crowd = [int(box.crowd) for box in truth]
    return np.asarray(iou(sides(rows), np.array([xywh(box) for box in truth], np.float64), crowd))


def best_pairs(
    own: NDArray[Any], other: NDArray[Any], iou: float, likeness: Likeness | None = None
) -> list[tuple[int, int]]:
    """Return pairs (row of `own`, row of `other`) of greedily matched boxes with an IoU of at least `iou`.

    `likeness`: how two rows are compared; the IoU of boxes by default.
    """
    overlaps = (likeness or _ious)(own.astype(np.float64), other.astype(np.float64))
    i, j = np.nonzero(overlaps >= iou)  # false for NaN
    pairs, used = list[tuple[int, int]](), (set[int](), set[int]())
    for k in np.argsort(-overlaps[i, j], kind="stable"):
        a, b = int(i[k]), int(j[k])
        if a not in used[0] and b not in used[1] and np.isfinite(other[b, 5]):
            pairs.append((a, b))
            used[0].add(a)
            used[1].add(b)
    return pairs


def _ious(own: Floats, other: Floats) -> Floats:
    """Return the IoU (len(own), len(other))."""
    low = np.maximum(own[:, None, 1:3], other[None, :, 1:3])
    high = np.minimum(own[:, None, 3:5], other[None, :, 3:5])
    common = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.clip(rows[:, 3:5] - rows[:, 1:3], 0, None).prod(axis=1) for rows in (own, other)]
    union = areas[0][:, None] + areas[1][None, :] - common
    return np.asarray(common / np.where(union > 0, union, np.inf))


def require_objects(items: Sequence[Item]) -> None:
    """Raise `InvalidInput` if no item has an object to find."""
    if not any(not box.crowd for item in items for box in item.boxes or ()):
        raise InvalidInput(
            f"None of the {len(items)} images has a box.",
            "Without boxes, mAP cannot be measured (crowds do not count).",
            "Evaluate on a split with annotated boxes.",
        )


def clean(found: Boxes) -> Floats:
    """Return the rows as float64. Rows with a value that is not finite are changed so that they match nothing."""
    rows = found.astype(np.float64)
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any():
        # COCO's matching treats an IoU of NaN as a match, but a box without a size matches nothing.
        rows[bad, 1:5] = 0
        rows[bad, 5] = np.nan_to_num(rows[bad, 5], nan=0, posinf=1, neginf=0)
    return rows


def sides(rows: Floats) -> Floats:
    """Return x1, y1, width, height."""
    return np.concatenate([rows[:, 1:3], rows[:, 3:5] - rows[:, 1:3]], axis=1)


def xywh(box: Box) -> list[float]:
    """Return x1, y1, width, height of a labeled box."""
    return [box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1]
