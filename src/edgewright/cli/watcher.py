"""The progress of a run: a live table on a terminal, a line for each result in a file or a log."""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from edgewright.core.errors import INTERRUPTED
from edgewright.core.text import one_line
from edgewright.pipeline.stages.runner import Row

from .board import Board, Left, Work, took_before
from .console import WIDTH, Screen, line

SILENCE_S = 30.0
"""Without a live table, a long step prints its progress after this many seconds without a line."""
PATIENCE_S = 0.7
"""Seconds that a run has after Ctrl-C to clean up; then the process and its children end."""
KEPT = frozenset({"train", "export", "data", "connect", "prune", "distill", "latency"})
"""Stages that print a line even with a table: they belong to no variant."""
REPLACED = "the stored one"
"""A step with this text prints a line as well: a stored result was damaged or unusable."""
MEASURING = frozenset({"latency", "screen", "profile", "layer"})
"""Stages whose measurement a drawing process would disturb."""
EVERY_S, WHILE_MEASURING_S = 1.0, 4.0
"""Seconds between two drawings: usually, and during a measurement."""
WIDE = 96
"""From this many columns on, a difference is shown with its interval."""
NARROW = 60
"""Below this many columns the difference and the milliseconds are left out."""
STANDINGS = {
    "proven": ("confirmed", "green"),
    "inside": ("inconclusive", "yellow"),
    "outside": ("over budget", "red"),
}


class Watcher:
    """A `pipeline.stages.runner.Watch` with rows, drawn on a terminal; safe to call from several threads.

    On a terminal it draws a table: a row for each variant, the running stages and the time left. It draws once a
    second, and every four seconds during a measurement. The table disappears when the run succeeds. Stages that belong
    to no variant print a line. In a file, a log or a dumb terminal each result is a line, and a long step prints its
    progress. `resumes`: whether the same command continues an interrupted run. `within_s`: the time limit in seconds.
    """

    def __init__(self, quiet: bool = False, resumes: bool = True, within_s: float | None = None) -> None:
        self._console = Screen(stderr=True, quiet=quiet)
        self._draws = self._console.is_terminal and not self._console.is_dumb_terminal
        self._printed = time.monotonic()
        self._board = Board(self._printed, functools.cache(took_before), within_s)
        self._reported: set[tuple[str, str]] = set()
        self._lock, self._resumes = threading.RLock(), resumes
        self._before: Any = None
        self._pressed = self._said = False
        self._live = Live(
            get_renderable=self._draw, console=self._console, transient=True, auto_refresh=False,
            redirect_stdout=False, redirect_stderr=False, vertical_overflow="crop",
        )  # fmt: skip
        self._over = threading.Event()
        self._drawing = threading.Thread(target=self._keep_drawing, daemon=True)

    def __call__(self, stage: str, what: str, done: int, total: int, step: str) -> None:
        """Show one step of `stage` on `what`; it is finished when `done` reaches `total`."""
        now = time.monotonic()
        with self._lock:
            work = self._board.step(one_line(stage), one_line(what), done, total, one_line(step), now)
            finished = total > 0 and done >= total
            has_line = not self._board.rows or stage in KEPT or REPLACED in step
            wanted = finished and has_line and bool(step or stage != "data")
            waited = not (self._draws or finished) and now - self._printed >= SILENCE_S
            text = self._line(now, _of_work(work, finished, self._board.left_s(now) if waited else None))
            if wanted or waited:
                self._printed = now
        if wanted or waited:  # outside of the lock, which the drawing thread wants while it holds the console's
            if self._draws:
                self._live.refresh()
            self._console.print(text, soft_wrap=True)

    def row(self, row: Row) -> None:
        """Show what is known of a variant now."""
        now = time.monotonic()
        with self._lock:
            self._board.row(row)
            if row.id not in self._board.rows:
                return
            known = row.standing or (row.state == "reference" and row.score is not None)
            news = (row.id, "known" if known else row.state)
            is_result = news[1] in ("known", "failed") and news not in self._reported
            self._reported.add(news)
            text = self._line(now, _of_row(self._board.rows[row.id]))
            if is_result and not self._draws:
                self._printed = now
        if is_result and not self._draws:
            self._console.print(text, soft_wrap=True)

    def _line(self, now: float, text: Text) -> Text:
        return line(("dim", f"{now - self._board.begin:7.1f} s"), "  ").append_text(text)

    def _keep_drawing(self) -> None:
        while not self._over.wait(WHILE_MEASURING_S if self._measures() else EVERY_S):
            self._live.refresh()

    def _measures(self) -> bool:
        with self._lock:
            return any(stage in MEASURING for stage, _ in self._board.works)

    def _draw(self) -> RenderableType:
        with self._lock:
            return render(self._board, time.monotonic(), min(self._console.width, WIDTH), self._console.height)

    def __enter__(self) -> Watcher:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._interrupt)
        if self._draws:
            self._live.start()
            self._drawing.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        self._over.set()
        if self._draws:
            self._drawing.join(1)
            self._live.transient = kind is None  # what was found until then stays
            self._live.stop()
        if interrupted:
            self._said = True
            self._console.print_line(self._how_to_continue())
        if self._before is not None and not self._pressed:
            signal.signal(signal.SIGINT, self._before)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-C: give the run `PATIENCE_S` seconds to clean up; a second Ctrl-C ends it at once."""
        self._pressed = True
        signal.signal(signal.SIGINT, lambda *_: self._end())
        timer = threading.Timer(PATIENCE_S, self._end)
        timer.daemon = True
        timer.start()
        raise KeyboardInterrupt

    def _end(self) -> None:
        """End the process now, whatever its threads wait for. Children end with it; the store cleans up later."""
        if not self._said:
            cursor = "\x1b[?25h" if self._draws else ""
            os.write(2, f"{cursor}\n{self._how_to_continue()}\n".encode())
        os._exit(INTERRUPTED)

    def _how_to_continue(self) -> str:
        after = f"Interrupted after {_clock(time.monotonic() - self._board.begin)}."
        return f"{after} Run the same command to continue: finished steps are kept." if self._resumes else after


# --- lines --------------------------------------------------------------------------------------------------------


def _of_work(work: Work, finished: bool, left: Left | None) -> Text:
    text = line(("bold", f"{work.stage:<10}"), f" {work.what}")
    if not finished and work.share is not None:
        text.append(f"  {work.share:.0%}", "dim")
    text.append(f"  {work.step}" if work.step else "", "dim")
    return text.append(f"  {_left(left)}" if left else "", "dim")


def _of_row(row: Row) -> Text:
    """A row as a line; unknown figures are absent."""
    what, style = _state(row, None)
    score = f"{row.title.partition(' ')[0]} {row.score:.2f}" if row.score is not None else ""
    parts = [score, _delta(row, True), f"{_ms(row)} ms" if row.p50_ms else ""]
    return line(f"{row.id:<36}", *(f"  {part}" for part in parts if part), "  ", (style, what))


# --- the table ----------------------------------------------------------------------------------------------------


def render(board: Board, now: float, width: int, height: int) -> RenderableType:
    """The view, `width` columns wide and at most `height` lines high: variants, running stages, time."""
    works = list(board.works.values())[: max(height - 4, 1)]
    parts: list[RenderableType] = []
    if board.rows:
        parts += [Text(), *_table(board, width, max(height - len(works) - 6, 1)), Text()]
    if works:
        parts.append(_works(works, now, width))
    if parts:
        parts.append(_footer(board, now))
    return Group(*parts)


def _table(board: Board, width: int, height: int) -> Iterator[RenderableType]:
    wide = width >= WIDE
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", width=width)
    title = next((row.title for row in board.rows.values() if row.title), "accuracy")
    table.add_column("variant", no_wrap=True, overflow="ellipsis", ratio=3)
    table.add_column(line(title), no_wrap=True, justify="right", min_width=6)
    if width >= NARROW:
        table.add_column("difference" if wide else "diff", no_wrap=True, justify="right", width=18 if wide else 5)
        table.add_column("ms", no_wrap=True, justify="right", width=6)
    table.add_column("state", no_wrap=True, overflow="ellipsis", ratio=2)
    shown, hidden = _fitting(board, height)
    for row in shown:
        work = board.at_work(row)
        what, style = _state(row, work)
        dim = "dim" if row.state in ("failed", "skipped", "waiting", "reference") and not work else ""
        score = f"{row.score:.2f}" if row.score is not None else ""
        measured = (_delta(row, wide), _ms(row)) if width >= NARROW else ()
        table.add_row(line((dim, row.id)), score, *measured, line((style, what)))
    yield table
    if hidden:
        names = [_state(row, None)[0].partition(":")[0] for row in hidden]
        counts = ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names))
        yield line(("dim", f"and {counts}"))


def _fitting(board: Board, height: int) -> tuple[list[Row], list[Row]]:
    """(rows that fit into `height` lines, in their order; the others). Skipped variants are never shown: the report
    gives their reasons."""
    rows = list(board.rows.values())
    tried = [row for row in rows if row.state != "skipped"]

    def worth(row: Row) -> tuple[int, float]:
        if board.at_work(row):
            return 0, 0.0
        order = {"reference": 1, "waiting": 4, "failed": 6}
        return order.get(row.state, 5 if row.standing == "outside" else 2), row.p50_ms or 1e9

    room = height if len(rows) <= height and len(tried) == len(rows) else height - 1
    kept = {row.id for row in sorted(tried, key=worth)[:room]}
    return [row for row in rows if row.id in kept], [row for row in rows if row.id not in kept]


def _state(row: Row, work: Work | None) -> tuple[str, str]:
    """(state of a variant as text, style)."""
    if row.state in ("failed", "skipped"):
        return f"{row.state}: {row.reason}" if row.reason else row.state, "red" if row.state == "failed" else "dim"
    if work:
        return f"{work.stage} {work.share:.0%}" if work.share is not None else work.stage, "cyan"
    return STANDINGS.get(row.standing, (row.state, "dim"))


def _delta(row: Row, wide: bool) -> str:
    if row.delta is None:
        return ""
    value, low, high = (f"{part:+.1f}" for part in row.delta)
    return f"{value} [{low},{high}]" if wide else value


def _ms(row: Row) -> str:
    """The median in ms; a latency from screening has a "~"."""
    return f"{'' if row.state in ('measured', 'reference') else '~'}{row.p50_ms:.3g}" if row.p50_ms else ""


def _works(works: list[Work], now: float, width: int) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    table.width = width
    table.add_column(no_wrap=True, style="bold", min_width=9)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=3)
    if width >= NARROW:
        table.add_column(width=12)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=2, style="dim")
    table.add_column(no_wrap=True, justify="right", min_width=5)
    for work in works:
        bar = (
            ProgressBar(total=1.0, completed=work.share, width=12, complete_style="cyan")
            if work.share is not None
            else ""
        )
        progress = (bar, line(work.step)) if width >= NARROW else ()
        table.add_row(line(work.stage), line(work.what), *progress, _clock(now - work.begin))
    return table


def _footer(board: Board, now: float) -> Text:
    parts = [_clock(now - board.begin)]
    if left := board.left_s(now):
        parts.append(_left(left))
    if board.finished:
        stored = f", {board.stored} of them from the store" if board.stored else ""
        parts.append(f"{board.finished} step{'s' if board.finished > 1 else ''} done{stored}")
    return line(("dim", " · ".join(parts)))


def _left(left: Left) -> str:
    """The time left, rounded to 5 s, from two minutes on to 15 s, from ten minutes on to a minute."""
    unit = 5 if left.seconds < 120 else 15 if left.seconds < 600 else 60
    seconds = max(unit * round(left.seconds / unit), 5)
    return f"{'at least' if left.at_least else 'about'} {_clock(seconds)} left"


def _clock(seconds: float) -> str:
    whole = int(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
