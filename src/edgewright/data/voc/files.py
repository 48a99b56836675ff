"""Where a Pascal VOC set has its XML files, its images and the lists of its splits."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec

from edgewright.core.image_files import SUFFIXES
from edgewright.data.boxes import text_of, wrong
from edgewright.data.listing import below
from edgewright.data.lookup import ends, is_outside, without_suffix
from edgewright.data.splits import role

IMAGES = ("jpegimages", "images", "data", "img")
"""Folders for images, in any capitals: the development kit's, most tools', FiftyOne's, Supervisely's."""

ANNOTATIONS = ("annotations", "labels", "annotation", "xmls", "xml", "ann")
"""Folders for XML files, in any capitals."""

_KIT = ("jpegimages", "annotations")
"""Folders that make a VOC set even without a file in them."""

_LISTS = ("imagesets", "main")
_WHOLE = "default"
"""CVAT's and Datumaro's name for a set without splits."""

_HEAD, _TRIES = 4096, 20
_FLAG = re.compile(r"\s+-?\d$")
_ROOT = re.compile(rb"<annotation[\s/>]")


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """The folders of a set. `flat`: the XML files are next to the images, and folders below do not count."""

    folder: Path
    images: tuple[Path, ...]
    annotations: Path
    lists: Path | None = None
    flat: bool = False
    mark: str


class Line(msgspec.Struct, frozen=True):
    """An image of a split: where that is said, and the name of its XML file without the suffix."""

    where: str
    name: str


def layout(folder: Path) -> Layout | None:
    """The folders of the VOC set in `folder`; None if it is not one."""
    with os.scandir(folder) as entries:
        names = {entry.name.lower(): entry.name for entry in entries if entry.is_dir()}
    images = [folder / names[name] for name in IMAGES if name in names]
    lists = _lists(folder / names[_LISTS[0]]) if _LISTS[0] in names else None
    is_kit = all(name in names for name in _KIT)
    for path in (folder / names[name] for name in ANNOTATIONS if name in names):
        if (is_kit or _has_annotations(path)) and (images or _has_images(folder)):
            beside = images[0].name if images else "images"
            every = (*images, folder) if images else (folder,)
            return Layout(folder=folder, images=every, annotations=path, lists=lists, mark=f"{beside} and {path.name}")
    for path in images:
        if _has_annotations(path):
            mark = f"{path.name}/*.xml"
            return Layout(folder=folder, images=(path,), annotations=path, lists=lists, mark=mark)
    if _has_images(folder) and _has_annotations(folder, deep=False):
        return Layout(folder=folder, images=(folder,), annotations=folder, lists=lists, flat=True, mark="*.xml")
    return None


def splits(found: Layout) -> list[str]:
    """The names of the lists in ``ImageSets/Main``, sorted; else of the folders below the annotations that are splits.

    The lists a class of the development kit (``cat_val.txt``) are no splits, nor is one that is the whole set.
    """
    if found.lists:
        names = {path.stem for path in found.lists.glob("*.txt") if not path.name.startswith(".")}
        if names:
            kept = sorted(name for name in names if not any(name.endswith(f"_{other}") for other in names))
            return [] if kept == [_WHOLE] else kept
    return _split_folders(found)


def xml_files(found: Layout) -> tuple[dict[str, Path], list[str]]:
    """The XML files by their paths below the annotations' folder, without the suffix; sorted. And the names of those
    that are links which lead nowhere, or pipes."""
    start = len(str(found.annotations).rstrip("/")) + 1
    listed = below(found.annotations, deep=not found.flat)
    paths = {path[start:-4]: Path(path) for path in listed.others if path.lower().endswith(".xml")}
    return paths, [path[start:] for path in listed.dead if path.lower().endswith(".xml")]


def listed(found: Layout, split: str, names: Sequence[str]) -> tuple[Line, ...] | None:
    """The images that the list of `split` names, out of `names`, those of the XML files; None if there is no list.

    Raises `InvalidInput` with the line where one has no XML file, or is listed twice.
    """
    path = found.lists / f"{split or _WHOLE}.txt" if found.lists else None
    if path is None or not path.is_file():
        return None
    known, lines, kept = set(names), dict[str, int](), list[Line]()
    for number, line in enumerate(text_of(path).splitlines(), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        name = next((name for name in _readings(line.strip()) if name in known), None)
        if name is None:
            missing = _below_images(_without_ending(_FLAG.sub("", line.strip()).strip('"')))[-1:]
            what = f"{found.annotations.name}/{''.join(missing)}.xml is missing"
            raise wrong(where, what, "an annotation for each image")
        if name in lines:
            raise wrong(where, f"'{name}' is already in line {lines[name]}", "an image once")
        lines[name] = number
        kept.append(Line(where, name))
    return tuple(kept)


def of_split(found: Layout, split: str, names: Sequence[str]) -> list[str]:
    """Those of `names` that are in the folder of `split`: all where it is ""."""
    return [name for name in names if not split or name.startswith(f"{split}/")]


def _readings(line: str) -> Iterator[str]:
    """What a line may mean: a name, quoted (CVAT), with a suffix, below folders, or a name before 1, 0 or -1."""
    quoted = re.match(r'"([^"]+)"', line)
    for text in dict.fromkeys((*([quoted[1]] if quoted else []), line, _FLAG.sub("", line))):
        for name in dict.fromkeys((_without_ending(text), text)):
            yield from _below_images(name)


def _without_ending(name: str) -> str:
    return without_suffix(name) if name.lower().endswith((*SUFFIXES, ".xml")) else name


def _below_images(name: str) -> list[str]:
    """`name` and what of it is below a folder of images; any end of a path that leads elsewhere."""
    every = ends(name)
    folders = every[0].split("/")[:-1] if every else []
    return [
        end for k, end in enumerate(every) if k == 0 or is_outside(name) or folders[k - 1].lower() in IMAGES
    ]  # fmt: skip


def _lists(folder: Path) -> Path:
    """The folder with the lists: ``Main``, or `folder` itself."""
    with os.scandir(folder) as entries:
        return next((Path(one.path) for one in entries if one.name.lower() == _LISTS[1] and one.is_dir()), folder)


def _split_folders(found: Layout) -> list[str]:
    if found.flat:
        return []
    with os.scandir(found.annotations) as entries:
        every = [entry for entry in entries if not entry.name.startswith(".")]
    names = sorted(entry.name for entry in every if entry.is_dir())
    loose = any(entry.name.lower().endswith(".xml") for entry in every if entry.is_file())
    return names if names and not loose and all(role(name) for name in names) else []


def _has_images(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(entry.name.lower().endswith(SUFFIXES) and entry.is_file() for entry in entries)


def _has_annotations(folder: Path, *, deep: bool = True) -> bool:
    """Whether one of the first XML files in `folder`, or in a folder in it, is an annotation of VOC."""
    with os.scandir(folder) as entries:
        every = [entry for entry in entries if not entry.name.startswith(".")]
    if any(_is_annotation(path) for path in islice(_xml(every), _TRIES)):
        return True
    return deep and any(_has_annotations(Path(one.path), deep=False) for one in every if one.is_dir())


def _xml(entries: Sequence[os.DirEntry[str]]) -> Iterator[Path]:
    return (Path(one.path) for one in entries if one.name.lower().endswith(".xml") and one.is_file())


def _is_annotation(path: Path) -> bool:
    with path.open("rb") as file:
        return bool(_ROOT.search(file.read(_HEAD).replace(b"\0", b"")))  # every second byte of UTF-16
