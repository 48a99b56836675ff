"""How much faster the chosen artifact of resnet18 is than ONNX Runtime in float32, interleaved in one run.

Weights and images are random: only latency is looked at. The ratio depends on the machine: with VNNI or AMX it is
several times that of a machine with AVX2 alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgewright import api
from edgewright.pipeline.recipe import Recipe


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_large_100"])
def test_best_over_onnxruntime_float32(benchmark: Any, name: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for index in range(160):
        pixels = random.integers(0, 256, (256, 256, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    recipe = Recipe(effort="thorough", methods=("minmax", "nncf"), calibration_images=32, min_duration_s=2.0)
    outcome = benchmark.pedantic(
        lambda: api.optimize(
            f"timm:{name}?pretrained=false", data=tmp_path, out=tmp_path / "out", recipe=recipe,
            budget="agreement >= 0%",
        ), rounds=1,
    )  # fmt: skip
    rows = {m.id: m for m in outcome.report.measurements if m.latency and m.latency.p50_ms}
    base = rows["onnxruntime-f32"].latency.p50_ms
    print()
    for id, row in sorted(rows.items(), key=lambda pair: pair[1].latency.p50_ms):
        mark = ">" if id == outcome.report.choice.id else " "
        print(f"{mark} {id:<45} {row.latency.p50_ms:8.2f} ms  {base / row.latency.p50_ms:5.2f} x")
    print(outcome.report.choice.why)
