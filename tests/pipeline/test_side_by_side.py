"""Work side by side keeps its order, and ends as a whole."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from edgewright.core import child
from edgewright.core.errors import InvalidInput
from edgewright.pipeline import side_by_side


def test_results_have_the_order_of_the_items() -> None:
    def work(item: int) -> int:
        time.sleep(0.02 * (5 - item))
        return item * item

    assert side_by_side.each(range(5), work, lambda item: item, 2) == [0, 1, 4, 9, 16]


def test_two_are_at_work_at_once_but_none_that_are_alike() -> None:
    at_work: list[int] = []
    seen: list[tuple[int, ...]] = []
    lock = threading.Lock()

    def work(item: int) -> None:
        with lock:
            at_work.append(item)
            seen.append(tuple(at_work))
        time.sleep(0.05)
        with lock:
            at_work.remove(item)

    side_by_side.each([1, 11, 2, 12], work, lambda item: item % 10, 2)
    assert max(map(len, seen)) == 2
    assert all(len({item % 10 for item in one}) == len(one) for one in seen)


@pytest.mark.parametrize("why", ["an error", "Ctrl-C"])
def test_the_first_error_ends_all_and_leaves_no_child(tmp_path: Path, why: str) -> None:
    ready = threading.Event()

    def work(item: int) -> None:
        if item == 0:
            with child.Child(tmp_path / "log", env=None) as one:
                pids.append(one._process.pid)
                ready.set()
                one.call("subprocess:run", args=["sleep", "60"])
        ready.wait(10)
        if why == "an error":
            raise InvalidInput("no", "", "")
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    pids: list[int] = []
    before = set(child._living)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a library that other tests use may replace it
    begin = time.monotonic()
    try:
        with pytest.raises(InvalidInput if why == "an error" else KeyboardInterrupt):
            side_by_side.each([0, 1, 2], work, lambda item: item, 2)
    finally:
        signal.signal(signal.SIGINT, handler or signal.default_int_handler)
    assert time.monotonic() - begin < 2
    assert not Path(f"/proc/{pids[0]}").exists()
    assert set(child._living) <= before
