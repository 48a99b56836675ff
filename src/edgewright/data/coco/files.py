"""Which files of a folder hold COCO annotations, for which splits, and where their images are."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgewright.core.errors import InvalidInput
from edgewright.data.splits import ROLES, role
from edgewright.data.wants import Wants

NAMES = ("instances.json", "_annotations.coco.json", "annotations.json")
"""Names of a file for all of a folder, whatever is in it."""

BELOW = ("annotations", "annotation", "ann")
"""Folders for annotation files, in any capitals."""

IMAGES = ("images", "data")
"""Folders for images: COCO's and most others', FiftyOne's."""

_PREFIX = "instances_"
_POINTS = ("person_keypoints_", "keypoints_")
CLASS_MAPS = ("panoptic_", "stuff_")
"""Starts of the names of files with masks of classes."""

_WHOLE = "default"
"""CVAT's and Datumaro's name for a set without splits."""

_OTHER_TASKS = {
    "person_keypoints": "keypoints", "keypoints": "keypoints", "captions": "captions", "panoptic": "panoptic segments",
    "stuff": "segments of stuff", "image_info": "no annotations",
}  # fmt: skip
"""What COCO's and Datumaro's other files hold, by the start of their names."""

_HEAD, _LARGE = 1 << 16, 1 << 26
_BOM = b"\xef\xbb\xbf"
_FIRST_KEY = re.compile(rb'\s*\{\s*"([^"]*)"\s*:')
_KEYS = ("images", "annotations", "categories")
_COMMON_KEYS = (*_KEYS, "info", "license", "licenses", "type")


class _Keys(msgspec.Struct):
    """The values of the keys, not decoded."""

    images: msgspec.Raw = msgspec.Raw(b"")
    annotations: msgspec.Raw = msgspec.Raw(b"")
    categories: msgspec.Raw = msgspec.Raw(b"")


def marks(folder: Path) -> list[str]:
    """What in `folder` says that it is a COCO set: one name, or several files of which it is not clear which counts."""
    known, by_split = _known(folder)
    if known or by_split:
        return [*(path.name for path in known), *([f"{by_split[0].parent.name}/{_PREFIX}*.json"] if by_split else [])]
    others, unfit = _others(folder)
    names = [path.relative_to(folder).as_posix() for path in others or unfit[:1]]
    return [", ".join(names)] if names and _by_word(others) is not None else names


def files(folder: Path, wants: Wants | None = None) -> dict[str, Path]:
    """The annotation files of `folder` by split; a file for all of it has the split "".

    `wants`: the task's labels; if it is None, a file for another task is used if there is no other. Raises
    `InvalidInput` if several files are for the same images, or where all are for another task.
    """
    if wants is not None and wants.keypoints and (found := _of_task(folder, _POINTS)):
        return found
    known, instances = _known(folder)
    if len(known) > 1 or (known and instances):
        raise _unclear(folder, [*known, *instances])
    if known:
        return {"": known[0]}
    if instances:
        return _by_stem(folder, instances)
    others, unfit = _others(folder)
    if not others and unfit:
        if wants is None and (found := _of_task(folder, (*_POINTS, *CLASS_MAPS))):
            return found
        raise InvalidInput(
            f"{unfit[0]} is not a file of COCO's object detection: it holds {_OTHER_TASKS[_task(unfit[0])]}.",
            "Boxes are read from instances_*.json.",
            "Add the file with the boxes, or remove this one.",
        )
    if (by_word := _by_word(others)) is None:
        raise _unclear(folder, others)
    return by_word


def class_maps(folder: Path) -> dict[str, Path]:
    """The files with masks of classes (panoptic, stuff) by split; empty if there are none."""
    return _of_task(folder, CLASS_MAPS)


def foreign(folder: Path) -> tuple[str, bool]:
    """The name of the file for another task that `files` uses if the task is not known, and whether it has boxes.

    The name is "" if there is no such file.
    """
    found = next(iter(files(folder).values()), None)
    name = found.name if found and _task(found) else ""
    return name, not name.startswith(CLASS_MAPS)


def chosen(folder: Path, split: str, wants: Wants | None = None) -> Path:
    """The annotation file for `split`; raises `InvalidInput` if there is none."""
    found = files(folder, wants)
    if split not in found:
        have = f"There are annotations for: {', '.join(name or 'the whole folder' for name in found)}." if found else ""
        raise InvalidInput(f"{folder} has no COCO annotations for '{split}'.", have, "Name one of its splits.")
    return found[split]


def _of_task(folder: Path, starts: Sequence[str]) -> dict[str, Path]:
    """The files that begin with the first of `starts` that there is, by split."""
    every = [*_json(folder), *_below(folder)]
    for start in starts:
        if found := [path for path in every if path.name.startswith(start)]:
            return _by_stem(folder, found, start)
    return {}


def image_folders(folder: Path, path: Path, split: str) -> list[Path]:
    """Where the images of the annotation file `path` may be, the likeliest first."""
    stem = path.stem
    for start in (_PREFIX, *_POINTS, *CLASS_MAPS):
        stem = stem.removeprefix(start)
    names = [] if path.name in NAMES else [stem]
    if split:
        same = next((words for words in ROLES.values() if split.casefold() in words), ())
        names += [*(word for word in _words(stem) if role(word)), split, f"{split}2017", *same]
    images = [place for name in IMAGES for place in _called(folder, name)]
    likely = [found for name in dict.fromkeys(names) for place in (folder, *images) for found in _called(place, name)]
    return [*likely, *images, path.parent, folder]


def _called(folder: Path, name: str) -> list[Path]:
    """The folders in `folder` that are called `name`, in any capitals; the one in these capitals first."""
    with os.scandir(folder) as entries:
        found = [one.name for one in entries if one.name.casefold() == name.casefold() and one.is_dir()]
    return [folder / one for one in sorted(found, key=lambda one: (one != name, one))]


def _known(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files whose names say enough: those for all of `folder`, and those by split."""
    whole = [path for name in NAMES if (path := folder / name).is_file()]
    below = [path for path in _below(folder) if path.name.startswith(_PREFIX)]
    return whole, below


def _below(folder: Path) -> list[Path]:
    """The JSON files in the folders for annotations."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.name.lower() in BELOW and entry.is_dir())
    return [path for name in names for path in _json(folder / name)]


def _json(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        names = [one.name for one in entries if one.name.lower().endswith(".json") and one.is_file()]
    return [folder / name for name in sorted(names) if not name.startswith(".")]


def _others(folder: Path) -> tuple[list[Path], list[Path]]:
    """Files of any name with COCO's keys: for object detection, and for other tasks."""
    every = [*_json(folder), *_below(folder)]
    named = {path for path in every if _task(path)}
    found = [path for path in every if path not in named and _has_keys(path)]
    return found, [path for path in every if path in named and _first_key(_head(path)) in _COMMON_KEYS]


def _task(path: Path) -> str:
    """The start of a file's name that says that it is for another task; "" where it does not."""
    return next((start for start in _OTHER_TASKS if path.name.startswith(f"{start}_")), "")


def _has_keys(path: Path) -> bool:
    """Whether a JSON file has COCO's keys with lists below them, as far as can be told cheaply."""
    first = _first_key(_head(path))
    if not first or (path.stat().st_size > _LARGE and first not in _COMMON_KEYS):
        return False
    content = path.read_bytes().removeprefix(_BOM)
    try:
        found = msgspec.json.decode(content, type=_Keys)
    except (msgspec.ValidationError, RecursionError):
        return False
    except msgspec.DecodeError:  # read to be refused with its line
        return all(f'"{key}"'.encode() in content for key in _KEYS)
    return all(bytes(memoryview(getattr(found, key))[:1]) == b"[" for key in _KEYS)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD).removeprefix(_BOM)


def _first_key(head: bytes) -> str:
    found = _FIRST_KEY.match(head)
    return found[1].decode("utf-8", "replace") if found else ""


def _by_stem(folder: Path, paths: Sequence[Path], start: str = _PREFIX) -> dict[str, Path]:
    """The files ``instances_<split>.json`` by split, which has no year where that is clear."""
    by_stem = {path.stem.removeprefix(start): path for path in paths}
    if len(by_stem) < len(paths):
        raise _unclear(folder, paths)
    if list(by_stem) == [_WHOLE]:
        return {"": paths[0]}
    short = {stem: re.sub(r"_?(19|20)\d\d$", "", stem) or stem for stem in by_stem}
    # val2014 beside val2017 keep their years: which of them "val" means is not clear.
    count = Counter(short.values())
    return {short[stem] if count[short[stem]] == 1 else stem: path for stem, path in by_stem.items()}


def _by_word(paths: Sequence[Path]) -> dict[str, Path] | None:
    """Files of any name by the split that their names hold; None if several do not say it."""
    found = dict[str, Path]()
    for path in paths:
        word = next((word for word in _words(path.stem) if role(word)), "")
        split = re.sub(r"(19|20)\d\d$", "", word)
        if split in found or (not split and len(paths) > 1):
            return None
        found[split] = path
    return found


def _words(stem: str) -> list[str]:
    return re.findall(r"[a-z]+\d*", stem.casefold())


def _unclear(folder: Path, paths: Sequence[Path]) -> InvalidInput:
    names = [path.relative_to(folder).as_posix() for path in paths]
    return InvalidInput(
        f"{folder} holds annotations twice: {', and '.join(names[:5])}{' ...' if len(names) > 5 else ''}.",
        "edgewright cannot know which of them to use.",
        "Keep one of them, or name them by split: instances_train.json, instances_val.json.",
    )
