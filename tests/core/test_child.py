"""A child that crashes, hangs or eats memory becomes a named failure, and the parent lives on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from edgewright.core import child, errors, pipes, warm

HERE = Path(__file__).parent


@pytest.fixture(scope="module", autouse=True)
def importable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("targets")
    (folder / "tests_child_targets.py").write_text((HERE / "child_targets.py").read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        yield
    warm.close()


@pytest.fixture(params=["forked", "started"])
def env(request: pytest.FixtureRequest) -> dict[str, str] | None:
    """Of children that a warm process forks, and of such as are started by themselves."""
    return child.YIELDING if request.param == "forked" else None


def run(
    name: str, tmp_path: Path, env: dict[str, str] | None, limits: child.Limits = child.Limits(wall_s=30), **kwargs: Any
) -> Any:
    return child.call(f"tests_child_targets:{name}", log=tmp_path / "log", limits=limits, env=env, **kwargs)


def warm_process() -> int:
    """The process id of the warm process; it is forked from once before."""
    return warm._servers["light"].process.pid


def gone(pid: int) -> bool:
    """Whether a process has ended, within some seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def test_a_child_answers_calls_and_keeps_its_state(tmp_path: Path, env: dict[str, str] | None) -> None:
    with child.Child(tmp_path / "log", env=env) as one:
        assert one.call("tests_child_targets:add", a=1, b=2) == 3
        assert one.call("tests_child_targets:add", a=2, b=2) == 4
        assert one.call("tests_child_targets:calls") == 2
        big = os.urandom(3 << 20)
        assert one.call("tests_child_targets:echo", data=big) == big


def test_progress_reaches_the_parent(tmp_path: Path, env: dict[str, str] | None) -> None:
    seen: list[tuple[int, int, str]] = []
    assert run("steps", tmp_path, env, progress=lambda *step: seen.append(step)) == "done"
    assert seen == [(1, 3, "step"), (2, 3, "step"), (3, 3, "step")]


def test_a_user_error_keeps_its_family_and_words(tmp_path: Path, env: dict[str, str] | None) -> None:
    with pytest.raises(errors.InvalidInput) as caught:
        run("refuse", tmp_path, env)
    assert (caught.value.what, caught.value.why, caught.value.fix) == ("the model is odd", "because", "make it even")


@pytest.mark.parametrize(
    ("name", "family", "words"),
    [
        ("segfault", errors.RuntimeFailed, "SIGSEGV"),
        ("leave", errors.RuntimeFailed, "code 3"),
        ("bug", errors.RuntimeFailed, "ZeroDivisionError"),
    ],
)
def test_each_bad_end_has_a_name(
    tmp_path: Path, name: str, family: type[Exception], words: str, env: dict[str, str] | None
) -> None:
    with pytest.raises(family, match=words):
        run(name, tmp_path, env)


def test_wall_time_is_limited(tmp_path: Path, env: dict[str, str] | None) -> None:
    with pytest.raises(errors.TimedOut, match="longer than 1 s"):
        run("hang", tmp_path, env, child.Limits(wall_s=1))


def test_cpu_time_is_limited(tmp_path: Path, env: dict[str, str] | None) -> None:
    with pytest.raises(errors.TimedOut, match="CPU time"):
        run("spin", tmp_path, env, child.Limits(wall_s=30, cpu_s=1))


def test_memory_is_limited(tmp_path: Path, env: dict[str, str] | None) -> None:
    with pytest.raises(errors.OutOfResources):
        run("eat", tmp_path, env, child.Limits(wall_s=30, memory_bytes=1 << 30))


@pytest.mark.parametrize("how", ["forked", "started"])
def test_children_die_with_a_killed_parent(tmp_path: Path, how: str) -> None:
    pid_file = tmp_path / "pids"
    code = f"import tests_child_targets as t; t.die_as_parent({str(pid_file)!r}, {how == 'forked'})"
    parent = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 30
    while not pid_file.exists() or not pid_file.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    assert all(gone(int(pid)) for pid in pid_file.read_text().split()), "a child outlived its parent"


def test_a_warm_process_outlives_its_children_and_has_one_thread(tmp_path: Path) -> None:
    run("add", tmp_path, child.YIELDING, a=1, b=2)
    before = warm_process()
    limits = child.Limits(wall_s=0.3, memory_bytes=1 << 30)
    for name in ("segfault", "hang", "eat"):
        with pytest.raises(errors.EdgewrightError):
            run(name, tmp_path, child.YIELDING, limits)
    assert run("add", tmp_path, child.YIELDING, a=1, b=2) == 3
    assert warm_process() == before
    assert len(list(Path(f"/proc/{before}/task").iterdir())) == 1


def test_a_killed_warm_process_is_started_again(tmp_path: Path) -> None:
    run("add", tmp_path, child.YIELDING, a=1, b=2)
    with child.Child(tmp_path / "log", env=child.YIELDING) as one:
        one.call("tests_child_targets:add", a=1, b=2)
        os.kill(warm_process(), signal.SIGKILL)
        with pytest.raises(errors.OutOfResources):
            one.call("tests_child_targets:hang")
    assert run("add", tmp_path, child.YIELDING, a=2, b=2) == 4


def test_what_a_child_started_ends_with_it(tmp_path: Path) -> None:
    pid = run("start_one_that_hangs", tmp_path, child.YIELDING)
    assert gone(pid)


def test_a_child_has_the_environment_and_the_folder_of_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = run("surroundings", tmp_path, child.YIELDING)
    assert found == {"folder": str(tmp_path), "waits": "PASSIVE", "mark": None, "imports_here": False}
    before = warm_process()
    monkeypatch.setenv("EDGEWRIGHT_TEST_MARK", "1")
    assert run("surroundings", tmp_path, child.YIELDING)["mark"] == "1"
    assert warm_process() == before
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert run("surroundings", tmp_path, child.YIELDING)["waits"] == "ACTIVE"
    assert warm_process() != before, "libraries read it when they are imported"


def test_ctrl_c_ends_a_child_at_once(tmp_path: Path, env: dict[str, str] | None) -> None:
    with pytest.raises(KeyboardInterrupt), child.Child(tmp_path / "log", env=env) as one:
        pid = one._process.pid
        begin = time.monotonic()
        pipes.send(one._requests, {"target": "tests_child_targets:hang", "kwargs": {}})
        raise KeyboardInterrupt
    assert gone(pid)
    assert time.monotonic() - begin < 1


def test_threads_share_a_warm_process(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(child.call, "tests_child_targets:add", log=tmp_path / f"{n}", a=n, b=n) for n in range(32)]
        assert [job.result() for job in jobs] == [2 * n for n in range(32)]


@pytest.mark.parametrize(
    ("kind", "modules"), [("light", ["scipy"]), pytest.param("heavy", ["torch"], marks=pytest.mark.slow)]
)
def test_a_forked_child_computes_the_same_to_the_bit(tmp_path: Path, kind: warm.Kind, modules: list[str]) -> None:
    plain = run("figures", tmp_path, None, modules=modules)
    assert run("figures", tmp_path, child.YIELDING, kind=kind, modules=modules) == plain
