"""Killed at any moment the same command finishes afterwards; two at once share a store."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edgewright.core.store import Store

RECIPE = """\
runtimes = ["onnxruntime"]
methods = ["minmax"]
normalize = ["host"]
min_duration_s = 0.1
min_count = 30
"""
KILLS = 3


def start(job: Path, store: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable, "-m", "edgewright", "optimize", "torch:tiny:build", "--spec", str(job / "tiny.toml"),
        "--data", str(job / "images"), "--recipe", str(job / "recipe.toml"), "-o", str(out),
    ]  # fmt: skip
    environment = {**os.environ, "EDGEWRIGHT_CACHE": str(store)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(run: subprocess.Popen[bytes]) -> None:
    _, error = run.communicate(timeout=300)
    assert run.returncode == 0, error.decode()


def result(out: Path) -> list[dict[str, Any]]:
    """What must be the same however often the run was interrupted: everything but timings."""
    report = json.loads((out / "report.json").read_bytes())
    keep = ("id", "status", "artifact", "accuracy", "size_bytes", "described")
    return [{key: m.get(key) for key in keep} for m in report["measurements"]]


def assert_whole(store: Path) -> None:
    """Nothing half-written stands under a final name, and nothing temporary is left."""
    kept = Store(store)
    assert kept.entries()
    assert [Store.damage(path) for path, _, _ in kept.entries()] == [""] * len(kept.entries())
    assert not list(store.rglob("*.tmp"))


@pytest.fixture
def job(tiny: Path) -> Path:
    (tiny / "recipe.toml").write_text(RECIPE)
    return tiny


@pytest.mark.parametrize("stores", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_moments_finishes_with_the_same_result(job: Path, stores: int) -> None:
    begin = time.monotonic()
    finish(start(job, job / "whole", job / "out"))
    seconds = time.monotonic() - begin
    expected = result(job / "out")
    moments = random.Random(20)
    for number in range(stores):
        store, out = job / f"store{number}", job / f"out{number}"
        for _ in range(KILLS):
            run = start(job, store, out)
            time.sleep(moments.uniform(0.3, seconds * 0.6))
            run.send_signal(signal.SIGKILL)
            run.communicate()
            for report in out.glob("report.json"):
                json.loads(report.read_bytes())  # under its final name only a whole file
        finish(start(job, store, out))
        assert result(out) == expected
        assert_whole(store)


def test_two_runs_on_one_store_share_the_work(job: Path) -> None:
    store = job / "store"
    runs = [start(job, store, job / f"out{number}") for number in (1, 2)]
    for run in runs:
        finish(run)
    assert result(job / "out1") == result(job / "out2")
    assert_whole(store)
    reports = [json.loads((job / f"out{number}" / "report.json").read_bytes()) for number in (1, 2)]
    made = [{(s["stage"], s.get("id")) for s in report["stages"] if not s.get("reused")} for report in reports]
    assert made[0] & made[1] == set(), "each step was made by one of the two"


def test_a_flipped_byte_in_the_store_is_found_and_the_step_made_again(job: Path) -> None:
    store = job / "store"
    finish(start(job, store, job / "out"))
    expected = result(job / "out")
    for stage in ("export", "quantize", "compile", "evaluate"):
        target = max((p for p in (store / stage).rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
        content = bytearray(target.read_bytes())
        content[len(content) // 2] ^= 0x10
        target.write_bytes(content)
    run = start(job, store, job / "out")
    _, error = run.communicate(timeout=300)
    assert run.returncode == 0
    assert error.decode().count("the stored one was damaged") == 4
    assert result(job / "out") == expected
