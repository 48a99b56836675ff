"""Choosing calibration images of very many: `pytest tests/perf/test_data.py --benchmark-only -s`."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewright.data import sets
from edgewright.pipeline import images as image_sets

COUNT, CLASSES, CHOSEN = 100_000, 100, 300


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    random = np.random.default_rng(0)
    for k in range(CLASSES):
        (folder / "train" / f"{k:03}").mkdir(parents=True)
    for k in range(COUNT):
        pixels = random.integers(0, 256, 32 * 32 * 3, dtype=np.uint8)
        (folder / "train" / f"{k % CLASSES:03}" / f"{k}.ppm").write_bytes(b"P6 32 32 255\n" + pixels.tobytes())
    return folder


def test_listing_100_000_images(many: Path, benchmark: Any) -> None:
    found = benchmark.pedantic(sets.listed, (many, "train"), rounds=3)
    assert len(found.items) == COUNT


def test_choosing_300_of_them(many: Path, benchmark: Any) -> None:
    """Bound: 2 s on two cores. Memory grows by the keys of the images, 70 bytes each, not by their pixels."""
    every = sets.listed(many, "train")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = benchmark.pedantic(image_sets.taken, (every, CHOSEN, 0), rounds=3)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"\nchoosing {CHOSEN} of {COUNT}: {benchmark.stats['median']:.2f} s, {grown:.0f} MiB more")
    assert len(found.items) == CHOSEN
