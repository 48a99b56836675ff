"""Boxes of a detection set, and what the readers of the three annotation layouts share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgewright.core.errors import IntegrityError, InvalidInput
from edgewright.core.files import linked_file

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".jp2")
"""What counts as an image in a folder; other files beside them (a readme, a thumbnail cache) are no part of the set."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000")
"""Pillow's names of what is decoded: none whose decoder runs programs (EPS)."""


class Box(msgspec.Struct, frozen=True):
    """One annotated object.

    `label` indexes the classes of its set. The corners are in pixels of the image, and may lie outside it. `area` is in
    square pixels, of the mask where COCO has one, else of the box: it decides between small, medium and large. A
    `crowd` is no object to find: detections on it count neither for nor against.
    """

    label: int
    x1: float
    y1: float
    x2: float
    y2: float
    area: float
    crowd: bool = False


class Annotations(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader hands back: each image's absolute path with its boxes, in a stable order.

    `dropped` counts the boxes that were left out since they have no area.
    """

    images: tuple[tuple[str, tuple[Box, ...]], ...]
    classes: tuple[str, ...]
    dropped: int


def wrong(where: str, what: str, allowed: str) -> InvalidInput:
    """The error for one place (file, and line or index) of an annotation file."""
    return InvalidInput(f"{where}: {what}.", f"Expected: {allowed}.", "Correct the annotations.")


def text_of(path: Path) -> str:
    """The text of an annotation file; raises `InvalidInput` where it is missing or no UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InvalidInput(f"{path} is missing.", "The annotations refer to it.", "Copy it there too.") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise wrong(f"{path}, line {line}", "this line is no UTF-8 text", "UTF-8") from None


def box(label: int, corners: Sequence[float], area: float | None = None, crowd: bool = False) -> Box | None:
    """A box of x1, y1, x2, y2 in pixels, or None where it has no area (its sides are zero or negative)."""
    x1, y1, x2, y2 = corners
    if not (x2 > x1 and y2 > y1):
        return None
    return Box(label, x1, y1, x2, y2, (x2 - x1) * (y2 - y1) if area is None else area, crowd)


def finite(values: Sequence[float]) -> bool:
    """Whether all of `values` are finite numbers."""
    return all(math.isfinite(value) for value in values)


def contained_image(folders: Sequence[Path], name: str, where: str) -> str:
    """The absolute path of image `name` in the first of `folders` that has it.

    Raises `InvalidInput` at `where` if none has it, `IntegrityError` if the name leads out of them.
    """
    for folder in folders:
        try:
            return str(linked_file(folder, name))
        except InvalidInput:
            continue
        except IntegrityError as error:
            raise IntegrityError(f"{where}: {error.what}", error.why, error.fix) from None
    raise wrong(where, f"the image '{name}' is missing", f"a file in {' or '.join(str(f) for f in folders)}")
