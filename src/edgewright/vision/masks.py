"""Masks as polygons: the pixels of COCO's polygons, and the outline of pixels. numpy only.

A mask is bool (height, width).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_SCALE = 5.0
"""pycocotools draws outlines on a grid of this many points per pixel."""
_RIGHT, _DOWN, _LEFT, _UP = range(4)


def polygon_bits(polygons: Sequence[Sequence[float]], height: int, width: int) -> np.ndarray:
    """Return the mask of `polygons` (x1, y1, x2, y2 ... in pixels each): the pixels that pycocotools gives them.

    The pixels of several polygons are united. Parts outside the image are left out.
    """
    mask = np.zeros((height, width), bool)
    for polygon in polygons:
        counts = polygon_runs(polygon, height, width)
        inside = np.zeros(len(counts), bool)
        inside[1::2] = True
        mask |= np.repeat(inside, counts).reshape(width, height).T
    return mask


def polygon_runs(polygon: Sequence[float], height: int, width: int) -> np.ndarray:
    """Return the run lengths of one polygon, column by column, from the background (pycocotools' ``rleFrPoly``)."""
    points = np.asarray(polygon, np.float64).reshape(-1, 2)
    corners = np.trunc(_SCALE * points + 0.5).astype(np.int64)
    x, y = _outline(corners[:, 0], corners[:, 1])
    # A run begins or ends where the outline enters another column of pixels.
    at = np.flatnonzero(x[1:] != x[:-1]) + 1
    column = np.where(x[at] < x[at - 1], x[at], x[at] - 1)
    column = (column + 0.5) / _SCALE - 0.5
    row = (np.minimum(y[at], y[at - 1]) + 0.5) / _SCALE - 0.5
    inside = (np.floor(column) == column) & (column >= 0) & (column <= width - 1)
    row = np.ceil(np.clip(row[inside], 0, height)).astype(np.int64)
    ends = np.sort(np.append(column[inside].astype(np.int64) * height + row, height * width))
    return _merged(np.diff(ends, prepend=0))


def _outline(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the points of the closed outline through the corners, each side drawn by its longer axis."""
    parts_x, parts_y = [], []
    corners = list(zip(x.tolist(), y.tolist()))
    for one, other in zip(corners, [*corners[1:], *corners[:1]]):
        dx, dy = abs(other[0] - one[0]), abs(other[1] - one[1])
        flip = one[dx < dy] > other[dx < dy]
        (xs, ys), (xe, ye) = (other, one) if flip else (one, other)
        steps = np.arange(max(dx, dy) + 1)
        steps = steps[::-1] if flip else steps
        if dx >= dy:
            slope = (ye - ys) / dx if dx else 0.0
            parts_x.append(steps + xs)
            parts_y.append(np.trunc(ys + slope * steps + 0.5).astype(np.int64))
        else:
            slope = (xe - xs) / dy
            parts_y.append(steps + ys)
            parts_x.append(np.trunc(xs + slope * steps + 0.5).astype(np.int64))
    return np.concatenate(parts_x), np.concatenate(parts_y)


def _merged(counts: np.ndarray) -> np.ndarray:
    """Return run lengths without the empty runs after the first one."""
    ends = np.cumsum(counts)
    # Two ends at one place cancel each other out.
    places, times = np.unique(ends[:-1], return_counts=True)
    kept = places[(times % 2 == 1) & (places < ends[-1])]
    return np.diff(np.append(kept, ends[-1]), prepend=0)


def polygons(mask: np.ndarray, top: int = 0, left: int = 0) -> list[np.ndarray]:
    """Return the outer outline of each connected part of `mask`, (points, 2) float32: x, y of the pixels' corners.

    The area of an outline without holes is its number of pixels. Pixels that only touch at a corner are not connected,
    and outlines of holes are left out. `top` and `left` are added to the coordinates. The largest part is first.
    """
    starts, ends, kinds = _edges(mask)
    if not len(starts):
        return []
    following = _linked(starts, ends, kinds)
    width = mask.shape[1] + 1
    found, seen = [], bytearray(len(starts))
    directions = kinds.tolist()
    for first in range(len(following)):
        if seen[first]:
            continue
        corners, edge = [], first
        while not seen[edge]:
            seen[edge] = 1
            after = following[edge]
            if directions[edge] != directions[after]:
                corners.append(after)
            edge = after
        at = starts[corners]
        x, y = at % width, at // width
        # Clockwise in an image: the shoelace sum of an outer outline is positive, that of a hole negative.
        area = int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())
        if area > 0:
            found.append((area, np.stack([x + left, y + top], axis=1).astype(np.float32)))
    found.sort(key=lambda one: -one[0])
    return [points for _, points in found]


def _edges(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the directed sides between pixels of `mask` and others: start, end (numbers of corners), direction.

    The mask is on the right of each side, so outer outlines run clockwise.
    """
    height, width = mask.shape
    padded = np.zeros((height + 2, width + 2), bool)
    padded[1:-1, 1:-1] = mask
    inner, corners = padded[1:-1, 1:-1], width + 1
    sides = (
        (inner & ~padded[:-2, 1:-1], 0, 1, _RIGHT),
        (inner & ~padded[1:-1, 2:], 1, corners + 1, _DOWN),
        (inner & ~padded[2:, 1:-1], corners + 1, corners, _LEFT),
        (inner & ~padded[1:-1, :-2], corners, 0, _UP),
    )
    starts, ends, kinds = [], [], []
    for where, start, end, kind in sides:
        y, x = np.nonzero(where)
        corner = y * corners + x
        starts.append(corner + start)
        ends.append(corner + end)
        kinds.append(np.full(len(corner), kind))
    return np.concatenate(starts), np.concatenate(ends), np.concatenate(kinds)


def _linked(starts: np.ndarray, ends: np.ndarray, kinds: np.ndarray) -> list[int]:
    """Return the side that follows each side. Where two can follow, it is the one to the right: the same pixel's."""
    order = np.lexsort((kinds, starts))
    first = np.searchsorted(starts[order], ends)
    double = np.searchsorted(starts[order], ends, side="right") - first == 2
    wanted = (kinds + 1) % 4
    other = np.minimum(first + 1, len(order) - 1)
    second = double & (kinds[order[other]] == wanted)
    following: list[int] = order[np.where(second, other, first)].tolist()
    return following
