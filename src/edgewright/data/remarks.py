"""Remarks: problems in a data set that do not stop the reader. Each becomes a finding of the report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

NAMED = 3
"""Limit of names in a remark."""


class Remark(msgspec.Struct, frozen=True, kw_only=True):
    """A problem in a data set.

    `code`: a stable name (docs/reference/data.md). `text`: a sentence with the count. `names`: the first few places.
    """

    level: Literal["note", "warning", "error"]
    code: str
    text: str
    count: int
    names: tuple[str, ...] = ()


def remark(level: Literal["note", "warning", "error"], code: str, names: Sequence[str], text: str) -> list[Remark]:
    """Return a remark on the files or places `names`, with the first of them. Return none if `names` is empty.

    ``{count|box is|boxes are}`` in `text` becomes the number and the singular or plural words.
    """
    if not names:
        return []
    count = len(names)
    return [Remark(level=level, code=code, text=counted(text, count), count=count, names=tuple(names[:NAMED]))]


def counted(text: str, count: int) -> str:
    """Replace ``{count|box is|boxes are}`` in `text` by `count` and the singular or plural words."""
    return re.sub(r"\{count\|([^|}]*)\|([^}]*)\}", lambda found: f"{count} {found[1 if count == 1 else 2]}", text)


def merged(remarks: Iterable[Remark]) -> tuple[Remark, ...]:
    """Return `remarks` without repetitions, the most severe first."""
    order = {"error": 0, "warning": 1, "note": 2}
    return tuple(sorted(dict.fromkeys(remarks), key=lambda one: order[one.level]))
