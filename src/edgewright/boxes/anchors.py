"""Anchors: the boxes that SSD and RetinaNet move and stretch, from a few numbers a feature map.

The method is that of Faster R-CNN (Ren et al. 2015) with SSD's two weights of the coding (Liu et al. 2016), as in
torchvision's ``DefaultBoxGenerator``, ``AnchorGenerator`` and ``BoxCoder``.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from .spec import AnchorLevel

_MAX_LOG = math.log(1000 / 16)
"""Maximum factor of a box's size against its anchor; torchvision's ``bbox_xform_clip``."""


def count(levels: tuple[AnchorLevel, ...]) -> int:
    """Return the number of anchors of all `levels`."""
    return sum(level.rows * level.columns * len(level.sizes) for level in levels)


@lru_cache(maxsize=16)
def grid(levels: tuple[AnchorLevel, ...], offset: float) -> np.ndarray:
    """Return (anchors, 4) float32, read-only: center x, center y, width and height in input pixels.

    Ordered by level, row, column and size. `offset` as in `Head`.
    """
    made = [np.zeros((0, 4), np.float32)]
    for level in levels:
        y, x = np.mgrid[: level.rows, : level.columns]
        centres = (np.stack([x, y], axis=-1).reshape(-1, 1, 2) + offset) * level.step
        sizes = np.asarray(level.sizes, np.float64).reshape(1, -1, 2)
        shape = (len(centres), sizes.shape[1], 2)
        both = np.concatenate([np.broadcast_to(centres, shape), np.broadcast_to(sizes, shape)], axis=2)
        made.append(both.reshape(-1, 4).astype(np.float32))
    anchors = np.concatenate(made)
    anchors.setflags(write=False)
    return anchors


def decode(deltas: np.ndarray, anchors: np.ndarray, coding: tuple[float, float, float, float]) -> np.ndarray:
    """Return boxes (K, 4) float32 x1, y1, x2, y2 in input pixels, from the network's `deltas` (K, 4) for `anchors` (K,
    4).

    `coding` as in `Head`; `anchors` are rows of `grid`. Boxes can reach beyond the image.
    """
    deltas = deltas / np.asarray(coding, np.float32)
    with np.errstate(over="ignore"):  # a broken output gives a box at the edge, which is cut off
        centres = deltas[:, :2] * anchors[:, 2:] + anchors[:, :2]
    half = np.exp(np.minimum(deltas[:, 2:], np.float32(_MAX_LOG))) * anchors[:, 2:] / 2
    boxes: np.ndarray = np.concatenate([centres - half, centres + half], axis=1)
    return boxes
