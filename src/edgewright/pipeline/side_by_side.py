"""Work on several artifacts at once, in threads whose child processes compute.

Nothing is measured at the same time: measurements wait until all threads have ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

from edgewright.bench import environment
from edgewright.core import child

AT_MOST = 4
"""The most items at once. More gain little: the libraries in the children have threads of their own."""
LEAVE_S = 0.8
"""Seconds to wait for a thread whose result is not needed any more."""

T = TypeVar("T")


def at_once(count: int) -> int:
    """How many of `count` items this machine works on at once."""
    return max(1, min(count, environment.usable_cores(), AT_MOST))


def each(items: Sequence[T], work: Callable[[T], Any], alike: Callable[[T], Hashable], parallel: int) -> list[Any]:
    """The results of `work` for `items`, in their order; `parallel` items are worked on at once.

    Items for which `alike` returns the same value need the same stage first, so they run one after the other. The
    first exception kills all children and is raised.
    """
    if parallel == 1:
        return [work(item) for item in items]
    turn = _Turn(items, work, alike)
    threads = [threading.Thread(target=turn.run, daemon=True) for _ in range(parallel)]
    for thread in threads:
        thread.start()
    try:
        with turn.changed:
            while len(turn.done) < len(items) and not turn.errors:
                turn.changed.wait(1.0)
    finally:
        turn.stop()
        _end(threads)
    if turn.errors:
        raise turn.errors[0]
    return [turn.done[place] for place in range(len(items))]


class _Turn:
    """The items that wait, run and are done."""

    def __init__(self, items: Sequence[Any], work: Callable[[Any], Any], alike: Callable[[Any], Hashable]) -> None:
        self.work, self.items = work, items
        self.keys = [alike(item) for item in items]
        self.waiting, self.at_work = list(range(len(items))), set[Hashable]()
        self.done: dict[int, Any] = {}
        self.errors: list[BaseException] = []
        self.changed = threading.Condition()

    def run(self) -> None:
        while (place := self._next()) is not None:
            try:
                found = self.work(self.items[place])
            except BaseException as error:
                with self.changed:
                    self.errors.append(error)
                    self.waiting.clear()
                    self.changed.notify_all()
                return
            with self.changed:
                self.done[place] = found
                self.at_work.discard(self.keys[place])
                self.changed.notify_all()

    def stop(self) -> None:
        with self.changed:
            self.waiting.clear()
            self.changed.notify_all()

    def _next(self) -> int | None:
        with self.changed:
            while self.waiting:
                free = next((place for place in self.waiting if self.keys[place] not in self.at_work), None)
                if free is not None:
                    self.waiting.remove(free)
                    self.at_work.add(self.keys[free])
                    return free
                self.changed.wait()
        return None


def _end(threads: Sequence[threading.Thread]) -> None:
    """Wait for `threads` to end; kill the children of those that still work."""
    end = time.monotonic() + LEAVE_S
    while any(thread.is_alive() for thread in threads) and time.monotonic() < end:
        child.kill_those_of([thread.ident for thread in threads if thread.is_alive()])
        for thread in threads:
            thread.join(0.02)
