"""The classes of masks: their names, and the values in a file that mean them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from edgewright.core.errors import InvalidInput
from edgewright.data.boxes import text_of, wrong
from edgewright.data.choosing import spread
from edgewright.data.pairs import BORDER, IGNORE, Ids, gray, values
from edgewright.data.remarks import Remark, remark
from edgewright.data.yolo import description

from .layouts import KIT, ROBOFLOW

LISTS = ("classes.txt", "label_names.txt", "labels.txt", "class_names.txt")
"""Files with a class name in each line, in the order of the ids."""

COLORS = ("class_dict.csv", "labelmap.txt", "label_colors.txt")
"""Files with a name and a color for each class: Kaggle's, CVAT's, and CamVid's."""

ADE = "objectInfo150.txt"
"""ADE20K's table. Its ids begin at 1, and 0 is no class."""

UNKNOWN = ("void", "ignore", "ignored", "unlabeled", "unlabelled", "unknown")
"""Names of pixels that do not count."""

VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
CITYSCAPES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
_LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Cityscapes' ids (``labelIds``) of the 19 classes of training, in their order. All others up to 33 are ignored."""

SAMPLE = 16
"""So many masks are opened before a run, to recognize what their values mean."""

_BINARY = 0.9
"""If at least this part of the pixels of gray masks is 0 or 255, they show one object, and the rest is its edge."""


class Classes(msgspec.Struct, frozen=True, kw_only=True):
    """The class names in order; empty if nothing names them. `ids`: (value, class); None if values are classes."""

    names: tuple[str, ...] = ()
    ids: Ids | None = None
    remarks: tuple[Remark, ...] = ()


def classes(folders: Sequence[Path], files: Sequence[str]) -> Classes:
    """Return the classes of the masks `files`. The first of `folders` that names them counts.

    Raises `InvalidInput` with file and line for a malformed list, and with the file if colors have no list.
    """
    found = next((one for folder in folders for one in _named(folder)), None)
    if found is None:
        found = _known(folders, files)
    sample = [(path, gray(values(path))) for path in spread(files, SAMPLE)]
    if found.ids is None and (bare := _objects(sample, found.names)):
        return msgspec.structs.replace(found, ids=bare[0], remarks=(*found.remarks, *bare[1]))
    if found.ids is None:
        for path, pixels in sample:
            if int(pixels.max()) > 65535:
                raise InvalidInput(
                    f"{path} has colors, and no palette.",
                    "Nothing says which class a color is.",
                    f"Write {COLORS[0]} (name,r,g,b), or save class ids as gray levels.",
                )
    if found.ids is None and found.names:
        return msgspec.structs.replace(found, ids=with_border({k: k for k in range(len(found.names))}))
    return found


def _objects(sample: Sequence[tuple[str, np.ndarray]], names: Sequence[str]) -> tuple[Ids, list[Remark]] | None:
    """Return ids for masks of one object, in which 255 is the object. None if 255 has its usual meaning: ignored."""
    if len(names) > 2 or any(pixels.max(initial=0) > BORDER for _, pixels in sample):
        return None
    counts = sum((np.bincount(pixels.reshape(-1), minlength=256) for _, pixels in sample), np.zeros(256, np.int64))
    between = int(counts[1:255].sum())
    if not counts[0] or not counts[255] or counts[0] + counts[255] < _BINARY * counts.sum():
        return None
    if between and np.count_nonzero(counts[1:255]) < 8:
        return None  # a few ids, with a border of 255
    ids = tuple((value, int(value >= 128)) for value in range(256))
    text = "{count|mask has|masks have} the values 0 and 255: 255 is class 1" + (
        ", and values from 128 count as 255." if between else "."
    )
    return ids, remark("note", "binary-masks", [Path(path).name for path, _ in sample], text)


def _known(folders: Sequence[Path], files: Sequence[str]) -> Classes:
    """Return the classes of a data set whose names are fixed."""
    if any((folder / KIT[1]).is_dir() for folder in folders):
        return Classes(names=VOC, ids=(*((k, k) for k in range(len(VOC))), (BORDER, IGNORE)))
    first = Path(files[0]).stem.casefold() if files else ""
    if first.endswith("_labeltrainids"):
        return Classes(names=CITYSCAPES, ids=(*((k, k) for k in range(len(CITYSCAPES))), (BORDER, IGNORE)))
    if first.endswith("_labelids"):
        known = {value: k for k, value in enumerate(_LABEL_IDS)}
        text = "{count|mask has|masks have} the 34 ids of Cityscapes: the 19 classes of training are used."
        return Classes(
            names=CITYSCAPES,
            ids=tuple((value, known.get(value, IGNORE)) for value in (*range(34), BORDER)),
            remarks=tuple(remark("note", "cityscapes-ids", list(map(str, files)), text)),
        )
    return Classes()


def _named(folder: Path) -> Iterator[Classes]:
    """Yield the classes that the files in `folder` name."""
    if (path := folder / ROBOFLOW).is_file():
        yield _roboflow(path)
    for name in COLORS:
        if (path := folder / name).is_file() and (found := _colors(path)):
            yield found
    if (path := folder / ADE).is_file():
        yield _ade(path)
    for name in LISTS:
        if (path := folder / name).is_file():
            names = tuple(line.strip() for line in text_of(path).splitlines() if line.strip())
            _require_names(path, names)
            yield Classes(names=names)
    for path in sorted((*folder.glob("*.yaml"), *folder.glob("*.yml"))):
        if path.is_file() and (names := description.names(path)):
            yield Classes(names=names)


def _roboflow(path: Path) -> Classes:
    """Return the classes of ``_classes.csv``: rows of a value and a name."""
    rows = {}
    for number, row in _rows(path):
        if number == 1:
            continue
        if len(row) != 2 or not row[0].isdecimal() or int(row[0]) > 65535 or int(row[0]) in rows:
            raise wrong(f"{path}, line {number}", f"it is '{','.join(row)}'", "a new value and a name")
        rows[int(row[0])] = row[1]
    names = tuple(rows.values())
    _require_names(path, names)
    return Classes(names=names, ids=with_border({value: k for k, value in enumerate(rows)}))


def _colors(path: Path) -> Classes | None:
    """Return the classes of a file of names and colors; None if it has no colors."""
    names, ids = list[str](), dict[int, int]()
    for number, row in _rows(path):
        text = " ".join(row).strip()
        if not text or text.startswith("#") or (number == 1 and not re.search(r"\d", text)):
            continue
        found = _color_of(row)
        if found is None and path.name == "label_colors.txt" and not names:
            return None
        if found is None:
            raise wrong(f"{path}, line {number}", f"it is '{text[:60]}'", "a name and a color: three numbers to 255")
        name, value = found
        if value in ids:
            raise wrong(f"{path}, line {number}", f"the color of '{name}' is that of another class", "a color once")
        ids[value] = IGNORE if name.casefold() in UNKNOWN else len(names)
        if ids[value] != IGNORE:
            names.append(name)
    _require_names(path, names)
    return Classes(names=tuple(names), ids=tuple(ids.items()))


def _color_of(row: Sequence[str]) -> tuple[str, int] | None:
    """Return the name and the value of a color: "cat,128,0,0", "cat:128,0,0::" (CVAT) or "128 0 0 cat" (CamVid)."""
    text = ",".join(row)
    forms = (
        r"(?P<name>[^:]+):(?P<color>\d+,\d+,\d+):.*",
        r"(?P<name>[^,]+),\s*(?P<color>\d+,\s*\d+,\s*\d+)",
        r"(?P<color>\d+\s+\d+\s+\d+)\s+(?P<name>\S.*)",
    )
    found = next((match for form in forms if (match := re.fullmatch(form, text.strip()))), None)
    if found is None:
        return None
    red, green, blue = map(int, re.findall(r"\d+", found["color"]))
    if max(red, green, blue) > 255:
        return None
    return found["name"].strip(), red + 256 * green + 65536 * blue


def _ade(path: Path) -> Classes:
    """Return the classes of ADE20K's table: the id, three numbers and the names of each class."""
    names = list[str]()
    for number, line in enumerate(text_of(path).splitlines(), 1):
        cells = line.split("\t")
        if cells[0].strip().isdecimal():
            if int(cells[0]) != len(names) + 1:
                raise wrong(f"{path}, line {number}", f"the id is {cells[0]}", f"{len(names) + 1}")
            names.append(cells[-1].partition(",")[0].strip())
    text = "{count|class has|classes have} ids from 1, and 0 is no class, as in ADE20K."
    return Classes(
        names=tuple(names),
        ids=with_border({0: IGNORE, **{k + 1: k for k in range(len(names))}}),
        remarks=tuple(remark("note", "ids-from-one", names, text)),
    )


def with_border(ids: Mapping[int, int]) -> Ids:
    """Return the ids, with 255 as the value of pixels that do not count if it has no class."""
    return tuple(ids.items()) if BORDER in ids else (*ids.items(), (BORDER, IGNORE))


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(text_of(path).splitlines(), 1):
        try:
            yield number, [cell.strip() for cell in next(csv.reader([line]), [])]
        except csv.Error as error:
            raise wrong(f"{path}, line {number}", f"this is not CSV ({error})", "comma-separated values") from None


def _require_names(path: Path, names: Sequence[str]) -> None:
    if not names:
        raise wrong(str(path), "it names no class", "the class names")
    if twice := next((name for k, name in enumerate(names) if name in names[:k]), None):
        raise wrong(str(path), f"the class '{twice}' is listed twice", "a class once")
