"""A detector that learns from few images: seen as they are, or enlarged, made smaller and moved.

pytest tests/perf/test_views.py --benchmark-only -s

The demo's detector loses eight blocks and learns for eight passes from 1000 scenes that it never saw; mAP of float
weights on other scenes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgewright import api
from edgewright.data import scenes
from edgewright.demo.scenes import SOURCE
from edgewright.demo.train_detector import WEIGHTS
from edgewright.pipeline.jobs.prune_cut import Wanted
from edgewright.quantize.distillation.schedule import RECOVERY, replaced

pytestmark = pytest.mark.timeout(3600)
IMAGES, EPOCHS = 1000, 8


def test_few_images_as_they_are_and_moved(benchmark: Any, tmp_path: Path) -> None:
    pytest.importorskip("ultralytics", reason="the extra edgewright[ultralytics] is not installed")
    scenes.write(tmp_path / "scenes", {"calib": IMAGES, "test": 400})
    given = {"data": tmp_path / "scenes", "checkpoint": WEIGHTS}
    api.prune(SOURCE, out=tmp_path / "student", wanted=Wanted(blocks=8), runtime="openvino", schedule=None, **given)

    def compare() -> None:
        for zoom in (1.0, RECOVERY.zoom):
            found = api.distill(
                SOURCE, student=str(tmp_path / "student"), out=tmp_path / f"{zoom}", **given,
                schedule=replaced(RECOVERY, epochs=EPOCHS, lr=1e-3, patience=1.0, zoom=zoom),
            )  # fmt: skip
            passes = " ".join(f"{epoch.metric:.1f}" for epoch in found.history.epochs)
            print(
                f"\nzoom {zoom}: mAP {found.accuracy_student.score:.1f} of {found.accuracy_teacher.score:.1f}; "
                f"held out {found.history.began:.1f} -> {passes}; "
                f"{found.history.feeding:.0%} of the time for images", flush=True
            )  # fmt: skip

    benchmark.pedantic(compare, rounds=1)
