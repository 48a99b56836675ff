"""Which YOLO layout a folder has: Ultralytics' YAML, Darknet's ``obj.data``, or folders of images and labels.

Darknet's is also CVAT's "YOLO 1.1". Without either file the class names are in ``classes.txt`` (LabelImg, Label
Studio), ``obj.names`` or ``_darknet.labels`` (Roboflow), or unknown, and folders called like splits are splits.
FiftyOne's YOLOv4 has a list of images beside ``obj.names``.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from edgewright.core.errors import IntegrityError, InvalidInput
from edgewright.core.image_files import SUFFIXES
from edgewright.data.boxes import text_of, wrong
from edgewright.data.remarks import remark

from . import description
from .paths import CLASS_FILES, Layout, called, head, located, plain, split_of
from .rows import looks_like_rows

IMAGES, LABELS = "images", "labels"
PAIR = "images/ and labels/"

_LIST, _LISTED = "images.txt", "data"
"""FiftyOne's list of the images, and the folder that they are in with their labels."""

_PEEKS = 20
"""So many label files are looked into for a first row."""


def marks(folder: Path) -> list[str]:
    """What in `folder` itself says that it is a YOLO set; empty if nothing does."""
    if found := [path.name for path in _descriptions(folder)]:
        return found
    if (files := _class_files(folder)) and has_labels(folder):
        return [path.relative_to(folder).as_posix() for path in files]
    return [PAIR] if not files and _pair_of(folder) else []


def layout(folder: Path) -> Layout:
    """The layout of `folder`, which has `marks`. Raises `InvalidInput` if it is unclear, with file and line."""
    found = _descriptions(folder)
    if len(found) > 1:
        raise InvalidInput(
            f"{folder} is described by {' and by '.join(path.name for path in found)}.",
            "edgewright cannot know which of them to use.",
            "Keep one of them, or rename the other (to end in .bak).",
        )
    if found:
        return description.described(found[0]) if _is_yaml(found[0]) else _darknet(found[0])
    return _folders(folder)


def minimal() -> str:
    """What to write where the layout cannot be read."""
    return (
        "Write a data.yaml next to the folder images/, with three lines: `train: images/train`, `val: images/val`, "
        "`names: [cat, dog]`. The label of images/val/a.jpg is labels/val/a.txt."
    )


def _is_yaml(path: Path) -> bool:
    return path.suffix.lower() in (".yaml", ".yml")


def _descriptions(folder: Path) -> list[Path]:
    """The files that describe the whole set, sorted."""
    with os.scandir(folder) as entries:
        files = sorted(e.name for e in entries if e.name.lower().endswith((".yaml", ".yml", ".data")) and e.is_file())
    paths = [folder / name for name in files if not name.startswith(".")]
    return [path for path in paths if (description.describes(path) if _is_yaml(path) else _is_darknet(path))]


# --- Darknet ----------------------------------------------------------------------------------------------------------


def _is_darknet(path: Path) -> bool:
    if path.name == "obj.data":
        return True
    text = head(path)
    return all(re.search(rf"^\s*{key}\s*=", text, re.MULTILINE) for key in ("names", "(?:train|valid)"))


def _darknet(path: Path) -> Layout:
    """What ``obj.data`` says: lines of ``key = value``, whose paths often begin with a "data/" that is not there."""
    lines = {
        key.strip().lower(): (number, plain(value))
        for number, line in enumerate(text_of(path).splitlines(), 1)
        for key, equals, value in [line.partition("=")]
        if equals and not line.lstrip().startswith("#")
    }
    named = {split: key for key in lines if (split := split_of(key)) and lines[key][1]}
    for wanted, given in (("names = obj.names", "names" in lines), ("train = train.txt", named)):
        if not given:
            raise wrong(str(path), f"it has no {wanted.partition(' ')[0]}", f"a line such as: {wanted}")
    names = _darknet_file(path, lines, "names")
    if names is None or not names.is_file():
        raise _not_there(path, lines, "names")
    classes = _classes(names)
    number, count = lines.get("classes", (0, str(len(classes))))
    if count != str(len(classes)):
        what = f"classes is {count}, and there are {len(classes)} names"
        raise wrong(f"{path}, line {number}", what, "as many names as classes")
    found = {split: _darknet_file(path, lines, key) for split, key in named.items()}
    sources = {split: (source,) for split, source in found.items() if source}
    if not sources:
        raise _not_there(path, lines, next(iter(named.values())))
    # Tools copy a template of the file that names lists which they do not write.
    text = f"{{count|split|splits}} of {path.name} does not exist: left out."
    noticed = remark("warning", "splits-left-out", sorted(set(found) - set(sources)), text)
    return Layout(
        folder=path.parent, where=path, base=path.parent, classes=classes, sources=sources, beside=True,
        remarks=tuple(noticed),
    )  # fmt: skip


def _darknet_file(path: Path, lines: Mapping[str, tuple[int, str]], key: str) -> Path | None:
    number, value = lines[key]
    try:
        found = located(path.parent, [path.parent], value, any_ending=True)
    except IntegrityError as error:
        raise IntegrityError(f"{path}, line {number}: {error.what}", error.why, error.fix) from None
    return found[0] if found and (found[0].is_file() or found[0].is_dir()) else None


def _not_there(path: Path, lines: Mapping[str, tuple[int, str]], key: str) -> InvalidInput:
    number, value = lines[key]
    return wrong(f"{path}, line {number}", f"{key}: there is no '{value}'", f"a file below {path.parent}")


# --- folders ----------------------------------------------------------------------------------------------------------


def _folders(folder: Path) -> Layout:
    """Images and labels in folders, with class names in a file or without any."""
    files = _class_files(folder)
    contents = {path: _classes(path) for path in files}
    if len(set(contents.values())) > 1:
        one, other = next((a, b) for a, b in itertools.combinations(files, 2) if contents[a] != contents[b])
        raise InvalidInput(
            f"{one} and {other} name different classes.",
            "Labels are numbers, and each file gives them another meaning.",
            "Keep the file that belongs to the labels.",
        )
    if _is_listed(folder):
        return Layout(
            folder=folder, where=files[0], base=folder, classes=contents[files[0]], sources={"": (folder / _LIST,)},
            beside=True,
        )  # fmt: skip
    root = _root(folder)
    sources = dict[str, tuple[Path, ...]]()
    for below in _split_folders(root):
        split = split_of(below.name)
        assert split
        sources[split] = (*sources.get(split, ()), below)
    if twice := next((found for found in sources.values() if len(found) > 1), None):
        raise InvalidInput(
            f"{twice[0]} and {twice[1].name} are the same split.",
            "edgewright cannot know which of them to use.",
            "Keep one of them.",
        )
    return Layout(
        folder=folder, where=files[0] if files else folder, base=folder, classes=contents[files[0]] if files else (),
        sources=sources or {"": (root,)},
    )  # fmt: skip


def _root(folder: Path) -> Path:
    """The folder ``images`` in `folder`, or `folder` itself."""
    images = called(folder, IMAGES)
    return images if images.is_dir() else folder


def _is_listed(folder: Path) -> bool:
    return all((folder / name).is_file() for name in ("obj.names", _LIST)) and (folder / _LISTED).is_dir()


def _split_folders(root: Path) -> list[Path]:
    with os.scandir(root) as entries:
        return sorted(root / e.name for e in entries if split_of(e.name) and e.is_dir())


def _class_files(folder: Path) -> list[Path]:
    """The files that name the classes: in `folder`, next to the labels (LabelImg), or in a folder of a split."""
    places = [folder, called(folder, LABELS), called(folder, IMAGES)]
    places += [below for place in places if place.is_dir() for below in _split_folders(place)]
    return [path for place in places for name in CLASS_FILES if (path := place / name).is_file()]


def _classes(path: Path) -> tuple[str, ...]:
    names = [line.strip() for line in text_of(path).rstrip().splitlines()]
    if not names:
        raise wrong(str(path), "it has no names", "one class name per line")
    if "" in names:
        raise wrong(f"{path}, line {names.index('') + 1}", "the line is empty", "one class name per line")
    return tuple(names)


def has_labels(folder: Path) -> bool:
    """Whether there are label files: below ``labels/``, or next to an image."""
    root = _root(folder)
    splits = _split_folders(root)
    if any(next(_label_files(called(place, LABELS)), None) for place in (folder, *splits)):
        return True
    listed = [folder / _LISTED] if _is_listed(folder) else []
    return any(_has_label_beside(place) for place in (root, *splits, *listed))


def _has_label_beside(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries]
    texts = {name[:-4] for name in names if name.endswith(".txt")}
    stems = (os.path.splitext(name) for name in names)  # noqa: PTH122 - there may be a million
    return bool(texts) and any(suffix.lower() in SUFFIXES and stem in texts for stem, suffix in stems)


def _pair_of(folder: Path) -> bool:
    return called(folder, IMAGES).is_dir() and next(_label_files(called(folder, LABELS)), None) is not None


def _label_files(folder: Path) -> Iterator[Path]:
    """Text files below `folder` that are no class names, in no order. Links in `folder` itself are followed."""
    linked = [path for path in folder.iterdir() if path.is_symlink() and path.is_dir()] if folder.is_dir() else []
    for place in (folder, *linked):
        for parent, _, names in os.walk(place):
            texts = (Path(parent, name) for name in names if name.endswith(".txt") and name not in CLASS_FILES)
            yield from (path for path in texts if path.is_file())


def require_rows(folder: Path) -> None:
    """Raise unless ``labels/`` below `folder` holds YOLO's rows: without class names nothing else says so."""
    files = itertools.islice(_label_files(called(folder, LABELS)), _PEEKS)
    if bad := next((path for path in files if looks_like_rows(path) is False), None):
        raise InvalidInput(
            f"{folder} has {PAIR} with .txt files, and nothing that names the classes; {bad} holds no YOLO rows.",
            "Expected rows: class, center x, center y, width, height, as fractions of the image.",
            minimal(),
        )
