"""Landmarks of faces and other objects: ``.pts`` files (300W), and a list with a line an object (WFLW, CelebA).

A ``.pts`` file is next to its image. Its pixels count from 1, as in Matlab and menpo, so each x and y here is one less.
A list has the points of an object as numbers, perhaps its box and attributes, and the name of the image at the begin or
the end of the line.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import msgspec

from edgewright.data import listing
from edgewright.data.boxes import Absent, Annotated, Annotations, Box, Skeleton, wrong
from edgewright.data.lookup import Lookup, place_remarks, without_suffix
from edgewright.data.remarks import remark
from edgewright.data.splits import role
from edgewright.data.wants import Wants

from . import files
from .files import Landmarks

_SUFFIX = ".pts"


class _Layout(msgspec.Struct, frozen=True, kw_only=True):
    """The lists by split; or without lists, whether ``.pts`` files are next to the images."""

    lists: Mapping[str, Path]
    mark: str


def marks(folder: Path, sure: bool = False) -> list[str]:
    """What in `folder` says that it is a set of landmarks; empty if nothing does.

    `sure`: only ``.pts`` files, and lists with a name that says it.
    """
    found = _layout(folder)
    return [found.mark] if found and (not sure or not found.lists or files.NAMED.search(found.mark)) else []


def splits(folder: Path, wants: Wants | None = None) -> list[str]:
    """The splits that the names of lists say, sorted."""
    found = _layout(folder)
    return sorted(set(found.lists) - {""}) if found else []


def images(folder: Path, split: str, wants: Wants | None = None) -> tuple[str, ...]:
    """The absolute paths of the images of `split`."""
    return tuple(image.path for image in read(folder, split).images)


def read(folder: Path, split: str, wants: Wants | None = None) -> Annotations:
    """The images and their objects with keypoints. Raises `InvalidInput` that names the file and the line."""
    layout = _layout(folder)
    assert layout
    return _listed(folder, layout.lists[split]) if layout.lists else _beside(folder)


def _listed(folder: Path, path: Path) -> Annotations:
    """The objects of a list, by their images."""
    below = [folder / name for name in listing.folders(folder)]
    lookup = Lookup([*below, *(one / name for one in below for name in listing.folders(one)), folder])
    by_image, named = defaultdict[str, list[Box]](list), list[tuple[str, object]]()
    where = dict[str, str]()
    first: Landmarks | None = None
    for one in files.lines(path):
        found = lookup.find(one.image)
        if found is None:
            error = wrong(one.where, f"the image '{one.image}' is missing", f"a file below {folder}")
            raise error if where else Absent(error.what, error.why, error.fix)
        first = first or one
        if len(one.points) != len(first.points):
            raise wrong(one.where, f"it has {len(one.points)} points", f"{len(first.points)}, as in the first line")
        if found.path not in where:
            named.append((one.image, found))
            where[found.path] = one.where
        by_image[found.path].append(_box(one))
    if first is None:
        raise wrong(str(path), "it has no points", "a line for each object")
    annotated = tuple(
        Annotated(path=image, boxes=tuple(boxes), where=where[image]) for image, boxes in by_image.items()
    )
    remarks = place_remarks(named)  # type: ignore[arg-type]
    skeleton = Skeleton(points=len(first.points), names=files.names(path))
    return Annotations(images=annotated, classes=(), remarks=tuple(remarks), skeleton=skeleton)


def _beside(folder: Path) -> Annotations:
    """The objects of the ``.pts`` files next to the images."""
    listed = listing.below(folder)
    texts = {without_suffix(path): path for path in listed.others if path.lower().endswith(_SUFFIX)}
    found, bare, first = list[Annotated](), list[str](), None
    for path in listed.images:
        if (text := texts.pop(without_suffix(path), None)) is None:
            bare.append(os.path.basename(path))  # noqa: PTH119
            continue
        one = files.pts(text, path)
        first = first or one
        if len(one.points) != len(first.points):
            raise wrong(text, f"it has {len(one.points)} points", f"{len(first.points)}, as {first.where}")
        found.append(Annotated(path=path, boxes=(_box(one),), where=text))
    left = [os.path.basename(path) for path in texts.values()]  # noqa: PTH119
    remarks = (
        *remark("warning", "images-without-points", bare, "{count|image has|images have} no .pts file: left out."),
        *remark("warning", "labels-without-image", left,
                "{count|label file has|label files have} no image: left out."),
    )  # fmt: skip
    skeleton = Skeleton(points=len(first.points)) if first else None
    return Annotations(images=tuple(found), classes=(), remarks=remarks, skeleton=skeleton)


def _box(one: Landmarks) -> Box:
    """The object: its box in the list, or the box around its points."""
    xs, ys = ([point[k] for point in one.points] for k in (0, 1))
    x1, y1, x2, y2 = one.box or (min(xs), min(ys), max(xs), max(ys))
    x2, y2 = max(x2, x1 + 1), max(y2, y1 + 1)
    return Box(0, x1, y1, x2, y2, (x2 - x1) * (y2 - y1), keypoints=tuple((x, y, 2) for x, y in one.points))


def _layout(folder: Path) -> _Layout | None:
    lists = dict[str, Path]()
    for path in files.lists(folder):
        words = without_suffix(path.name).casefold().replace("-", "_").split("_")
        split = next((word for word in words if role(word)), "")
        if split in lists:
            return None
        lists[split] = path
    if lists and ("" not in lists or len(lists) == 1):
        first = next(iter(lists.values()))
        return _Layout(lists=lists, mark=first.relative_to(folder).as_posix())
    if next(files.found(folder, _SUFFIX), None) and not _has_splits(folder):
        return _Layout(lists={}, mark=f"*{_SUFFIX}")
    return None


def _has_splits(folder: Path) -> bool:
    names = listing.folders(folder)
    return bool(names) and all(map(role, names))
