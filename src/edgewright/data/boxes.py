"""The boxes of a detection set, and code that the readers of the annotation layouts share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgewright.core.errors import InvalidInput

from . import runs
from .remarks import Remark
from .runs import Rle


class Skeleton(msgspec.Struct, frozen=True, kw_only=True):
    """The keypoints of a set: their `names`, and pairs of indices that a drawing connects.

    `flip`: the index of each point after a horizontal flip; empty if it is unknown. `sigmas`: COCO's falloff of each
    point for the object keypoint similarity; empty if the set has none. `names` can be empty, too.
    """

    points: int
    names: tuple[str, ...] = ()
    edges: tuple[tuple[int, int], ...] = ()
    flip: tuple[int, ...] = ()
    sigmas: tuple[float, ...] = ()


class Box(msgspec.Struct, frozen=True, omit_defaults=True):
    """One annotated object.

    `label`: the index of a class of the set. The corners are in pixels and can be outside the image. `area`, in square
    pixels, decides between small, medium and large objects. It is the area of the COCO mask if there is one, else of
    the box. `crowd`: not an object to find, so detections on it count neither as right nor as wrong.

    The rest is None unless the task wants it (`Wants`). `polygons`: x1, y1, x2, y2 ... in pixels. `rle`: a mask of the
    size of the image. `keypoints`: x and y in pixels, and the visibility: 0 not labeled, 1 hidden, 2 visible.
    `corners`: the x and y of the four corners of a rotated box, in order.
    """

    label: int
    x1: float
    y1: float
    x2: float
    y2: float
    area: float
    crowd: bool = False
    polygons: tuple[tuple[float, ...], ...] | None = None
    rle: Rle | None = None
    keypoints: tuple[tuple[float, float, int], ...] | None = None
    corners: tuple[float, ...] | None = None


class Annotated(msgspec.Struct, frozen=True, kw_only=True):
    """One image: its absolute path and its boxes.

    `size`: (width, height) in the annotations, or None if they have none. `relative`: the corners and areas of `boxes`
    are fractions of the upright image's width and height (YOLO); fit.py converts them to pixels. `where`: the place of
    the image in the annotations, for error messages ("instances.json, images[3] (id 7)").
    """

    path: str
    boxes: tuple[Box, ...]
    size: tuple[int, int] | None = None
    relative: bool = False
    where: str = ""


class Annotations(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a reader: the images in a stable order, the class names, and remarks.

    `skeleton`: the keypoints, if the task wants them. `ordered`: the position of a name in `classes` is the class index
    in the annotations (YOLO, COCO). It is False if the names are sorted because the annotations have no order (VOC), or
    if the indices have no names (YOLO).
    """

    images: tuple[Annotated, ...]
    classes: tuple[str, ...]
    ordered: bool = True
    remarks: tuple[Remark, ...] = ()
    skeleton: Skeleton | None = None


class Absent(InvalidInput):
    """No image of the split in the annotations exists: probably only another part of the set was downloaded."""


def wrong(where: str, what: str, allowed: str) -> InvalidInput:
    """Return the error for one place (file, and line or index) of an annotation file."""
    return InvalidInput(f"{where}: {what}.", f"Expected: {allowed}.", "Correct the annotations.")


def text_of(path: Path) -> str:
    """Return the text of an annotation file. Raises `InvalidInput` if it is missing or not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InvalidInput(f"{path} is missing.", "The annotations refer to it.", "Copy the file there.") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise wrong(f"{path}, line {line}", "this line is not UTF-8 text", "UTF-8") from None


def box(label: int, corners: Sequence[float], area: float | None = None, crowd: bool = False) -> Box | None:
    """Return a box from x1, y1, x2, y2 in pixels, or None if it has no area (its sides are zero or negative)."""
    x1, y1, x2, y2 = corners
    found = (x2 - x1) * (y2 - y1)
    if not (x2 > x1 and y2 > y1 and math.isfinite(found)):
        return None
    return Box(label, x1, y1, x2, y2, found if area is None else area, crowd)


def shoelace(values: Sequence[float]) -> float:
    """Return the area of the polygon x1, y1, x2, y2 ..."""
    xs, ys = values[::2], values[1::2]
    return abs(sum(xs[k - 1] * ys[k] - xs[k] * ys[k - 1] for k in range(len(xs)))) / 2


def outline(box: Box) -> tuple[tuple[float, ...], ...]:
    """Return the corners of `box` as its only polygon."""
    return ((box.x1, box.y1, box.x2, box.y1, box.x2, box.y2, box.x1, box.y2),)


def turned(box: Box, orientation: int, size: tuple[int, int]) -> Box:
    """Return `box`, of an image with `size` (width, height), after the image is rotated by an EXIF `orientation`."""
    (ax, ay), (bx, by) = _turned(box.x1, box.y1, orientation, size), _turned(box.x2, box.y2, orientation, size)
    found = Box(box.label, min(ax, bx), min(ay, by), max(ax, bx), max(ay, by), box.area, box.crowd)
    if box.polygons is None and box.rle is None and box.keypoints is None and box.corners is None:
        return found

    def outline(values: tuple[float, ...]) -> tuple[float, ...]:
        points = (_turned(x, y, orientation, size) for x, y in zip(values[::2], values[1::2]))
        return tuple(value for point in points for value in point)

    points = box.keypoints
    return msgspec.structs.replace(
        found,
        polygons=None if box.polygons is None else tuple(map(outline, box.polygons)),
        rle=None if box.rle is None else runs.turned(box.rle, orientation),
        keypoints=None if points is None else tuple((*_turned(x, y, orientation, size), v) for x, y, v in points),
        corners=None if box.corners is None else outline(box.corners),
    )


def scaled(box: Box, width: float, height: float) -> Box:
    """Return `box`, whose numbers are fractions of an image, in pixels of an image of `width` and `height`."""
    sides = (width, height)

    def outline(values: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(value * sides[k % 2] for k, value in enumerate(values))

    points = box.keypoints
    return Box(
        box.label, box.x1 * width, box.y1 * height, box.x2 * width, box.y2 * height, box.area * width * height,
        box.crowd, None if box.polygons is None else tuple(map(outline, box.polygons)), box.rle,
        None if points is None else tuple((x * width, y * height, v) for x, y, v in points),
        None if box.corners is None else outline(box.corners),
    )  # fmt: skip


def _turned(x: float, y: float, orientation: int, size: tuple[int, int]) -> tuple[float, float]:
    """Return the point (x, y) of an image with `size` after the image is rotated by an EXIF `orientation`."""
    width, height = size
    if orientation in (2, 3):
        x = width - x
    if orientation in (3, 4):
        y = height - y
    if orientation >= 5:
        x, y = y, x
    if orientation in (6, 7):
        x = height - x
    if orientation in (7, 8):
        y = width - y
    return x, y


def undone(orientation: int) -> int:
    """Return the inverse of `orientation`."""
    return {6: 8, 8: 6}.get(orientation, orientation)


def finite(values: Sequence[float]) -> bool:
    """Whether all `values` are finite numbers."""
    return all(math.isfinite(value) for value in values)
