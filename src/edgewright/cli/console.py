"""The only way to a terminal: results on standard output, progress and errors on standard error.

Labels, layer names, file names and messages come from outside. They are printed literally: no markup, no emoji codes,
and control characters as visible escapes. Style comes from `line`, never from text. Without a terminal, with `NO_COLOR`
or with `TERM=dumb` the output is plain text, and no meaning depends on color.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterable
from typing import Any

import msgspec
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from edgewright.core.errors import EdgewrightError
from edgewright.core.text import one_line, plain, plain_json

WIDTH = 100


class Screen(Console):
    """A console that prints text literally: the only one that edgewright uses."""

    def __init__(self, *, stderr: bool = False, quiet: bool = False) -> None:
        super().__init__(stderr=stderr, quiet=quiet, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """`text` as one literal line, even if the caller or rich asks for markup."""
        return super().render_str(one_line(text), **{**options, "markup": False, "emoji": False, "highlight": False})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The pieces of a renderable after layout, without control characters."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else plain(text), style, control)

    def print_line(self, *parts: str | tuple[str, str]) -> None:
        """Print `line(*parts)` as one line, however long: logs and scripts read lines."""
        self.print(line(*parts), soft_wrap=True)


def output() -> Screen:
    """The console for results: at most 100 columns, 100 without a terminal; color only on a terminal."""
    screen = Screen()
    screen.width = min(screen.width, WIDTH) if screen.is_terminal else WIDTH
    return screen


def line(*parts: str | tuple[str, str]) -> Text:
    """One line of parts, each a string or (style, string)."""
    text = Text()
    for part in parts:
        style, content = part if isinstance(part, tuple) else ("", part)
        text.append(one_line(content), style)
    return text


def print_rows(screen: Screen, rows: Iterable[tuple[str, Text]]) -> None:
    """Print (word, text) rows as ``word: text``: wrapped on a terminal, elsewhere one line each, however long."""
    from edgewright.bench import lines

    if screen.is_terminal:
        screen.print(lines.Lines(rows))
        return
    rows = list(rows)
    width = lines.width_of(word for word, _ in rows)
    for word, text in rows:
        screen.print(lines.joined(lines.label(word, width), text), soft_wrap=True)


def print_json(value: Any) -> None:
    """Write `value` (a struct or builtins) as JSON to standard output, always in UTF-8."""
    try:
        text = msgspec.json.format(msgspec.json.encode(value), indent=1).decode()
    except UnicodeEncodeError:  # a file name that is no UTF-8 holds surrogates, which msgspec does not write
        text = json.dumps(msgspec.to_builtins(value), indent=1)
    sys.stdout.buffer.write(plain_json(text).encode() + b"\n")
    sys.stdout.flush()


def print_error(error: EdgewrightError) -> None:
    """Print what happened, why and what to do, a line each, on standard error."""
    screen = Screen(stderr=True)
    screen.print_line(("bold red", "error:"), f" {error.what}")
    if error.why:
        screen.print_line(("dim", "  why:"), f" {error.why}")
    if error.fix:
        screen.print_line(("dim", "   do:"), f" {error.fix}")


def print_warning(text: str) -> None:
    """Print one warning on standard error."""
    Screen(stderr=True).print_line(("bold yellow", "warning:"), f" {text}")


def print_traceback(error: BaseException) -> None:
    """Print the traceback of `error` on standard error."""
    screen = Screen(stderr=True)
    for text in traceback.format_exception(error):
        for one in text.rstrip("\n").split("\n"):
            screen.print_line(one)
