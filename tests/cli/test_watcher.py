"""What is seen of a run while it goes on: a table on a terminal, lines in a log, how Ctrl-C ends it."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from edgewright.cli import watcher
from edgewright.cli.board import Board, Left, took_before
from edgewright.cli.watcher import Watcher, render
from edgewright.pipeline.stages.runner import Row

TOOK = {"quantize": 10.0, "compile": 2.0, "evaluate": 3.0, "latency": 40.0}


def ahead(id: str, *stages: str) -> tuple[tuple[str, str], ...]:
    return (*((stage, id) for stage in stages), ("latency", ""))


def filled() -> Board:
    """A run in the middle: one candidate proven, one failed, one being compiled, one waiting."""
    board = Board(0.0, TOOK.get)
    for id in ("openvino-f32", "openvino-int8-minmax", "openvino-int8-round", "onnxruntime-int8-x86-vnni-entropy"):
        board.row(Row(id=id, state="waiting", ahead=ahead(id, "compile", "evaluate")))
    board.row(
        Row(
            id="openvino-f32", state="answered", title="top-1 %", score=97.66, delta=(0.0, -0.45, 0.45),
            standing="proven", p50_ms=0.8234, ahead=(("latency", ""),),
        )
    )  # fmt: skip
    board.row(Row(id="openvino-int8-minmax", state="failed", reason="there is no kernel for it"))
    board.step("compile", "openvino-int8-round", 0, 0, "", 10.0)
    board.step("compile", "openvino-int8-round", 30, 100, "30 of 100", 12.0)
    return board


def seen(board: Board, now: float, width: int, height: int = 40) -> list[str]:
    console = Console(width=width, height=height, file=io.StringIO(), record=True)
    console.print(render(board, now, width, height))
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_the_table_fills() -> None:
    lines = seen(filled(), 14.0, 80)
    assert [" ".join(line.split()) for line in lines if not line.startswith("compile")] == [
        "",
        "variant top-1 % diff ms state",
        "openvino-f32 97.66 +0.0 ~0.823 confirmed",
        "openvino-int8-minmax failed: there is no ke…",
        "openvino-int8-round compile 30%",
        "onnxruntime-int8-x86-vnni-entropy waiting",
        "",
        "0:14 · at least 0:55 left",
    ]
    assert max(map(len, lines)) <= 80
    wide = seen(filled(), 14.0, 100)
    assert "+0.0 [-0.5,+0.5] ~0.823" in " ".join(" ".join(wide).split())
    assert any(line.startswith("compile") and "30 of 100" in line and line.endswith("0:04") for line in wide)


def test_a_low_terminal_shows_what_matters_most() -> None:
    board = filled()
    for number in range(20):
        board.row(Row(id=f"more-{number}", state="waiting"))
    lines = seen(board, 14.0, 80, 12)
    assert len(lines) <= 12
    text = "\n".join(lines)
    assert "openvino-f32" in text and "openvino-int8-round" in text and "openvino-int8-minmax" not in text
    assert "and 1 failed, " in text


def test_the_time_left_is_that_of_the_work_that_is_known() -> None:
    board = Board(0.0, TOOK.get)
    assert board.left_s(0.0) is None
    board.row(Row(id="a", state="waiting", ahead=(("quantize", "shared"), *ahead("a", "compile", "evaluate"))))
    board.row(Row(id="b", state="waiting", ahead=(("quantize", "shared"), *ahead("b", "compile", "evaluate"))))
    assert board.left_s(0.0) == Left(10 + 2 * (2 + 3) + 40, True), "what two share is done once"
    board.step("quantize", "shared", 0, 0, "", 0.0)
    board.step("quantize", "shared", 10, 40, "", 5.0)
    assert board.left_s(5.0) == Left(15 + 10 + 40, True), "its own progress says more than earlier runs"
    board.step("quantize", "shared", 1, 1, "20.0 s", 20.0)
    assert board.left_s(20.0) == Left(10 + 40, True)
    board.step("compile", "a", 0, 0, "", 20.0)
    board.step("compile", "a", 1, 1, "8.0 s", 28.0)
    assert board.left_s(28.0) == Left(8 + 2 * 3 + 40, True), "a stage like it took longer in this run"
    board.row(Row(id="a", state="answered", ahead=(("latency", ""),)))
    board.row(Row(id="b", state="failed"))
    board.step("latency", "1 artifact", 0, 0, "", 30.0)
    board.step("latency", "1 artifact", 25, 100, "", 40.0)
    assert board.left_s(40.0) == Left(30, False)
    board.within_s = 60.0
    assert board.left_s(40.0) == Left(20, False), "a time limit ends it"


def test_what_the_store_has_and_what_goes_side_by_side_takes_less_time() -> None:
    stored = Board(0.0, TOOK.get)
    stored.row(Row(id="a", state="waiting", ahead=(("quantize", "a"),)))
    for number in range(4):
        stored.step("compile", str(number), 1, 1, "from the store", 0.0)
    assert stored.left_s(0.0) == Left(0.0, False)
    both = Board(0.0, TOOK.get)
    both.row(Row(id="c", state="waiting", ahead=(("quantize", "c"),)))
    for id in ("a", "b"):
        both.step("quantize", id, 0, 0, "", 0.0)
    for id in ("a", "b"):
        both.step("quantize", id, 1, 1, "10.0 s", 10.0)
    assert both.left_s(10.0) == Left(5.0, False)


def test_the_store_says_how_long_a_stage_took(tmp_path: Path) -> None:
    for number, seconds in enumerate((4.0, 6.0)):
        folder = tmp_path / "quantize" / str(number)
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps({"seconds": seconds, "inputs": {}}))
    assert took_before("quantize", tmp_path) == 5.0
    assert took_before("compile", tmp_path) is None
    assert took_before("../quantize", tmp_path) is None
    (tmp_path / "quantize" / "0" / "manifest.json").write_text("{")
    assert took_before("quantize", tmp_path) is None


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock, in a log."""
    clock = [100.0]
    monkeypatch.setattr(watcher, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(watcher, "took_before", lambda stage: None)
    monkeypatch.delenv("FORCE_COLOR", raising=False)  # rich takes it for a terminal
    return clock


def plain(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [" ".join(line.split()) for line in capsys.readouterr().err.splitlines()]


def test_a_log_tells_how_far_a_step_is(now: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Watcher() as watch:
        for second in range(65):
            now[0] = 100.0 + second
            watch("distill", "model", second, 200, f"step {second}")
        now[0] = 170.0
        watch("distill", "model", 200, 200, "done")
        watch("export", "model", 0, 0, "")
    assert plain(capsys) == [
        "30.0 s distill model 15% step 30 at least 2:45 left",
        "60.0 s distill model 30% step 60 at least 2:15 left",
        "70.0 s distill model done",
    ]


def test_a_log_has_a_line_for_each_result(now: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    found: dict[str, Any] = {"title": "top-1 %", "score": 97.0, "delta": (-0.5, -0.9, 0.1), "standing": "proven"}
    with Watcher() as watch:
        watch("export", "net", 1, 1, "2.0 s")
        for id in ("a", "b"):
            watch.row(Row(id=id, state="waiting"))
        for stage in ("quantize", "compile", "evaluate"):
            watch(stage, "a", 0, 0, "")
            watch(stage, "a", 1, 1, "1.0 s")
        watch.row(Row(id="a", state="answered", **found))
        watch.row(Row(id="a", state="answered", p50_ms=1.25, **found))
        watch.row(Row(id="b", state="failed", reason="no kernel"))
        watch.row(Row(id="by the way", state="answered", **found))
        watch("latency", "1 artifact, interleaved", 1, 1, "9.0 s")
        watch.row(Row(id="a", state="measured", **{**found, "p50_ms": 1.2}))
    assert plain(capsys) == [
        "0.0 s export net 2.0 s",
        "0.0 s a top-1 97.00 -0.5 [-0.9,+0.1] confirmed",
        "0.0 s b failed: no kernel",
        "0.0 s latency 1 artifact, interleaved 9.0 s",
    ]


def test_threads_watch_at_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")

    def work(number: int) -> None:
        for step in range(50):
            watch(f"stage{number}", "model", step, 50, "step")
            watch.row(Row(id=f"{number}-{step}", state="waiting"))
        watch("export", f"of {number}", 1, 1, "at last")

    with Watcher() as watch:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            watch._live.refresh()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
    assert capsys.readouterr().err.count("at last") == 4


WORK = """
import sys, threading
from pathlib import Path
from edgewright.cli.watcher import Watcher
from edgewright.core.child import Child
with Watcher() as watch:
    watch("compile", "model", 0, 0, "")
    with Child(Path(sys.argv[1])) as child:
        print(child.call("os:getpid"), flush=True)
        work = lambda: child.call("subprocess:call", args=["sleep", "60"])
        if sys.argv[2] == "thread":  # which does not hear of Ctrl-C, and is waited for
            worker = threading.Thread(target=work)
            worker.start()
            try:
                worker.join()
            finally:
                threading.Event().wait()
        work()
"""


@pytest.mark.parametrize("how", ["main", "thread"])
def test_an_interrupted_run_ends_within_a_second_and_says_how_to_go_on(tmp_path: Path, how: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WORK, str(tmp_path / "log"), how], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        assert run.stdout and run.stderr
        child = int(run.stdout.readline())
        time.sleep(0.2)
        start = time.monotonic()
        run.send_signal(signal.SIGINT)
        run.wait(10)
        took = time.monotonic() - start
        assert run.stderr.read().count(b"finished steps are kept") == 1
    assert took < 1.5, "a second, and what a busy machine adds"
    while time.monotonic() - start < 5 and Path(f"/proc/{child}/stat").exists():
        time.sleep(0.05)
    assert not Path(f"/proc/{child}/stat").exists(), "nothing goes on"
