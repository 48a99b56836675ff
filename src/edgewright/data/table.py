"""The table ``labels.csv``: columns ``file``, ``label`` (name or index) or ``label0`` (index), optionally ``split``.

A column of integers written as floats (``3.0``, as pandas does next to missing values) contains indices.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any, Literal

import msgspec

from edgewright.core.errors import IntegrityError, InvalidInput
from edgewright.core.files import linked_file

from . import folders
from .items import ImageSet, Item

TABLE = "labels.csv"


class Row(msgspec.Struct, frozen=True):
    """One row, with its line number in the file. `split` is empty if there is none.

    `is_bare`: the label is an index of the model's classes, whatever their names are (the column ``label0``).
    """

    line: int
    file: str
    label: str
    split: str
    is_bare: bool = False


def rows(path: Path) -> list[Row]:
    """Return the rows of a labels.csv. Other columns are ignored. Raises `InvalidInput` with the file and the line."""
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            label = next((name for name in ("label0", "label") if name in columns), "")
            if "file" not in columns or not label or len(set(columns)) < len(columns):
                raise wrong(
                    path, 1, f"the columns are: {', '.join(columns) or 'none'}", "file and label (or label0), each once"
                )
            found = []
            for values in reader:
                line = reader.line_num
                found.append(_row(path, line, values, label))
            return _whole(path, found)
    except UnicodeDecodeError:
        raise wrong(path, line, "this line or a later one is not UTF-8 text", "UTF-8") from None
    except csv.Error as error:
        raise wrong(path, line, f"this line or the next is not CSV ({error})", "comma-separated values") from None


def present(folder: Path) -> bool:
    """Whether `folder` has a table. Raises `InvalidInput` for a broken link and for anything but a regular file."""
    path = folder / TABLE
    if os.path.lexists(path) and not path.is_file():
        what = "is a link to a file that does not exist" if path.is_symlink() else "is not a regular file"
        raise InvalidInput(f"{path} {what}.", "It holds the labels of the images.", "Restore it, or remove it.")
    return path.is_file()


def splits(folder: Path) -> list[str]:
    """Return the splits that the table in `folder` names, sorted."""
    return sorted({row.split for row in rows(folder / TABLE)} - {""})


def read(root: Path, folder: Path, split: str) -> ImageSet:
    """Return the images in the table of `folder` (`root` or its split folder), for `split` if the table names splits.

    Classes are numbered over all rows, so that a split without a class does not shift the others.
    """
    path = folder / TABLE
    every = rows(path)
    has_splits = any(row.split for row in every)
    if has_splits and (bare := next((row for row in every if not row.split), None)):
        raise wrong(path, bare.line, "the split is empty", "a split in every row")
    # Split folders have their own tables, whose classes are numbered together.
    others = [root / name / TABLE for name in folders.splits(root)] if folder != root else []
    labels = {row.label for row in every} | {row.label for one in others if one.is_file() for row in rows(one)}
    numbers = all(map(is_index, labels))
    ordered = [] if numbers else folders.order(root)
    named = sorted(labels, key=int if numbers else None)
    classes = [] if any(row.is_bare for row in every) else ordered or named
    index = {name: k for k, name in enumerate(classes)}
    items, lines = [], dict[str, int]()
    for row in every:
        image = os.path.normpath(_contained(path, row))  # "./a.png" is "a.png"
        if image in lines:
            raise wrong(path, row.line, f"'{row.file}' is already in line {lines[image]}", "a file once")
        if classes and row.label not in index:
            raise wrong(path, row.line, f"'{row.label}' is not in {folders.ORDER}", "one of its names")
        lines[image] = row.line
        if not has_splits or row.split == split:
            items.append(Item(image, index[row.label] if classes else int(row.label)))
    order: Literal["file", "sorted", "index"] = "index" if numbers else "file" if ordered else "sorted"
    return ImageSet(name=root.name, split=split, items=tuple(items), classes=tuple(classes), order=order)


def wrong(path: Path, line: int, what: str, allowed: str) -> InvalidInput:
    """Return the error for a line of the table."""
    return InvalidInput(f"{path}, line {line}: {what}.", f"Expected: {allowed}.", "Correct the table.")


def is_index(text: str) -> bool:
    """Whether `text` is a class index."""
    return text.isdecimal() and len(text) < 10


def _row(path: Path, line: int, values: Mapping[Any, Any], label: str) -> Row:
    if None in values or None in values.values():  # csv's marks for too many and too few values
        raise wrong(path, line, "the number of values differs from the header's", "one value per column")
    plain = {name: value.strip() for name, value in values.items()}
    if not plain["file"] or not plain[label]:
        raise wrong(path, line, f"'{label if plain['file'] else 'file'}' is empty", "a file and its label")
    if label == "label0" and not is_index(_plain(plain[label])):
        raise wrong(path, line, f"label0 is '{plain[label]}'", "a class index from 0")
    return Row(line, plain["file"], plain[label], plain.get("split", ""), label == "label0")


def _whole(path: Path, found: list[Row]) -> list[Row]:
    """Return `found` with labels such as 3.0 as 3, if all are numbers. Raises if most are and others are missing."""
    numbers = [row for row in found if _FLOAT.fullmatch(row.label)]
    if missing := next((row for row in found if _MISSING.fullmatch(row.label)), None) if numbers else None:
        raise wrong(
            path, missing.line, f"the label is '{missing.label}', and others are numbers", "whole numbers from 0"
        )
    if not found or len(numbers) < len(found):
        return found
    if broken := next((row for row in found if not is_index(_plain(row.label))), None):
        raise wrong(path, broken.line, f"the label is {broken.label}, and all are numbers", "whole numbers from 0")
    return [msgspec.structs.replace(row, label=_plain(row.label)) for row in found]


_MISSING = re.compile(r"nan|none|null|n/?a|-\d+(\.\d*)?|\d+(\.\d*)?e[+-]?\d+", re.IGNORECASE)
"""Texts in a column of numbers that mean "no label", or a number that is not an index."""

_FLOAT = re.compile(r"\d+(\.\d*)?")


def _plain(label: str) -> str:
    return re.sub(r"\.0*$", "", label)


def _contained(path: Path, row: Row) -> str:
    """Return the absolute path of a row's file, next to the table or in images/. Links of the user are followed."""
    folder, name = path.parent, row.file
    if "\\" in name and not (folder / name).exists():
        name = PureWindowsPath(name).as_posix()
    below = folder if (folder / name).exists() or not (folder / "images").is_dir() else folder / "images"
    try:
        return str(linked_file(below, name))
    except InvalidInput:
        what = f"'{row.file}' is missing"
        raise wrong(path, row.line, what, "a file next to the table or in images/") from None
    except IntegrityError as error:
        raise IntegrityError(f"{path}, line {row.line}: {error.what}", error.why, error.fix) from None
