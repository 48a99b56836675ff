"""YOLO's text files: a YAML with ``names`` and ``train``, ``val``, ``test``, and ``labels/`` that mirrors ``images/``.

Read as Ultralytics reads them (https://docs.ultralytics.com/datasets/detect), but strictly: a row is a class and a
box's centre, width and height as parts of the image. An image without a label file is an image without boxes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
from PIL import Image

from edgewright.core.errors import InvalidInput
from edgewright.core.files import absolute
from edgewright.core.lazy import require

from .boxes import FORMATS, SUFFIXES, Annotations, Box, box, finite, text_of, wrong

SPLITS = ("train", "val", "test")


class Description(msgspec.Struct, frozen=True):
    """What the YAML says: its path, the image folders of each split, the class names."""

    path: Path
    splits: dict[str, tuple[Path, ...]]
    classes: tuple[str, ...]


def files(folder: Path) -> list[Path]:
    """The YAML files of `folder` that describe a set: ``data.yaml``, or those that have ``names`` and a split."""
    if (folder / "data.yaml").is_file():
        return [folder / "data.yaml"]
    every = sorted(path for suffix in ("yaml", "yml") for path in folder.glob(f"*.{suffix}") if path.is_file())
    return [path for path in every if _looks_right(path)]


def describe(path: Path) -> Description:
    """Read a YAML. Raises `InvalidInput` with file and line, `Unavailable` without PyYAML (of ``edgewright[host]``)."""
    content = _loaded(path)
    classes = _names(path, content)
    base = _base(path, content)
    splits = {name: _folders(path, base, name, content[name]) for name in SPLITS if content.get(name) is not None}
    if not splits:
        raise wrong(str(path), "it names no images", "train, val or test with a folder of images")
    return Description(path, splits, classes)


def read(description: Description, split: str) -> Annotations:
    """The images and boxes of one split. Raises `InvalidInput` that names the file and the line."""
    images, dropped = list[tuple[str, tuple[Box, ...]]](), 0
    for folder in description.splits[split]:
        every = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
        for image in sorted(every):
            found = _boxes(image, _label_file(image, description.path.parent), description)
            kept = tuple(one for one in found if one is not None)
            dropped += len(found) - len(kept)
            images.append((str(image), kept))
    return Annotations(images=tuple(images), classes=description.classes, dropped=dropped)


def _looks_right(path: Path) -> bool:
    text = path.read_text(encoding="utf-8", errors="replace")
    return bool(re.search(r"^names\s*:", text, re.M) and re.search(r"^(train|val|test)\s*:", text, re.M))


def _loaded(path: Path) -> Mapping[Any, Any]:
    yaml = require("yaml", "host")
    try:
        content = yaml.safe_load(text_of(path))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise wrong(where, f"this is no YAML ({getattr(error, 'problem', None) or error})", "YAML") from None
    except (ValueError, RecursionError) as error:
        raise wrong(str(path), f"this is no YAML ({error})", "YAML") from None
    if not isinstance(content, Mapping):
        raise wrong(str(path), "it holds no names", "names, and train, val or test")
    return content


def _names(path: Path, content: Mapping[Any, Any]) -> tuple[str, ...]:
    names = content.get("names")
    if isinstance(names, Mapping):
        if set(names) != set(range(len(names))):
            raise wrong(_at(path, "names"), "the keys of names are not 0, 1, 2 ...", "every class index once, from 0")
        names = [names[k] for k in range(len(names))]
    if not isinstance(names, list) or not names:
        raise wrong(_at(path, "names"), "it has no names", "names: a list, or the names by index")
    bad = next((name for name in names if isinstance(name, bool) or not isinstance(name, (str, int))), None)
    if bad is not None:
        raise wrong(_at(path, "names"), f"a name is {bad!r}", "text; put names such as yes, no or null in quotes")
    if content.get("nc", len(names)) != len(names):
        raise wrong(_at(path, "nc"), f"nc is {content['nc']}, and there are {len(names)} names", "as many names as nc")
    return tuple(str(name) for name in names)


def _base(path: Path, content: Mapping[Any, Any]) -> Path:
    """The folder that the splits are relative to: ``path`` below the YAML, or the YAML's own folder."""
    given, folder = content.get("path"), path.parent
    # Ultralytics looks for a relative path in a folder of its settings; the set's own name there is this folder.
    if given is None or absolute(folder / str(given)) == folder or PurePosixPath(str(given)).name == folder.name:
        return folder
    return _below(path, folder, "path", str(given))


def _folders(path: Path, base: Path, split: str, value: Any) -> tuple[Path, ...]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(one, str) and one for one in values):
        raise wrong(_at(path, split), f"{split} is {value!r}", "a folder of images, or a list of folders")
    return tuple(_below(path, base, split, one) for one in values)


def _below(path: Path, base: Path, key: str, value: str) -> Path:
    # Roboflow writes "../train/images" for a folder beside the YAML; Ultralytics takes the "../" off, so do we.
    inside = value[3:] if value.startswith("../") and not (base / value).exists() else value
    found = absolute(base / inside)
    if not found.is_relative_to(path.parent):
        raise wrong(_at(path, key), f"{key} leads out of the folder ('{value}')", "a folder below the YAML's own")
    if not found.is_dir():
        raise wrong(_at(path, key), f"{key}: there is no folder {found}", "a folder of images (lists are not read)")
    return found


def _at(path: Path, key: str) -> str:
    lines = enumerate(text_of(path).splitlines(), 1)
    number = next((k for k, line in lines if re.match(rf"{key}\s*:", line)), None)
    return f"{path}, line {number}" if number else str(path)


def _label_file(image: Path, root: Path) -> Path:
    """The label file of `image`: the last folder ``images`` below `root` becomes ``labels``, else it lies beside it."""
    parts = list(image.relative_to(root).with_suffix(".txt").parts)
    for k in range(len(parts) - 2, -1, -1):
        if parts[k] == "images":
            parts[k] = "labels"
            break
    return root.joinpath(*parts)


def _boxes(image: Path, labels: Path, description: Description) -> list[Box | None]:
    if not labels.exists():
        return []
    found = list[Box | None]()
    rows = [(number, line.split()) for number, line in enumerate(text_of(labels).splitlines(), 1) if line.strip()]
    width, height = _size(image) if rows else (0, 0)
    for number, row in rows:
        label, (cx, cy, w, h) = _row(f"{labels}, line {number}", row, description)
        corners = ((cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height)
        found.append(box(label, corners))
    return found


def _row(where: str, row: list[str], description: Description) -> tuple[int, tuple[float, ...]]:
    if len(row) != 5:
        raise wrong(where, f"it has {len(row)} columns", "class, centre x, centre y, width, height")
    count = len(description.classes)
    if not (row[0].isdecimal() and len(row[0]) < 10 and int(row[0]) < count):
        raise wrong(where, f"the class is '{row[0]}'", f"an index from 0 to {count - 1}, as in {description.path.name}")
    try:
        values = tuple(float(value) for value in row[1:])
    except ValueError:
        raise wrong(where, f"the box is {' '.join(row[1:])}", "four finite numbers") from None
    if not finite(values):
        raise wrong(where, f"the box is {' '.join(row[1:])}", "four finite numbers")
    if not all(0 <= value <= 1 for value in values[:2]):
        raise wrong(where, f"the centre is {row[1]} {row[2]}", "parts of the image, 0 to 1 (not pixels)")
    return int(row[0]), values


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path, formats=FORMATS) as image:  # the header only
            return image.size
    except (OSError, ValueError, SyntaxError, ImportError, Image.DecompressionBombError) as error:
        # ImportError: Ultralytics, where an application imported it, wraps Image.open to seek a plugin for such files.
        raise InvalidInput(
            f"{path} is no readable image ({error}).",
            "Its size is needed: the boxes are parts of it.",
            "Replace or remove it, with its labels.",
        ) from None
