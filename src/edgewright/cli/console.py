"""The one way to a terminal: results on standard output, progress and errors on standard error.

Labels, layer names, file names and messages come from outside. Whatever is printed here is literal: no markup, no emoji
codes, control characters as visible escapes. Style comes from `line`, never from text.
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
    """A console that prints text literally, whoever calls it and however: the only one that edgewright makes."""

    def __init__(self, *, stderr: bool = False, quiet: bool = False) -> None:
        super().__init__(stderr=stderr, quiet=quiet, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """A string is one literal line, also where the caller or rich itself asks for markup."""
        return super().render_str(one_line(text), **{**options, "markup": False, "emoji": False, "highlight": False})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """All that is printed goes through here in pieces, behind layout: no piece keeps a control character."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else plain(text), style, control)

    def print_line(self, *parts: str | tuple[str, str]) -> None:
        """Print `line(*parts)` as one line, however long it is: a log and a script read lines."""
        self.print(line(*parts), soft_wrap=True)


def output() -> Screen:
    """The console of results: at most 100 columns, colour only on a terminal."""
    screen = Screen()
    screen.width = min(screen.width, WIDTH) if screen.is_terminal else WIDTH
    return screen


def line(*parts: str | tuple[str, str]) -> Text:
    """One line of parts: a string, or (style, string)."""
    text = Text()
    for part in parts:
        style, content = part if isinstance(part, tuple) else ("", part)
        text.append(one_line(content), style)
    return text


def print_json(value: Any) -> None:
    """Write `value` (a struct or builtins) to standard output as JSON in UTF-8, whatever the stream's encoding is."""
    try:
        text = msgspec.json.format(msgspec.json.encode(value), indent=1).decode()
    except UnicodeEncodeError:  # a file name that is no UTF-8 holds surrogates, which msgspec does not write
        text = json.dumps(msgspec.to_builtins(value), indent=1)
    sys.stdout.buffer.write(plain_json(text).encode() + b"\n")
    sys.stdout.flush()


def print_error(error: EdgewrightError) -> None:
    """What, why and what to do, a line each, on standard error."""
    screen = Screen(stderr=True)
    screen.print_line(("bold red", "error:"), f" {error.what}")
    if error.why:
        screen.print_line(("dim", "  why:"), f" {error.why}")
    if error.fix:
        screen.print_line(("dim", "   do:"), f" {error.fix}")


def print_warning(text: str) -> None:
    """One warning on standard error."""
    Screen(stderr=True).print_line(("bold yellow", "warning:"), f" {text}")


def print_traceback(error: BaseException) -> None:
    """The traceback of `error` on standard error."""
    screen = Screen(stderr=True)
    for text in traceback.format_exception(error):
        for one in text.rstrip("\n").split("\n"):
            screen.print_line(one)
