"""The boxes of a detection set, and code that the readers of the three annotation layouts share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgewright.core.errors import InvalidInput

from .remarks import Remark


class Box(msgspec.Struct, frozen=True):
    """One annotated object.

    `label`: the index of a class of the set. The corners are in pixels and can be outside the image. `area`, in square
    pixels, decides between small, medium and large objects. It is the area of the COCO mask if there is one, else of
    the box. `crowd`: not an object to find, so detections on it count neither as right nor as wrong.
    """

    label: int
    x1: float
    y1: float
    x2: float
    y2: float
    area: float
    crowd: bool = False


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

    `ordered`: the position of a name in `classes` is the class index in the annotations (YOLO, COCO). It is False if
    the names are sorted because the annotations have no order (VOC), or if the indices have no names (YOLO).
    """

    images: tuple[Annotated, ...]
    classes: tuple[str, ...]
    ordered: bool = True
    remarks: tuple[Remark, ...] = ()


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


def turned(box: Box, orientation: int, size: tuple[int, int]) -> Box:
    """Return `box`, of an image with `size` (width, height), after the image is rotated by an EXIF `orientation`."""
    (x1, y1, x2, y2), (width, height) = (box.x1, box.y1, box.x2, box.y2), size
    if orientation in (2, 3):
        x1, x2 = width - x2, width - x1
    if orientation in (3, 4):
        y1, y2 = height - y2, height - y1
    if orientation >= 5:
        (x1, x2), (y1, y2) = (y1, y2), (x1, x2)
    if orientation in (6, 7):
        x1, x2 = height - x2, height - x1
    if orientation in (7, 8):
        y1, y2 = width - y2, width - y1
    return Box(box.label, x1, y1, x2, y2, box.area, box.crowd)


def undone(orientation: int) -> int:
    """Return the inverse of `orientation`."""
    return {6: 8, 8: 6}.get(orientation, orientation)


def finite(values: Sequence[float]) -> bool:
    """Whether all `values` are finite numbers."""
    return all(math.isfinite(value) for value in values)
