"""Results are kept by what went in, checked on reading, shared between runs, and survive being killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgewright.core.store import Store, key_of


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def make(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "data.bin").write_bytes(bytes(range(256)) * 64)


def test_a_result_is_made_once(store: Store) -> None:
    first = store.stage("export", {"a": 1}, make)
    second = store.stage("export", {"a": 1}, lambda _: pytest.fail("made again"))
    assert (first.reused, second.reused) == (False, True)
    assert second.path == first.path


def test_the_key_covers_every_input_and_not_their_order() -> None:
    assert key_of("s", {"a": 1, "b": 2}) == key_of("s", {"b": 2, "a": 1})
    assert len({key_of("s", {"a": 1}), key_of("s", {"a": 2}), key_of("s", {"a": "1"}), key_of("t", {"a": 1})}) == 4


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "add", "manifest", "inputs"])
def test_a_damaged_result_is_found_and_made_again(store: Store, damage: str) -> None:
    path = store.stage("compile", {"model": "resnet"}, make).path
    target = path / "sub" / "data.bin"
    if damage == "flip":
        content = bytearray(target.read_bytes())
        content[1000] ^= 1
        target.write_bytes(content)
    elif damage == "truncate":
        target.write_bytes(target.read_bytes()[:-1])
    elif damage == "remove":
        target.unlink()
    elif damage == "add":
        (path / "more").write_bytes(b"")
    elif damage == "inputs":
        manifest = path / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"resnet"', '"resnes"'))
    else:
        (path / "manifest.json").write_text("{")
    entry = store.stage("compile", {"model": "resnet"}, make)
    assert not entry.reused
    assert entry.damage
    assert store.stage("compile", {"model": "resnet"}, make).reused


def test_what_fails_leaves_nothing(store: Store) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_bytes(b"half")
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        store.stage("quantize", {}, fail)
    assert os.listdir(store.root / "quantize") == []


SLOW = """
import sys, time
from pathlib import Path
from edgewright.core.store import Store
def make(folder):
    (folder / "half").write_bytes(b"x" * 4096)
    Path(sys.argv[2]).write_text("started")
    time.sleep(float(sys.argv[3]))
    (folder / "whole").write_bytes(b"y")
entry = Store(Path(sys.argv[1])).stage("slow", {}, make)
print(entry.reused)
"""


def start(store: Store, flag: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SLOW, str(store.root), str(flag), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_for(flag: Path) -> None:
    deadline = time.monotonic() + 30
    while not flag.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_killed_run_leaves_no_result_and_its_remains_are_swept(store: Store, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    run = start(store, flag, 60)
    wait_for(flag)
    assert store.sweep() == 0, "a running stage must not be swept"
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert store.entries() == []
    assert store.sweep() == 4096
    assert os.listdir(store.root / "slow") == []


def test_two_runs_share_the_work(store: Store, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    first = start(store, flag, 1.0)
    wait_for(flag)
    second = start(store, tmp_path / "other", 1.0)
    answers = sorted(run.communicate()[0].strip() for run in (first, second))
    assert answers == ["False", "True"]
    assert not (tmp_path / "other").exists()


def test_prune_removes_what_is_not_kept(store: Store) -> None:
    store.stage("a", {"n": 1}, make)
    store.stage("a", {"n": 2}, make)
    kept = store.entries()[0][0]
    assert store.prune(lambda path, size, used: path == kept) > 256 * 64
    assert [path for path, _, _ in store.entries()] == [kept]
