"""What the store costs beside the disk and SHA-256 alone, for a 64 MB result."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgewright.core.store import Store

CONTENT = os.urandom(64 << 20)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def raw_write(path: Path) -> None:
    with path.open("wb") as file:
        file.write(CONTENT)
        os.fsync(file.fileno())


def test_write_and_read(benchmark: Any, tmp_path: Path) -> None:
    """Ratios in interleaved rounds: writing over write+fsync, reusing over hashing the same bytes in memory."""
    store, keys = Store(tmp_path / "store"), itertools.count()
    rounds: list[dict[str, float]] = []

    def make(folder: Path) -> None:
        (folder / "data.bin").write_bytes(CONTENT)

    def one() -> None:
        key = {"n": next(keys)}
        rounds.append({
            "write": seconds(lambda: store.stage("perf", key, make)),
            "raw write": seconds(lambda: raw_write(tmp_path / "raw.bin")),
            "read": seconds(lambda: store.stage("perf", key, make)),
            "hash": seconds(lambda: hashlib.sha256(CONTENT).digest()),
        })  # fmt: skip
        shutil.rmtree(tmp_path / "store" / "perf")

    benchmark.pedantic(one, rounds=7)
    for ours, raw in (("write", "raw write"), ("read", "hash")):
        ratio = statistics.median(r[ours] / r[raw] for r in rounds)
        rate = len(CONTENT) / statistics.median(r[ours] for r in rounds) / 1e6
        benchmark.extra_info[ours] = round(ratio, 2)
        print(f"\nstore {ours}: {ratio:.2f} x of {raw} alone, {rate:.0f} MB/s")
