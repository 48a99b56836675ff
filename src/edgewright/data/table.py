"""The table ``labels.csv``: columns ``file``, ``label`` (name or index) or ``label0`` (index), optionally ``split``."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from edgewright.core.errors import InvalidInput

TABLE = "labels.csv"


class Row(msgspec.Struct, frozen=True):
    """One row, with its line number in the file; `split` is empty where there is none."""

    line: int
    file: str
    label: str
    split: str


def rows(path: Path) -> list[Row]:
    """The rows of a labels.csv; further columns are ignored. Raises `InvalidInput` that names the file and the line."""
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            label = next((name for name in ("label0", "label") if name in columns), "")
            if "file" not in columns or not label or len(set(columns)) < len(columns):
                raise wrong(
                    path, 1, f"the columns are: {', '.join(columns) or 'none'}", "file, and label or label0, once"
                )
            found = []
            for values in reader:
                line = reader.line_num
                found.append(_row(path, line, values, label))
            return found
    except UnicodeDecodeError:
        raise wrong(path, line, "this line or a later one is no UTF-8 text", "UTF-8") from None
    except csv.Error as error:
        raise wrong(path, line, f"this line or the next is no CSV ({error})", "comma-separated values") from None


def wrong(path: Path, line: int, what: str, allowed: str) -> InvalidInput:
    """The error for a line of the table."""
    return InvalidInput(f"{path}, line {line}: {what}.", f"Expected: {allowed}.", "Correct the table.")


def is_index(text: str) -> bool:
    """Whether `text` is a class index."""
    return text.isdecimal() and len(text) < 10


def _row(path: Path, line: int, values: Mapping[Any, Any], label: str) -> Row:
    if None in values or None in values.values():  # csv's marks for too many values, and for too few
        raise wrong(path, line, "the number of values differs from the header's", "one value a column")
    plain = {name: value.strip() for name, value in values.items()}
    if not plain["file"] or not plain[label]:
        raise wrong(path, line, f"'{label if plain['file'] else 'file'}' is empty", "a file and its label")
    if label == "label0" and not is_index(plain[label]):
        raise wrong(path, line, f"label0 is '{plain[label]}'", "a class index from 0")
    return Row(line, plain["file"], plain[label], plain.get("split", ""))
