"""What the command line shows while it works: bars on a terminal, plain lines elsewhere, nothing on stdout.

Standard output belongs to results (tables, ``--json``); progress and errors go to standard error.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from edgewright.core.errors import EdgewrightError

WIDTH = 100
SILENCE_S = 30.0
"""Where nothing is drawn, a step that goes on is told of where for so many seconds there was no line."""


def output() -> Console:
    """The console of results: at most 100 columns, colour only on a terminal."""
    console = Console(highlight=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    return console


def print_json(value: Any) -> None:
    """Write `value` (a struct or builtins) to standard output as JSON."""
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")
    sys.stdout.flush()


def print_error(error: EdgewrightError) -> None:
    """What, why and what to do, a line each, on standard error."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"[bold red]error:[/] {_plain(error.what)}")
    if error.why:
        console.print(f"  [dim]why:[/] {_plain(error.why)}")
    if error.fix:
        console.print(f"   [dim]do:[/] {_plain(error.fix)}")


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(" ".join(text.split()))


class Watcher:
    """A `pipeline.stages.Watch` that draws: a line for each finished step, a bar for the one at work.

    In a file or a log, which cannot draw, a line now and then says how far a long step is.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False, quiet=quiet)
        self._start = self._told = time.monotonic()
        self._tasks: dict[tuple[str, str], TaskID] = {}
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.fields[stage]:<10}"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("[dim]{task.fields[step]}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            refresh_per_second=1,  # drawing must not disturb what is being measured
            disable=not self._console.is_terminal,
        )

    def __call__(self, stage: str, what: str, done: int, total: int, step: str) -> None:
        """Show one step of `stage` on `what`; it is finished where `done` reaches `total`."""
        finished = total > 0 and done >= total
        key = (stage, what)
        if self._console.is_terminal:
            if key not in self._tasks:
                self._tasks[key] = self._progress.add_task(what, total=None, stage=stage, step="")
            self._progress.update(self._tasks[key], completed=done, total=total or None, step=step[:40])
        if finished and key in self._tasks:
            self._progress.remove_task(self._tasks.pop(key))
        now = time.monotonic()
        waited = not self._console.is_terminal and now - self._told >= SILENCE_S
        if finished or waited:
            line = f"[dim]{now - self._start:7.1f} s[/]  [bold]{stage:<10}[/] {_plain(what)}"
            if not finished and total > 0:
                line += f"  [dim]{100 * done // total} %[/]"
            self._console.print(line + (f"  [dim]{_plain(step)}[/]" if step else ""), soft_wrap=True)
            self._told = now

    def __enter__(self) -> Watcher:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
