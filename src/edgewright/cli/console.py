"""The one way to a terminal: results on standard output, progress and errors on standard error.

Labels, layer names, file names and messages come from outside. Whatever is printed here is literal: no markup, no emoji
codes, control characters as visible escapes. Style comes from `line`, never from text. While the command line works,
bars are drawn on a terminal, and plain lines are written elsewhere.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Iterable
from types import TracebackType
from typing import Any

import msgspec
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.text import Text

from edgewright.core.errors import EdgewrightError
from edgewright.core.text import one_line, plain, plain_json

WIDTH = 100
SILENCE_S = 30.0
"""If no bar is drawn, a long step prints its progress after this many seconds without a line."""


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


class Watcher:
    """A `pipeline.stages.runner.Watch` that draws: a line for each finished step, a bar for the one at work.

    In a file or a log, which cannot draw, a line now and then says how far a long step is.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._console = Screen(stderr=True, quiet=quiet)
        self._start = self._printed = time.monotonic()
        self._tasks: dict[tuple[str, str], TaskID] = {}
        self._progress = Progress(
            SpinnerColumn("line" if self._console.options.ascii_only else "dots"),
            TextColumn("{task.fields[stage]:<10}", style="bold", markup=False),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[step]}", style="dim", markup=False),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            refresh_per_second=1,  # drawing must not disturb what is being measured
            disable=not self._console.is_terminal,
        )

    def __call__(self, stage: str, what: str, done: int, total: int, step: str) -> None:
        """Show one step of `stage` on `what`; it is finished where `done` reaches `total`."""
        stage, what, step = one_line(stage), one_line(what), one_line(step)
        finished = total > 0 and done >= total
        key = (stage, what)
        if self._console.is_terminal:
            if key not in self._tasks:
                self._tasks[key] = self._progress.add_task(what, total=None, stage=stage, step="")
            self._progress.update(self._tasks[key], completed=done, total=total or None, step=step[:40])
        if finished and key in self._tasks:
            self._progress.remove_task(self._tasks.pop(key))
        now = time.monotonic()
        waited = not self._console.is_terminal and now - self._printed >= SILENCE_S
        if finished or waited:
            text = line(("dim", f"{now - self._start:7.1f} s"), "  ", ("bold", f"{stage:<10}"), f" {what}")
            if not finished and total > 0:
                text.append(f"  {100 * done // total} %", "dim")
            self._console.print(text.append(f"  {step}" if step else "", "dim"), soft_wrap=True)
            self._printed = now

    def __enter__(self) -> Watcher:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
