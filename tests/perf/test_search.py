"""What the search for mixtures finds: the fastest uniform variant, the choice, and every mixture that was measured.

Weights and images are random: only latency is looked at, under a budget that every variant meets.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgewright import api
from edgewright.pipeline.recipe import Recipe

MODELS = {
    "mobilenetv3_large_100": "timm:mobilenetv3_large_100?pretrained=false",
    "efficientnet_b0": "timm:efficientnet_b0?pretrained=false",
    "convnext_atto": "timm:convnext_atto?pretrained=false",
    "vit_tiny_patch16_224": "timm:vit_tiny_patch16_224?pretrained=false",
    "yolo11n": "ultralytics:yolo11n.yaml?imgsz=320",
}
RECIPE = Recipe(
    methods=("minmax",), normalize=("host",), finalists=0, calibration_images=32, search=True, time_budget_s=240,
    min_duration_s=2.0, min_count=130,
)  # fmt: skip


@pytest.mark.parametrize("name", list(MODELS))
def test_choice_over_the_fastest_uniform(benchmark: Any, name: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for index in range(160):  # of which a quarter calibrates
        pixels = random.integers(0, 256, (256, 256, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    job = {"data": tmp_path, "out": tmp_path / "out", "recipe": RECIPE, "budget": "p50 <= 1000ms"}
    outcome = benchmark.pedantic(lambda: api.optimize(MODELS[name], **job), rounds=1)
    show(outcome.report)
    assert outcome.report.search is not None


def show(report: api.Report) -> None:
    """Print every measurement against the fastest uniform one, and what the search tells."""
    rows = [m for m in report.measurements if m.latency and m.latency.p50_ms]
    fastest = min((m for m in rows if not m.float_layers), key=lambda m: m.latency.p50_ms)  # type: ignore
    print()
    for row in sorted(rows, key=lambda m: m.latency.p50_ms):  # type: ignore
        ratio = fastest.latency.p50_ms / row.latency.p50_ms  # type: ignore
        chosen = ">" if report.choice and row.id == report.choice.id else " "
        print(f"{chosen} {row.id:<42} {row.latency.p50_ms:8.2f} ms  {ratio:6.3f} x  {len(row.float_layers):3} float")  # type: ignore
    assert report.search is not None
    for mixture in report.search.mixtures:
        print("   ", mixture.id, mixture.float_layers, mixture.ratio, mixture.inside, mixture.reason or "")
    print(report.search.told)
    print(report.choice.why if report.choice else "")
