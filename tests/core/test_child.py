"""A child that crashes, hangs or eats memory becomes a named failure, and the parent lives on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgewright.core import child, errors

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tests_child_targets.py").write_text((HERE / "child_targets.py").read_text())
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def run(name: str, tmp_path: Path, limits: child.Limits = child.Limits(wall_s=30), **kwargs: object) -> object:
    return child.call(f"tests_child_targets:{name}", log=tmp_path / "log", limits=limits, **kwargs)


def test_a_child_answers_calls_and_keeps_its_state(tmp_path: Path) -> None:
    with child.Child(tmp_path / "log") as one:
        assert one.call("tests_child_targets:add", a=1, b=2) == 3
        assert one.call("tests_child_targets:add", a=2, b=2) == 4
        assert one.call("tests_child_targets:calls") == 2
        big = os.urandom(3 << 20)
        assert one.call("tests_child_targets:echo", data=big) == big


def test_progress_reaches_the_parent(tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    assert run("steps", tmp_path, progress=lambda *step: seen.append(step)) == "done"
    assert seen == [(1, 3, "step"), (2, 3, "step"), (3, 3, "step")]


def test_a_user_error_keeps_its_family_and_words(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidInput) as caught:
        run("refuse", tmp_path)
    assert (caught.value.what, caught.value.why, caught.value.fix) == ("the model is odd", "because", "make it even")


@pytest.mark.parametrize(
    ("name", "family", "words"),
    [
        ("segfault", errors.RuntimeFailed, "SIGSEGV"),
        ("leave", errors.RuntimeFailed, "code 3"),
        ("bug", errors.RuntimeFailed, "ZeroDivisionError"),
    ],
)
def test_each_bad_end_has_a_name(tmp_path: Path, name: str, family: type[Exception], words: str) -> None:
    with pytest.raises(family, match=words):
        run(name, tmp_path)


def test_wall_time_is_limited(tmp_path: Path) -> None:
    with pytest.raises(errors.TimedOut, match="longer than 1 s"):
        run("hang", tmp_path, child.Limits(wall_s=1))


def test_cpu_time_is_limited(tmp_path: Path) -> None:
    with pytest.raises(errors.TimedOut, match="CPU time"):
        run("spin", tmp_path, child.Limits(wall_s=30, cpu_s=1))


def test_memory_is_limited(tmp_path: Path) -> None:
    with pytest.raises(errors.OutOfResources):
        run("eat", tmp_path, child.Limits(wall_s=30, memory_bytes=1 << 30))


def test_children_die_with_a_killed_parent(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = f"import tests_child_targets as t; t.die_as_parent({str(pid_file)!r})"
    parent = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 30
    while not pid_file.exists() or not pid_file.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    pid = int(pid_file.read_text())
    parent.kill()
    parent.wait()
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1][:3]:
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.02)
