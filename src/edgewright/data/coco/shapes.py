"""Masks and keypoints of COCO's annotations, checked: polygons, run lengths, points with their visibility."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from edgewright.data.boxes import Skeleton, wrong
from edgewright.data.runs import Rle, decompressed

from .schema import Category, is_pixel

SIGMAS = {
    "nose": 0.026, "eye": 0.025, "ear": 0.035, "shoulder": 0.079, "elbow": 0.072, "wrist": 0.062, "hip": 0.107,
    "knee": 0.087, "ankle": 0.089,
}  # fmt: skip
"""COCO's falloff of the 17 keypoints of persons (pycocotools ``Params.kpt_oks_sigmas``)."""

_FEWEST = 6
"""So many numbers has a triangle."""

_SIDE = re.compile(r"left|right", re.IGNORECASE)

Polygons = tuple[tuple[float, ...], ...]


def mask(
    where: str, raw: msgspec.Raw, size: tuple[int, int] | None, short: list[str]
) -> tuple[Polygons | None, Rle | None]:
    """The mask of an annotation as polygons or as run lengths; neither if it has none.

    `size`: width and height of the image, if they are known. The places of polygons with fewer than three points are
    added to `short`; these polygons are left out. Raises `InvalidInput` at `where`.
    """
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise wrong(where, f"segmentation cannot be read ({error})", "polygons, or a mask as run lengths") from None
    if isinstance(found, dict):
        return None, _runs(where, found, size)
    polygons = found if isinstance(found, list) else []
    if polygons and not isinstance(polygons[0], list):
        polygons = [polygons]
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) % 2 or not all(map(is_pixel, polygon)):
            raise wrong(where, "segmentation is not a list of polygons", "x and y of each corner in turn, in pixels")
    kept = tuple(tuple(map(float, polygon)) for polygon in polygons if len(polygon) >= _FEWEST)
    short += [where] * (len(polygons) - len(kept))
    return kept or None, None


def points(where: str, raw: msgspec.Raw, category: Category, count: int) -> tuple[tuple[float, float, int], ...]:
    """The `count` keypoints of an annotation of `category`; all are not labeled if it has none."""
    found = _decoded(where, "keypoints", raw)
    if not found:
        return ((0.0, 0.0, 0),) * count
    if not isinstance(found, list) or len(found) != 3 * count:
        number = len(found) if isinstance(found, list) else 0
        allowed = f"{3 * count} numbers: x, y and visibility of the {count} keypoints of '{category.name}'"
        raise wrong(where, f"keypoints has {number} numbers", allowed)
    if not all(map(is_pixel, found)):
        raise wrong(where, "keypoints has a value that is no number", "x, y and visibility of each point")
    for k, visible in enumerate(found[2::3]):
        if visible not in (0, 1, 2):
            raise wrong(where, f"the visibility of keypoint {k} is {visible}", "0 (not labeled), 1 (hidden) or 2")
    return tuple((float(x), float(y), int(visible)) for x, y, visible in zip(found[::3], found[1::3], found[2::3]))


def skeleton(path: Path, categories: Sequence[Category]) -> Skeleton | None:
    """The keypoints of the categories; None if none has some. Raises `InvalidInput` if they have different numbers."""
    every = [(category, found) for category in categories if (found := names(path, category))]
    if not every:
        return None
    first, known = every[0]
    if other := next((category for category, found in every if len(found) != len(known)), None):
        what = f"'{first.name}' has {len(known)} keypoints, and '{other.name}' has {len(names(path, other))}"
        raise wrong(f"{path}, categories", what, "the same number for all categories")
    where = f"{path}, categories ('{first.name}')"
    edges = _decoded(where, "skeleton", first.skeleton) or []
    sigmas = _decoded(where, "sigmas", first.sigmas) or []
    fine = isinstance(edges, list) and all(isinstance(edge, list) and len(edge) == 2 for edge in edges)
    if not fine or not all(type(k) is int and 1 <= k <= len(known) for edge in edges for k in edge):
        raise wrong(where, "skeleton is not a list of pairs", f"two numbers of keypoints each, from 1 to {len(known)}")
    if sigmas and (len(sigmas) != len(known) or not all(is_pixel(one) and one > 0 for one in sigmas)):
        raise wrong(where, f"sigmas has {len(sigmas)} values", f"{len(known)} numbers above 0")
    return Skeleton(
        points=len(known), names=known, edges=tuple((a - 1, b - 1) for a, b in edges), flip=flipped(known),
        sigmas=tuple(map(float, sigmas)) or coco_sigmas(known),
    )  # fmt: skip


def names(path: Path, category: Category) -> tuple[str, ...]:
    """The names of the keypoints of a category; empty if it has none."""
    where = f"{path}, categories ('{category.name}')"
    found = _decoded(where, "keypoints", category.keypoints)
    if not found:
        return ()
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise wrong(where, "keypoints is not a list of names", "the name of each keypoint")
    return tuple(found)


def flipped(known: Sequence[str]) -> tuple[int, ...]:
    """The index of each point in a mirrored image, by ``left`` and ``right`` in the names; empty if none has these."""
    place = {name.casefold(): k for k, name in enumerate(known)}
    other = {"left": "right", "right": "left"}
    mirrored = [_SIDE.sub(lambda side: other[side[0].casefold()], name.casefold()) for name in known]
    if mirrored == list(place) or not all(name in place for name in mirrored):
        return ()
    return tuple(place[name] for name in mirrored)


def coco_sigmas(known: Sequence[str]) -> tuple[float, ...]:
    """COCO's sigmas if `known` are its 17 keypoints; else empty."""
    parts = [re.sub(r"^(left|right)[-_ ]", "", name.casefold()) for name in known]
    return tuple(SIGMAS[part] for part in parts) if len(known) == 17 and set(parts) == set(SIGMAS) else ()


def _runs(where: str, found: dict[str, Any], size: tuple[int, int] | None) -> Rle:
    """The mask in a dictionary of counts and size."""
    shape, counts = found.get("size"), found.get("counts")
    if not isinstance(shape, list) or len(shape) != 2 or not all(type(side) is int and side > 0 for side in shape):
        raise wrong(where, f"the size of its mask is {shape}", "two whole numbers: height, width")
    height, width = shape
    if size is not None and (width, height) != size:
        raise wrong(where, f"its mask has {width}x{height} pixels", f"those of the image: {size[0]}x{size[1]}")
    if isinstance(counts, str):
        try:
            counts = list(decompressed(counts))
        except ValueError as error:
            raise wrong(where, f"its compressed mask is malformed: {error}", "pycocotools' string of counts") from None
    if not isinstance(counts, list) or not all(type(n) is int and n >= 0 for n in counts):
        raise wrong(where, "the counts of its mask are no run lengths", "whole numbers, or pycocotools' string")
    if (total := sum(counts)) != height * width:
        what = f"the run lengths of its mask add up to {total} pixels"
        raise wrong(where, what, f"{height * width}, the pixels of {width}x{height}")
    return Rle(height, width, tuple(counts))


def _decoded(where: str, key: str, raw: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise wrong(where, f"{key} cannot be read ({error})", "JSON") from None
