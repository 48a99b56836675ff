"""COCO's average precision of boxes, by faster-coco-eval; equal to pycocotools' COCOeval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from edgewright.core.lazy import require
from edgewright.data.sets import Item

from .matching import Boxes, Floats, clean, require_objects, sides, xywh


class AveragePrecision(msgspec.Struct, frozen=True, kw_only=True):
    """COCO's average precision in percent.

    `map` is the mean over the IoU thresholds 0.50 to 0.95 and over the classes that have objects; `ap50` and `ap75` are
    at one threshold; the other three are `map` of small (an area up to 32^2 square pixels), medium (up to 96^2) and
    large objects, None if there are none. `per_class` is the `map` of each class, None for one without objects.
    """

    map: float
    ap50: float
    ap75: float
    map_small: float | None
    map_medium: float | None
    map_large: float | None
    per_class: tuple[float | None, ...]


def average_precision(found: Boxes, items: Sequence[Item], classes: int) -> AveragePrecision:
    """The mAP of `found` on `items`, by faster-coco-eval; equal to pycocotools' COCOeval for boxes.

    The best 100 detections of each image and class count. Crowds are ignored as COCO does. Raises `InvalidInput` if
    no item has an object to find, `Unavailable` without faster-coco-eval.
    """
    require_objects(items)
    truth = [
        {"image_id": k, "category_id": box.label, "bbox": xywh(box), "area": box.area, "iscrowd": int(box.crowd)}
        for k, item in enumerate(items)
        for box in item.boxes or ()
    ]
    rows = clean(found)
    boxes, keys, scores = sides(rows).tolist(), rows[:, [0, 6]].astype(int).tolist(), rows[:, 5].tolist()
    detections = [
        {"image_id": image, "category_id": label, "bbox": box, "area": box[2] * box[3], "iscrowd": 0, "score": score}
        for (image, label), box, score in zip(keys, boxes, scores)
    ]
    return evaluated(detections, truth, [{"id": k} for k in range(len(items))], classes)


def evaluated(
    detections: Sequence[dict[str, Any]],
    truth: Sequence[dict[str, Any]],
    images: Sequence[dict[str, Any]],
    classes: int,
    kind: str = "bbox",
) -> AveragePrecision:
    """Return the mAP of `detections` against `truth`, both annotations in COCO's format without ids.

    `images`: {"id"}, and "height" and "width" for masks. `kind`: the likeness, "bbox", "segm" or "boundary".
    """
    evaluator = _evaluator(detections, truth, images, classes, kind)
    evaluator.evaluate()
    evaluator.accumulate()
    precision = np.asarray(evaluator.eval["precision"])[..., -1]  # IoU, recall, class, area range; -1: no objects
    per_class = tuple(_percent(precision[:, :, k, 0]) for k in range(classes))
    whole = precision[:, :, :, 0]
    return AveragePrecision(
        map=_percent(whole) or 0.0,
        ap50=_percent(whole[0]) or 0.0,
        ap75=_percent(whole[5]) or 0.0,
        map_small=_percent(precision[..., 1]),
        map_medium=_percent(precision[..., 2]),
        map_large=_percent(precision[..., 3]),
        per_class=per_class,
    )


def _evaluator(
    detections: Sequence[dict[str, Any]],
    truth: Sequence[dict[str, Any]],
    images: Sequence[dict[str, Any]],
    classes: int,
    kind: str,
) -> Any:
    coco = require("faster_coco_eval", "host").COCO
    evaluation = require("faster_coco_eval.core.faster_eval_api", "host").COCOeval_faster
    common = {"images": list(images), "categories": [{"id": k} for k in range(classes)]}
    loaded = []
    for notes in (truth, detections):
        # Ids from 1: the evaluator's 0 means "unmatched".
        one = coco()
        one.dataset = common | {"annotations": [a | {"id": k} for k, a in enumerate(notes, 1)]}
        one.createIndex()
        loaded.append(one)
    return evaluation(*loaded, iouType=kind, ranges=_ranges())


def _ranges() -> dict[str, list[float]]:
    return {"small": [0, 32**2], "medium": [32**2, 96**2], "large": [96**2, 1e5**2]}


def _percent(precision: Floats) -> float | None:
    valid = precision[precision > -1]
    return 100 * float(valid.mean()) if valid.size else None
