"""A/A: six copies of one artifact beside each other must come out equal, on an idle machine and beside a busy loop.

For each network and condition a table of `EDGEWRIGHT_AA_RUNS` runs (default 2): the spread of the six medians, the
pairs whose 99 % intervals of p50 and p90 exclude each other, those that `faster` tells apart with 99 % confidence, and
how far the parts of a call are from the call. Of all pairs at most one in 100 may be apart. Weights and images are
random.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgewright.bench.latency import Rules, Setup, measure_interleaved
from edgewright.bench.results import Latency, faster
from edgewright.core.store import Store
from edgewright.data import sets
from edgewright.pipeline.stages.export import Source, export
from edgewright.pipeline.stages.model import MODEL, spec_of
from edgewright.pipeline.stages.runner import StageRunner
from edgewright.runtimes import artifact
from edgewright.runtimes.options import Options
from edgewright.tasks.scores import Interval

RUNS, COPIES = int(os.environ.get("EDGEWRIGHT_AA_RUNS", "2")), 6
NETWORKS = {
    "classifier": ("timm:mobilenetv3_small_100?pretrained=false", "openvino"),
    "detector": ("ultralytics:yolo11n.yaml?imgsz=160", "openvino"),
    "resnet50": ("timm:resnet50?pretrained=false", "onnxruntime"),
}
RULES = Rules(min_duration_s=2.0)
BUSY = """
import random, time
drawn = random.Random(5)
while True:
    end = time.monotonic() + drawn.expovariate(1 / 1.5)
    while time.monotonic() < end:
        pass
    time.sleep(drawn.expovariate(1 / 2.5))
"""
"""Takes a core for 1.5 s, leaves it for 2.5 s, each on average."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    paths = [folder / f"{number}.png" for number in range(4)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (240, 320, 3), np.uint8)).save(path)
    return list(map(str, paths))


@pytest.fixture(params=NETWORKS, scope="module")
def built(request: pytest.FixtureRequest, images: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, runtime = NETWORKS[request.param]
    pytest.importorskip(runtime)
    folder = tmp_path_factory.mktemp("built")
    few = sets.read(Path(images[0]).parent)
    made = export(StageRunner(store=Store(folder / "store")), Source(source=source), few.only(few.items[:2]), None)
    artifact.build(made.path / MODEL, spec_of(made), Options(runtime=runtime), folder / request.param)
    return folder / request.param


@pytest.mark.parametrize("condition", ["idle", "busy"])
def test_copies_come_out_equal(benchmark: Any, built: Path, images: list[str], condition: str, tmp_path: Path) -> None:
    runs: list[list[Latency]] = []

    def measure() -> None:
        with beside(condition):
            start = time.monotonic()
            copies = {f"{built.name}-{letter}": built for letter in "abcdef"[:COPIES]}
            found = measure_interleaved(copies, images, tmp_path / str(len(runs)), Setup(rules=RULES))
            latencies = [timing.latency for timing in found.values()]
            runs.append([latency for latency in latencies if latency])
            print(row(runs[-1], time.monotonic() - start))

    print(f"\n{built.name}, {condition}")
    print("    p50 ms  spread  apart: p50  p90  faster   parts  launches  rounds  seconds")
    benchmark.pedantic(measure, rounds=RUNS)
    assert all(len(run) == COPIES for run in runs)
    pairs = sum(len(list(itertools.combinations(run, 2))) for run in runs)
    for name in ("p50", "p90"):
        count = sum(apart(run, name) for run in runs)
        print(f"  {name}: {count} of {pairs} pairs apart")
        assert count <= max(1, pairs / 100)
    assert max(unexplained(latency) for run in runs for latency in run) < 0.03
    if condition == "idle":
        assert np.median([spread(run) for run in runs]) < 0.03


def row(run: Sequence[Latency], seconds: float) -> str:
    told = [ratio for one, other in itertools.combinations(run, 2) if (ratio := faster(one, other, 0.99))]
    differ = sum(not ratio.low <= 1 <= ratio.high for ratio in told)
    return (
        f"  {np.median([latency.p50_ms or 0 for latency in run]):8.3f} {spread(run):7.1%} {apart(run, 'p50'):11} "
        f"{apart(run, 'p90'):4} {differ:7} {max(map(unexplained, run)):7.2%} {run[0].launches:9} {run[0].rounds:7} "
        f"{seconds:8.1f}"
    )


def spread(run: Sequence[Latency]) -> float:
    """How much larger the largest of the medians is than the smallest."""
    p50 = [latency.p50_ms or 0.0 for latency in run]
    return max(p50) / min(p50) - 1


def apart(run: Sequence[Latency], name: str) -> int:
    """The pairs whose intervals of the percentile `name` exclude each other."""
    intervals: list[Interval] = [found for latency in run if (found := getattr(latency, f"{name}_interval_ms"))]
    return sum(a.low > b.high or b.low > a.high for a, b in itertools.combinations(intervals, 2))


def unexplained(latency: Latency) -> float:
    """The share of the median call that its parts do not add up to."""
    parts = (latency.preprocess_p50_ms, latency.runtime_p50_ms, latency.postprocess_p50_ms)
    return abs(sum(part or 0.0 for part in parts) / (latency.p50_ms or 1.0) - 1)


@contextmanager
def beside(condition: str) -> Iterator[None]:
    """A busy loop that comes and goes, where it is asked for."""
    if condition == "idle":
        yield
        return
    loop = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        loop.kill()
        loop.wait()
