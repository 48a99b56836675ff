"""Remarks: what readers noticed in a data set without stopping. Each becomes a finding of the report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

NAMED = 3
"""How many names a remark holds."""


class Remark(msgspec.Struct, frozen=True, kw_only=True):
    """Something noticed in a data set.

    `code` is a stable name (docs/reference/data.md), `text` a sentence with the count, `names` the first few places.
    """

    level: Literal["note", "warning", "error"]
    code: str
    text: str
    count: int
    names: tuple[str, ...] = ()


def remark(level: Literal["note", "warning", "error"], code: str, names: Sequence[str], text: str) -> list[Remark]:
    """A remark on the files or places `names`, of which the first are kept; none if there are none.

    ``{count|box is|boxes are}`` in `text` becomes the number and the words for one or for several.
    """
    if not names:
        return []
    count = len(names)
    return [Remark(level=level, code=code, text=counted(text, count), count=count, names=tuple(names[:NAMED]))]


def counted(text: str, count: int) -> str:
    """`text` with `count` in the place of ``{count|box is|boxes are}``, and the words for one or for several."""
    return re.sub(r"\{count\|([^|}]*)\|([^}]*)\}", lambda found: f"{count} {found[1 if count == 1 else 2]}", text)


def merged(remarks: Iterable[Remark]) -> tuple[Remark, ...]:
    """`remarks` without repetitions, the most severe first."""
    order = {"error": 0, "warning": 1, "note": 2}
    return tuple(sorted(dict.fromkeys(remarks), key=lambda one: order[one.level]))
