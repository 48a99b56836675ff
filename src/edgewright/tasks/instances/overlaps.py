"""The overlap of masks: of answers and labels, and of two answers. faster-coco-eval computes it from run lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgewright.boxes.matching import IOUS, Floats
from edgewright.core.lazy import require
from edgewright.data import runs
from edgewright.data.boxes import Box
from edgewright.data.sets import Item

from .records import Records

DILATION = 0.02
"""Width of a boundary relative to the image's diagonal (Cheng et al. 2021, "Boundary IoU")."""
Mask = dict[str, Any]
"""COCO's compressed run lengths: {"size": [height, width], "counts": bytes}."""


def _tools() -> Any:
    return require("faster_coco_eval.core.mask", "host")


def label_mask(box: Box, size: tuple[int, int]) -> Mask:
    """Return the mask of a labeled object in an image of `size` (height, width)."""
    if box.rle is not None:
        counts = runs.compressed(box.rle.counts).encode()
        return {"size": [box.rle.height, box.rle.width], "counts": counts}
    polygons = [list(polygon) for polygon in box.polygons or () if len(polygon) >= 6]
    if not polygons:
        return {"size": list(size), "counts": runs.compressed((size[0] * size[1],)).encode()}
    found: Mask = _tools().merge(_tools().frPyObjects(polygons, *size))
    return found


def label_masks(items: Sequence[Item], sizes: dict[int, tuple[int, int]]) -> dict[int, Mask]:
    """Return the mask of each labeled object of `items`, by the id() of its `Box`. `sizes`: (height, width) of the
    images with answers."""
    found = {}
    for number, item in enumerate(items):
        size = (item.size[1], item.size[0]) if item.size else sizes.get(number)
        for box in item.boxes or ():
            own = (box.rle.height, box.rle.width) if box.rle else size
            found[id(box)] = label_mask(box, own or (1, 1))
    return found


class Overlaps:
    """The IoU of answers and labeled objects: of masks, or with `boundary` the smaller one of masks and boundaries."""

    def __init__(self, found: Records, labels: dict[int, Mask], boundary: bool = False) -> None:
        self._found, self._labels, self._boundary = found, labels, boundary
        self._edges: dict[tuple[str, int], Mask] = {}

    def __call__(self, rows: Floats, truth: list[Box]) -> Floats:
        """Return the IoU (rows, objects); for a crowd, the share of the row's area that is in it."""
        crowd = [int(box.crowd) for box in truth]
        numbers = [int(k) for k in rows[:, 7]]
        ours = [self._found.coco(k) for k in numbers]
        found = np.asarray(_tools().iou(ours, [self._labels[id(box)] for box in truth], crowd)).reshape(-1, len(truth))
        if not self._boundary:
            return found
        # A boundary counts only where the masks overlap enough: the smaller IoU decides.
        for i, j in zip(*np.nonzero(found >= IOUS[0])):
            if not crowd[j]:
                pair = self._edge("found", numbers[i], ours[i]), self._edge("label", id(truth[j]), None)
                found[i, j] = min(found[i, j], float(np.asarray(_tools().iou([pair[0]], [pair[1]], [0]))[0, 0]))
        return found

    def _edge(self, kind: str, number: int, mask: Mask | None) -> Mask:
        key = (kind, number)
        if key not in self._edges:
            self._edges[key] = _tools().rleToBoundary(self._labels[number] if mask is None else mask, DILATION)
        return self._edges[key]


def between(own: Records, other: Records, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return the boundary IoU of pairs (object of `own`, object of `other`), (pairs,)."""
    found = np.zeros(len(pairs))
    for place, (i, j) in enumerate(pairs):
        edges = [_tools().rleToBoundary(records.coco(k), DILATION) for records, k in ((own, i), (other, j))]
        found[place] = float(np.asarray(_tools().iou([edges[0]], [edges[1]], [0]))[0, 0])
    return found


def area(mask: Mask) -> float:
    """Return the number of pixels of a mask."""
    return float(runs.counts_of(mask["counts"])[1::2].sum())
