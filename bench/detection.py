"""Accuracy of a detector: COCO's mAP, its difference to the reference on the same images, the shift of its confidence.

Detections are one float32 array (M, 7) for a set of images: image index, x1, y1, x2, y2 in pixels of the image, score,
class. A row that holds a number which is not finite can match nothing: it counts as a false positive.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgewright.core.errors import InvalidInput
from edgewright.core.lazy import require
from edgewright.core.statistics import Estimate
from edgewright.data.boxes import Box
from edgewright.data.sets import Item

Detections = NDArray[np.float32]
Floats = NDArray[np.float64]
Ints = NDArray[np.integer[Any]]

COLUMNS = ("image", "x1", "y1", "x2", "y2", "score", "class")
MOST = 100
"""Detections of one image and one class that count, the best first: COCO's maxDets."""

_IOUS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0.0, 1.0, 101)
_BLOCK = 4_000_000  # numbers of one array of the bootstrap: 32 MB
_MANY = 100  # images with objects of a class; from there on its precision without one of them is linear enough


class DetectionScore(msgspec.Struct, frozen=True, kw_only=True):
    """COCO's average precision in percent.

    `map` is the mean over the IoU thresholds 0.50 to 0.95 and over the classes that have objects; `ap50` and `ap75` are
    at one threshold; the other three are `map` of small (an area up to 32^2 square pixels), medium (up to 96^2) and
    large objects, None where there are none. `per_class` is the `map` of each class, None for one without objects.
    """

    map: float
    ap50: float
    ap75: float
    map_small: float | None
    map_medium: float | None
    map_large: float | None
    per_class: tuple[float | None, ...]


class ClassShift(msgspec.Struct, frozen=True, kw_only=True):
    """One class of a `Shift`: its index, how many boxes matched, their mean score in the reference and in `found`."""

    index: int
    matched: int
    before: float
    after: float


class Shift(msgspec.Struct, frozen=True, kw_only=True):
    """How the scores of the same boxes moved; see `confidence_shift`. The means are NaN where no box matched."""

    matched: int
    lost: int
    before: float
    after: float
    shift: float
    classes: tuple[ClassShift, ...]


def score(found: Detections, items: Sequence[Item], classes: int) -> DetectionScore:
    """The mAP of `found` on `items`, by faster-coco-eval; equal to pycocotools' COCOeval for boxes.

    The best 100 detections of each image and class count. Crowds are ignored as COCO does. Raises `InvalidInput` where
    no item has an object to find, `Unavailable` without faster-coco-eval.
    """
    _require_objects(items)
    evaluator = _evaluator(found, items, classes)
    evaluator.evaluate()
    evaluator.accumulate()
    precision = np.asarray(evaluator.eval["precision"])[..., -1]  # IoU, recall, class, area range; -1: no objects
    per_class = tuple(_percent(precision[:, :, k, 0]) for k in range(classes))
    whole = precision[:, :, :, 0]
    return DetectionScore(
        map=_percent(whole) or 0.0,
        ap50=_percent(whole[0]) or 0.0,
        ap75=_percent(whole[5]) or 0.0,
        map_small=_percent(precision[..., 1]),
        map_medium=_percent(precision[..., 2]),
        map_large=_percent(precision[..., 3]),
        per_class=per_class,
    )


def paired_difference(
    found: Detections,
    reference: Detections,
    items: Sequence[Item],
    classes: int,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = 1000,
) -> Estimate:
    """The mAP (IoU 0.50 to 0.95) of `found` minus that of `reference` in points, with a paired bootstrap over images.

    A resample draws as many images as there are, with replacement, the same ones for both; a class without an object in
    it is left out of both means. Each bound is one-sided at `confidence` (the percentile bootstrap of Efron &
    Tibshirani, 1993), and the interval holds the value. Where every resample has the same difference it is empty.

    Matches do not depend on the other images: they are made once, and precision and recall counted again with each
    image's weight. With weights of one this is exactly the mAP of `score`.
    """
    _require_objects(items)
    ours, theirs = _matches(found, items, classes), _matches(reference, items, classes)
    once = np.ones((1, len(items)), np.int64)
    value = float((_weighted_map(ours, once) - _weighted_map(theirs, once))[0])
    rng = np.random.default_rng(seed)
    largest = max((len(one.image) for one in (*ours, *theirs)), default=0)
    block = max(1, _BLOCK // max(largest, len(items), 1))
    differences = list[Floats]()
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        weights = rng.multinomial(len(items), np.full(len(items), 1 / len(items)), size=size)
        differences.append(_weighted_map(ours, weights) - _weighted_map(theirs, weights))
    low, high = np.quantile(np.concatenate(differences), [1 - confidence, confidence])
    return Estimate(value, min(float(low), value), max(float(high), value))


def contributions(found: Detections, items: Sequence[Item], classes: int) -> Floats:
    """What each image contributes to the mAP of `found`: numbers in points (I,) whose mean is the mAP of `score`.

    A contribution is the mAP plus the image's influence, I - 1 times what leaving the image out takes from the mAP,
    less the mean of the influences: the jackknife's pseudo-values (Tukey, 1958) without their correction of the bias.
    So two detectors are compared on the same images as two means of paired numbers are. The variance that follows is
    too large rather than too small (Efron & Stein, "The Jackknife Estimate of Variance", 1981), which matters where a
    class has few images: there a bootstrap is too sure.
    """
    _require_objects(items)
    present = [one for one in _matches(found, items, classes) if one.objects.any()]
    total, counted, value = np.zeros(len(items)), np.zeros(len(items)), 0.0
    for one in present:
        whole, without = _without_each(one)
        left = one.objects < one.objects.sum()  # without its only image a class is in no mean
        value += whole / len(present)
        total += np.where(left, without, 0.0)
        counted += left
    influences = (len(items) - 1) * (value - total / np.maximum(counted, 1))
    return np.asarray(100 * (value + influences - influences.mean()))


def confidence_shift(
    found: Detections, reference: Detections, classes: int, floor: float = 0.25, iou: float = 0.5
) -> Shift:
    """How far the scores of `found` moved from those of the same boxes of `reference`.

    Each box of `reference` with a score of at least `floor` is matched with at most one box of `found` of the same
    image and class, of any score: greedily, the pair with the best IoU first (of equal ones the reference's better
    score), an IoU of at least `iou`. `before` and `after` are the mean scores of the matched boxes, in the reference
    and in `found`; `shift` is after minus before. A box without a match is `lost` and in none of the means: a detector
    that finds nothing has no shift, but has lost everything. The ground truth plays no part.
    """
    reference = reference[reference[:, 5] >= floor]
    pairs, lost = list[tuple[int, float, float]](), 0
    theirs = dict(groups(found))
    for key, rows in groups(reference):
        own, other = reference[rows], found[theirs[key]] if key in theirs else found[:0]
        matched = best_pairs(own, other, iou)
        pairs += [(key[0], float(own[i, 5]), float(other[j, 5])) for i, j in matched]
        lost += len(own) - len(matched)
    label = np.array([pair[0] for pair in pairs], np.int64)
    before, after = (np.array([pair[k] for pair in pairs], np.float64) for k in (1, 2))
    per_class = tuple(
        ClassShift(index=k, matched=int(own.sum()), before=float(before[own].mean()), after=float(after[own].mean()))
        for k in range(classes)
        if (own := label == k).any()
    )
    means = (float(before.mean()), float(after.mean())) if pairs else (np.nan, np.nan)
    return Shift(
        matched=len(pairs),
        lost=lost,
        before=means[0],
        after=means[1],
        shift=means[1] - means[0],
        classes=per_class,
    )


# --- the evaluator ----------------------------------------------------------------------------------------------------


def _require_objects(items: Sequence[Item]) -> None:
    if not any(not box.crowd for item in items for box in item.boxes or ()):
        raise InvalidInput(
            f"None of the {len(items)} images has a box.",
            "There is nothing to measure mAP on (crowds do not count).",
            "Evaluate on a split with annotated boxes.",
        )


def _evaluator(found: Detections, items: Sequence[Item], classes: int) -> Any:
    coco = require("faster_coco_eval", "host").COCO
    evaluation = require("faster_coco_eval.core.faster_eval_api", "host").COCOeval_faster
    common = {"images": [{"id": k} for k in range(len(items))], "categories": [{"id": k} for k in range(classes)]}
    truth = [
        {"image_id": k, "category_id": box.label, "bbox": _xywh(box), "area": box.area, "iscrowd": int(box.crowd)}
        for k, item in enumerate(items)
        for box in item.boxes or ()
    ]
    rows = _clean(found)
    boxes, keys, scores = _sides(rows).tolist(), rows[:, [0, 6]].astype(int).tolist(), rows[:, 5].tolist()
    detections = [
        {"image_id": image, "category_id": label, "bbox": box, "area": box[2] * box[3], "iscrowd": 0, "score": score}
        for (image, label), box, score in zip(keys, boxes, scores)
    ]
    loaded = []
    for notes in (truth, detections):
        # Ids from 1: the evaluator's 0 means "unmatched".
        one = coco()
        one.dataset = common | {"annotations": [a | {"id": k} for k, a in enumerate(notes, 1)]}
        one.createIndex()
        loaded.append(one)
    return evaluation(*loaded, iouType="bbox", ranges=_ranges())


def _ranges() -> dict[str, list[float]]:
    return {"small": [0, 32**2], "medium": [32**2, 96**2], "large": [96**2, 1e5**2]}


def _percent(precision: Floats) -> float | None:
    valid = precision[precision > -1]
    return 100 * float(valid.mean()) if valid.size else None


def _clean(found: Detections) -> Floats:
    rows = found.astype(np.float64)
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any():
        # COCO's matching takes an IoU that is NaN for a match; a box without a size matches nothing.
        rows[bad, 1:5] = 0
        rows[bad, 5] = np.nan_to_num(rows[bad, 5], nan=0, posinf=1, neginf=0)
    return rows


def _sides(rows: Floats) -> Floats:
    """x1, y1, width, height."""
    return np.concatenate([rows[:, 1:3], rows[:, 3:5] - rows[:, 1:3]], axis=1)


def _xywh(box: Box) -> list[float]:
    return [box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1]


# --- matches, once, and mAP from weighted images ----------------------------------------------------------------------


class _Matches(NamedTuple):
    """The detections of one class, best first: image (D,), hit and ignored (IoUs, D); objects of each image (I,)."""

    image: Ints
    hit: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    objects: Ints


def groups(rows: NDArray[Any]) -> Iterator[tuple[tuple[int, int], Ints]]:
    """((class, image), the rows of it), ordered; within a group the best score first, equal ones in their order."""
    order = np.lexsort((-rows[:, 5], rows[:, 0], rows[:, 6]))
    keys = rows[order][:, [6, 0]].astype(np.int64)
    if not len(rows):
        return
    starts = np.flatnonzero(np.r_[True, (keys[1:] != keys[:-1]).any(axis=1)])
    for start, group in zip(starts, np.split(order, starts[1:])):
        yield (int(keys[start, 0]), int(keys[start, 1])), group


def _matches(found: Detections, items: Sequence[Item], classes: int) -> list[_Matches]:
    """COCOeval's matches over all sizes, a class each (its evaluator in C++ keeps them to itself)."""
    rows = _clean(found)
    truth: dict[tuple[int, int], list[Box]] = {}
    objects = np.zeros((classes, len(items)), np.int64)
    for k, item in enumerate(items):
        for box in item.boxes or ():
            truth.setdefault((box.label, k), []).append(box)
            objects[box.label, k] += not box.crowd
    parts: list[list[tuple[Ints, NDArray[np.bool_], NDArray[np.bool_]]]] = [[] for _ in range(classes)]
    for (label, image), every in groups(rows):
        best = every[:MOST]
        hit, ignored = _matched(rows[best], truth.get((label, image), []))
        parts[label].append((best, hit, ignored))
    return [_by_score(rows, parts[k], objects[k]) for k in range(classes)]


def _by_score(rows: Floats, parts: list[tuple[Ints, NDArray[np.bool_], NDArray[np.bool_]]], objects: Ints) -> _Matches:
    if not parts:
        nothing = np.zeros((len(_IOUS), 0), bool)
        return _Matches(np.zeros(0, np.int64), nothing, nothing, objects)
    every = np.concatenate([part[0] for part in parts])
    order = np.argsort(-rows[every, 5], kind="stable")
    hit, ignored = (np.concatenate([part[k] for part in parts], axis=1)[:, order] for k in (1, 2))
    return _Matches(rows[every[order], 0].astype(np.int64), hit, ignored, objects)


def _matched(rows: Floats, truth: list[Box]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(hit, ignored) of one image and class, each (IoUs, detections), by the rules of COCOeval.evaluateImg.

    A detection, the best score first, takes the free object with the largest IoU (the later of equal ones), else a
    crowd, which stays free and makes it ignored.
    """
    hit, ignored = np.zeros((2, len(_IOUS), len(rows)), bool)
    if not truth or not len(rows):
        return hit, ignored
    truth = sorted(truth, key=lambda box: box.crowd)
    crowd = [int(box.crowd) for box in truth]
    iou = require("faster_coco_eval.core.mask", "host").iou
    ious = np.asarray(iou(_sides(rows), np.array([_xywh(box) for box in truth], np.float64), crowd))
    plain = len(truth) - sum(crowd)
    for t, threshold in enumerate(_IOUS):
        free = np.ones(plain, bool)
        for d in np.flatnonzero(ious.max(axis=1) >= threshold):
            own = np.where(free, ious[d, :plain], -1.0)
            if plain and own.max() >= threshold:
                free[plain - 1 - int(own[::-1].argmax())] = False
                hit[t, d] = True
            elif plain < len(truth) and ious[d, plain:].max() >= threshold:
                ignored[t, d] = True
    return hit, ignored


def _weighted_map(matches: Sequence[_Matches], weights: Ints) -> Floats:
    """mAP in percent (B,) of sets in which image i occurs weights[b, i] times; `weights` (B, I).

    Precision can only peak at a hit, so it is looked at there alone: COCOeval.accumulate gives the same value.
    """
    total, counted = np.zeros(len(weights)), np.zeros(len(weights))
    for one in matches:
        objects = weights @ one.objects
        if objects.any():
            total += np.where(objects > 0, _weighted_ap(one, weights, np.maximum(objects, 1)), 0.0)
            counted += objects > 0
    return 100 * total / np.maximum(counted, 1)


def _weighted_ap(one: _Matches, weights: Ints, objects: Ints) -> Floats:
    total = np.zeros(len(weights))
    seen = np.cumsum(weights[:, one.image], axis=1)
    for hit, ignored in zip(one.hit, one.ignored):
        at, left_out = np.flatnonzero(hit), np.flatnonzero(ignored)
        if not len(at):
            continue
        found = np.cumsum(weights[:, one.image[at]], axis=1)
        count = seen[:, at]
        if len(left_out):
            sums = np.cumsum(weights[:, one.image[left_out]], axis=1)
            count = count - np.pad(sums, ((0, 0), (1, 0)))[:, np.searchsorted(left_out, at)]
        precision = found / (count + np.spacing(1))
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        reached = _levels(found / objects[:, None])
        total += (best * np.diff(reached, axis=1, prepend=0)).sum(axis=1)
    return total / (len(_RECALLS) * len(_IOUS))


def _without_each(one: _Matches) -> tuple[float, Floats]:
    """The average precision (0 to 1, the mean over the IoUs), and that without each image (I,).

    A class with objects in many images changes little by one of them: by the first derivative.
    """
    hits = np.flatnonzero(one.hit.any(axis=0))
    last = hits[-1] + 1 if len(hits) else 0  # what comes later lies behind all recall
    used = np.union1d(one.image[:last], np.flatnonzero(one.objects))
    small = _Matches(
        np.searchsorted(used, one.image[:last]), one.hit[:, :last], one.ignored[:, :last], one.objects[used]
    )  # fmt: skip
    every = np.ones((1, len(used)), np.int64)
    whole = float(_weighted_ap(small, every, every @ small.objects)[0])
    without = np.full(len(one.objects), whole)
    if np.count_nonzero(one.objects) > _MANY:
        without[used] -= _derivatives(small)
        return whole, without
    block = max(1, _BLOCK // max(last, len(used)))
    for start in range(0, len(used), block):
        rows = np.arange(start, min(start + block, len(used)))
        weights = np.ones((len(rows), len(used)), np.int64)
        weights[np.arange(len(rows)), rows] = 0
        without[used[rows]] = _weighted_ap(small, weights, np.maximum(weights @ small.objects, 1))
    return whole, without


def _derivatives(one: _Matches) -> Floats:
    """Derivative (I,) of the average precision (0 to 1, the mean over the IoUs) by the weight of each image.

    With weights w the interpolated precision of a hit is that of the next peak, hits / count up to there; hits, count
    and the number of objects are sums of weights, so that the derivative by the weight of one detection is a sum over
    the peaks behind it.
    """
    total = np.zeros(len(one.objects))
    objects = float(one.objects.sum())
    for hit, ignored in zip(one.hit, one.ignored):
        at = np.flatnonzero(hit)
        if not len(at):
            continue
        count = np.cumsum(~ignored)[at]
        precision = np.arange(1, len(at) + 1) / count
        best = np.maximum.accumulate(precision[::-1])[::-1]
        peaks = np.flatnonzero(precision >= best)
        width = np.diff(peaks, prepend=-1) / objects  # recall over which the peak's precision is the interpolated one
        gain = _sums_from(width / count[peaks])
        cost = _sums_from(width / count[peaks] * precision[peaks])
        behind = np.searchsorted(at[peaks], np.arange(len(one.image)))
        each = np.where(hit, gain[behind], 0.0) - np.where(ignored, 0.0, cost[behind])
        each[at] += best / objects
        total += np.bincount(one.image, each, len(total)) - one.objects * (best.sum() / objects**2)
    return total / len(_IOUS)


def _sums_from(values: Floats) -> Floats:
    """The sum from each position on, and a zero behind the last."""
    return np.append(np.cumsum(values[::-1])[::-1], 0.0)


def _levels(recall: Floats) -> Ints:
    """How many of the 101 recall levels each recall reaches (searchsorted from the right, several times faster)."""
    k = (recall * 100).astype(np.int64)
    above = np.append(_RECALLS, np.inf)
    return k + (above[k] <= recall) + (above[k + 1] <= recall)


# --- confidence -------------------------------------------------------------------------------------------------------


def best_pairs(own: NDArray[Any], other: NDArray[Any], iou: float) -> list[tuple[int, int]]:
    """(row of `own`, row of `other`) of boxes that match, greedily, each at most once; an IoU of at least `iou`."""
    overlaps = _ious(own.astype(np.float64), other.astype(np.float64))
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
    """IoU (len(own), len(other))."""
    low = np.maximum(own[:, None, 1:3], other[None, :, 1:3])
    high = np.minimum(own[:, None, 3:5], other[None, :, 3:5])
    common = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.clip(rows[:, 3:5] - rows[:, 1:3], 0, None).prod(axis=1) for rows in (own, other)]
    union = areas[0][:, None] + areas[1][None, :] - common
    return np.asarray(common / np.where(union > 0, union, np.inf))
