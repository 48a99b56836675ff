"""DOTA's text files: the four corners of a rotated box, a class and whether it is difficult, a row an object.

Images are in ``images/``, and a text file for each in ``labelTxt/`` (DOTA), ``annfiles/`` (MMRotate) or ``labels/``.
Both may have split folders. The first lines can be ``imagesource:`` and ``gsd:``. Difficult objects count as crowd:
neither for nor against.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec

from edgewright.data import folders, listing, plausible
from edgewright.data.boxes import Annotated, Annotations, Box, finite, shoelace, text_of, wrong
from edgewright.data.lookup import without_suffix
from edgewright.data.remarks import remark
from edgewright.data.splits import role
from edgewright.data.wants import Wants

IMAGES = ("images", "img", "jpegimages")
LABELS = ("labeltxt", "annfiles", "labels", "annotations")
"""Folders of images and of text files, in any capitals. The name of the latter may go on: ``labelTxt-v1.5``."""

_ANY_SIZE = ((1 << 20, 1 << 20),)
"""The files do not contain the sizes of their images. No image is so small that pixels are between 0 and 1."""

_HEADER = ("imagesource", "gsd")
_COLUMNS = "x1 y1 x2 y2 x3 y3 x4 y4 class difficult"
_HEAD, _TRIES = 4096, 20


class _Layout(msgspec.Struct, frozen=True):
    images: Path
    labels: Path


def marks(folder: Path) -> list[str]:
    """What in `folder` says that it is a DOTA set; empty if nothing does."""
    found = _layout(folder)
    return [f"{found.images.name}/ and {found.labels.name}/"] if found else []


def splits(folder: Path, wants: Wants | None = None) -> list[str]:
    """The split folders below the images, sorted."""
    found = _layout(folder)
    names = listing.folders(found.images) if found else []
    return names if names and all(map(role, names)) else []


def images(folder: Path, split: str, wants: Wants | None = None) -> tuple[str, ...]:
    """The absolute paths of the images of `split`."""
    return listing.below(_images(folder, split)).images


def read(folder: Path, split: str, wants: Wants | None = None) -> Annotations:
    """The images and rotated boxes of `split`. Raises `InvalidInput` that names the file and the line.

    Without a file ``classes.txt``, the classes are the sorted names of all splits.
    """
    layout = _layout(folder)
    assert layout
    listed = listing.below(_images(folder, split))
    stems = {path: without_suffix(os.path.basename(path)) for path in listed.images}  # noqa: PTH119
    parsed = {path: _Rows(path) for path in _texts(layout.labels)}
    below = layout.labels / split
    own = _texts(below) if below.is_dir() else parsed
    files = {without_suffix(os.path.basename(path)): path for path in own}  # noqa: PTH119
    rows = {stem: parsed[path] for stem, path in files.items()}
    names = folders.order(folder)
    every = names or sorted({row.name for one in parsed.values() for row in one.rows})
    label = {name: k for k, name in enumerate(every)}
    flat, with_corners = list[str](), bool(wants and wants.corners)
    found = list[Annotated]()
    for path in listed.images:
        one = rows.get(stems[path])
        boxes = tuple(_boxes(one, label, flat, with_corners)) if one else ()
        found.append(Annotated(path=path, boxes=boxes, where=one.path if one else path))
    numbers = [row.corners for one in found if (file := rows.get(stems[one.path])) for row in file.rows]
    plausible.require_pixels(numbers, _ANY_SIZE, lambda: found[0].where)
    bare = [Path(path).name for path, stem in stems.items() if stem not in files]
    objects = [one.path for one in found if one.boxes] if not with_corners else []
    orphans = [Path(path).name for stem, path in files.items() if stem not in stems.values()] if not split else []
    remarks = (
        *listed.left_out(), *plausible.without_area(flat), *plausible.duplicates(found),
        *remark("note", "images-without-labels", bare, "{count|image has|images have} no label file: no boxes."),
        *remark("warning", "labels-without-image", orphans,
                "{count|label file has|label files have} no image: left out."),
        *remark("note", "polygons-as-boxes", objects,
                "{count|image has|images have} rotated boxes: the boxes around them are used."),
    )  # fmt: skip
    return Annotations(images=tuple(found), classes=tuple(every), ordered=bool(names), remarks=remarks)


class _Row(msgspec.Struct, frozen=True):
    number: int
    corners: tuple[float, ...]
    name: str
    difficult: bool


class _Rows:
    """The rows of one file, checked."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.rows = tuple(_rows(path))


def _rows(path: str) -> Iterator[_Row]:
    for number, line in enumerate(text_of(Path(path)).splitlines(), 1):
        row = line.replace(",", " ").split()
        if not row or row[0].partition(":")[0].casefold() in _HEADER:
            continue
        where = f"{path}, line {number}"
        if len(row) not in (9, 10):
            raise wrong(where, f"it has {len(row)} columns", f"10: {_COLUMNS}")
        try:
            corners = tuple(map(float, row[:8]))
        except ValueError:
            corners = (float("nan"),)
        if not finite(corners):
            raise wrong(where, f"the corners are {' '.join(row[:8])[:80]}", "eight finite numbers, in pixels")
        if len(row) == 10 and row[9] not in ("0", "1", "2"):
            raise wrong(where, f"difficult is '{row[9]}'", "0 or 1")
        yield _Row(number, corners, row[8], len(row) == 10 and row[9] != "0")


def _boxes(one: _Rows, label: dict[str, int], flat: list[str], with_corners: bool) -> Iterator[Box]:
    """Yield the boxes of a file. The places of those without an area are added to `flat`."""
    for row in one.rows:
        where = f"{one.path}, line {row.number}"
        if row.name not in label:
            raise wrong(where, f"the class '{row.name}' is not in {folders.ORDER}", "one of its names")
        xs, ys, area = row.corners[::2], row.corners[1::2], shoelace(row.corners)
        if not area:
            flat.append(where)
            continue
        corners = row.corners if with_corners else None
        x1, y1, x2, y2 = min(xs), min(ys), max(xs), max(ys)
        size = area if with_corners else (x2 - x1) * (y2 - y1)
        yield Box(label[row.name], x1, y1, x2, y2, size, row.difficult, corners=corners)


def _layout(folder: Path) -> _Layout | None:
    names = listing.folders(folder)
    images = next((name for word in IMAGES for name in names if name.casefold() == word), None)
    for name in names if images else ():
        if name.casefold().startswith(LABELS) and _has_rows(folder / name):
            assert images
            return _Layout(folder / images, folder / name)
    return None


def _images(folder: Path, split: str) -> Path:
    found = _layout(folder)
    assert found
    return found.images / split if split else found.images


def _texts(folder: Path) -> list[str]:
    """The text files of labels at any depth, sorted. Of two with the same name the first counts."""
    return sorted((path for path in listing.below(folder).others if path.lower().endswith(".txt")), reverse=True)


def _has_rows(folder: Path) -> bool:
    """Whether one of the first text files below `folder` has a row of DOTA."""
    paths = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names if name.endswith(".txt"))
    return any(_is_dota(path) for path in islice(paths, _TRIES))


def _is_dota(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        lines: Sequence[str] = file.read(_HEAD).decode("utf-8-sig", "replace").splitlines()
    for line in lines:
        row = line.replace(",", " ").split()
        if not row or row[0].partition(":")[0].casefold() in _HEADER:
            continue
        return len(row) in (9, 10) and not _is_number(row[8]) and all(map(_is_number, row[:8]))
    return any(line.casefold().startswith("imagesource:") for line in lines)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
