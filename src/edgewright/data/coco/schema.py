"""COCO's JSON decoded: numbers that tools write as text are read, what cannot be meant is refused with its place."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from edgewright.data.boxes import finite, text_of, wrong

Id = int | float | str
"""An id as tools write it: 3, 3.0 and "3" are the same, and a text that is not a number is an id of its own."""

T = TypeVar("T")

_WHOLE = re.compile(r"\s*([+-]?\d{1,18})(?:\.0*)?\s*", re.ASCII)
_CORNERS = "x and y of each corner in turn, in pixels"
_LARGEST = 1e15
_NO = ("", "0", "0.0", "false", "no", "none", "null")
_YES = ("1", "1.0", "true", "yes")


class Image(msgspec.Struct):
    """An entry of `images`."""

    id: Id
    file_name: str
    width: Any = None
    height: Any = None

    def size(self) -> tuple[int, int] | None:
        """Width and height; None if the entry does not say both."""
        width, height = _side(self.width), _side(self.height)
        return (width, height) if width and height else None


class Category(msgspec.Struct):
    """An entry of `categories`."""

    id: Id
    name: str | int
    supercategory: Any = None
    keypoints: msgspec.Raw = msgspec.Raw(b"null")
    skeleton: msgspec.Raw = msgspec.Raw(b"null")
    sigmas: msgspec.Raw = msgspec.Raw(b"null")


class Annotation(msgspec.Struct):
    """An entry of `annotations`."""

    image_id: Id
    category_id: Id
    id: Any = None
    bbox: list[float] | None = None
    area: float | str | None = None
    iscrowd: bool | int | float | str | None = None
    segmentation: msgspec.Raw = msgspec.Raw(b"null")
    keypoints: msgspec.Raw = msgspec.Raw(b"null")


class Images(msgspec.Struct):
    """A file of which `images` matters only."""

    images: list[Image]


class File(msgspec.Struct):
    """A file of object detection."""

    images: list[Image]
    categories: list[Category]
    annotations: list[Annotation]


def decoded(path: Path, kind: type[T]) -> T:
    """The content of `path`. Raises `InvalidInput` that names the file and the line or index."""
    text = text_of(path)
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as error:
        message = str(error).replace("$.", "").replace(" - at `$`", "")
        raise wrong(str(path), message, "COCO's object detection format: images, categories, annotations") from None
    except msgspec.DecodeError as error:
        at = re.search(r"\(byte (\d+)\)", str(error))
        before = text.encode()[: int(at[1])] if at else text.rstrip().encode()
        line = before.count(b"\n") + 1
        raise wrong(f"{path}, line {line}", f"this is not JSON ({error})", "JSON (which has no NaN)") from None
    except RecursionError:
        raise wrong(str(path), "its lists are nested too deeply", "COCO's object detection format") from None


def same(value: Id) -> Id:
    """`value` so that ids which mean the same are equal."""
    if type(value) is int:
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    found = _WHOLE.fullmatch(str(value))
    return int(found[1]) if found else value


def require_once(path: Path, what: str, values: Iterable[Id], field: str) -> None:
    """Raise `InvalidInput` where one of `values`, those of `field` in the list `what`, is listed twice."""
    first = dict[Id, int]()
    for k, value in enumerate(values):
        if value in first:
            stands = f"{field} {value!r} is already in {what}[{first[value]}]"
            raise wrong(f"{path}, {what}[{k}]", stands, f"each {field} once")
        first[value] = k


def crowd(where: str, value: bool | int | float | str | None) -> bool:
    """What `iscrowd` means; nothing at all means no."""
    text = str(value).strip().lower()
    if text not in _NO and text not in _YES and not isinstance(value, int | float):
        raise wrong(where, f"iscrowd is {value!r}", "0 or 1")
    return text not in _NO


def area(where: str, value: str) -> float | None:
    """The area that is written as text; None if the text is empty."""
    if not value:
        return None
    try:
        found = float(value)
    except ValueError:
        found = float("nan")
    if not finite([found]):
        raise wrong(where, f"area is {value!r}", "a finite number")
    return found


def outline(where: str, raw: msgspec.Raw) -> tuple[float, float, float, float] | None:
    """The box (x, y, width, height) around polygons, or a mask as run lengths in numbers; None if there are none."""
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise wrong(where, f"segmentation cannot be read ({error})", _CORNERS) from None
    if isinstance(found, dict) and (counts := found.get("counts")):
        return _around_runs(where, counts, found.get("size"))
    polygons = found if isinstance(found, list) else []
    if polygons and not isinstance(polygons[0], list):
        polygons = [polygons]
    fine = all(isinstance(one, list) and len(one) % 2 == 0 for one in polygons)
    if not fine or not all(is_pixel(value) for polygon in polygons for value in polygon):
        raise wrong(where, "segmentation is not a list of polygons", _CORNERS)
    if not any(polygons):
        return None
    xs = [x for polygon in polygons for x in polygon[::2]]
    ys = [y for polygon in polygons for y in polygon[1::2]]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def _around_runs(where: str, counts: Any, size: Any) -> tuple[float, float, float, float] | None:
    """The box around a mask whose columns are written as the lengths of background and object in turn."""
    if isinstance(counts, str):
        raise wrong(where, "it has no bbox, and its segmentation is compressed", "a bbox, or polygons")
    numbers = counts if isinstance(counts, list) else [None]
    height = size[0] if isinstance(size, list) and len(size) == 2 else None
    whole = all(isinstance(n, int) and is_pixel(n) and n >= 0 for n in (height, *numbers))
    if not isinstance(height, int) or not height or not whole:
        raise wrong(where, "segmentation is not a mask", "counts (numbers) and size (height, width)")
    xs, ys, at = list[int](), list[int](), 0
    for k, length in enumerate(numbers):
        if k % 2 and length:
            first, last = at, at + length - 1
            xs += [first // height, last // height]
            ys += [first % height, last % height] if first // height == last // height else [0, height - 1]
        at += length
    return (min(xs), min(ys), max(xs) + 1 - min(xs), max(ys) + 1 - min(ys)) if xs else None


def is_pixel(value: Any) -> bool:
    """Whether `value` is a number that can be a place in an image: sums and areas of these stay finite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _side(value: Any) -> int:
    """A width or height; 0 if it is no whole number of pixels."""
    found = same(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else 0
    return found if isinstance(found, int) and found > 0 else 0
