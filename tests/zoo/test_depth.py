"""INT8 of a depth network that was trained on scenes keeps AbsRel (docs/benchmarks/tasks.md). Slow: it trains first."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
SCENES = Path(__file__).with_name("depth_scenes.py")


def test_int8_keeps_the_relative_error(tmp_path: Path) -> None:
    def run(*arguments: str) -> None:
        done = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    run(str(SCENES), ".")
    source = ("optimize", f"torch:{SCENES}:build", "--checkpoint", "weights.safetensors", "--data", "data")
    run("-m", "edgewright", *source, "-o", "out")
    report = json.loads((tmp_path / "out/report.json").read_text())
    scores = {m["id"]: m["accuracy"]["scores"] for m in report["measurements"] if m.get("accuracy")}
    exact = next(found for name, found in scores.items() if name.endswith("f32"))
    int8 = [found["abs_rel"]["value"] for name, found in scores.items() if "int8" in name]
    assert exact["delta1"]["value"] > 90 and int8
    assert min(int8) <= 1.01 * exact["abs_rel"]["value"]
