"""Lines that begin with a word and a colon, such as ``note: ...``, for all output next to tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.text import Text

from edgewright.core.text import one_line

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

LABEL, NARROW = 10, 60
"""Columns for the words that begin lines. In terminals narrower than `NARROW`, long text continues below the words."""
STYLES = {
    "error": "bold red", "failed": "red", "missed": "red", "warning": "yellow", "unknown": "yellow",
    "not compared": "yellow", "missing": "yellow", "note": "cyan", "met": "green", "ok": "green", "chosen": "bold",
}  # fmt: skip
"""Styles of words. Other words are dim."""
Row = tuple[str, Text]
"""A word and its text. Without a word, the text belongs to the row above."""


class Lines:
    """Rows with their words in one column. Text that exceeds the width continues on the next line, below the text."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = list(rows)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        indent = width_of(word for word, _ in self._rows) if options.max_width >= NARROW else 2
        for word, text in self._rows:
            start = label(word, indent)
            first = " " * (start.cell_len - indent)  # a label wider than the indent leaves less room for the text
            line, *more = Text(first).append_text(text).wrap(console, max(1, options.max_width - indent)) or [Text()]
            yield joined(start, line[len(first) :])
            for line in more:
                yield joined(Text(" " * indent), line)


def width_of(words: Iterable[str]) -> int:
    """Return the width of the column for these words: `LABEL`, or more for a longer word."""
    return max(LABEL, *(len(word) + 2 for word in words), 0)


def label(word: str, width: int) -> Text:
    """Return `word` with a colon in its style, padded to `width` columns, with at least one space after it."""
    found = Text().append(one_line(f"{word}:" if word else ""), STYLES.get(word, "dim"))
    return found.append(" " * max(width - found.cell_len, 1 if word else 0))


def joined(start: Text, text: Text) -> Text:
    """Return one line without trailing spaces."""
    line = start.append_text(text)
    line.rstrip()
    return line
