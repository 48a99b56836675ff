"""The whole product on one page: run this before every commit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import edgewright
from edgewright import api
from edgewright.pipeline.recipe import Recipe

RECIPE = Recipe(effort="thorough", methods=("minmax", "nncf"), finalists=1, min_duration_s=0.2, min_count=40)


def test_a_trained_model_becomes_a_measured_bundle(tiny: Path) -> None:
    outcome = edgewright.optimize(
        "torch:tiny:build?width=16", spec=tiny / "tiny.toml", data=tiny / "images", out=tiny / "out",
        budget="top1 >= -1.0", recipe=RECIPE,
    )  # fmt: skip

    report = outcome.report
    assert report.reference is not None
    assert report.reference.runtime == "torch"
    assert report.reference.accuracy is not None
    assert report.reference.accuracy.score == 100.0
    measured = [m for m in report.measurements if m.status == "ok"]
    assert {m.runtime for m in measured} == {"onnxruntime", "openvino"}
    assert {"f32", "int8"} <= {m.precision for m in measured}
    assert any(m.variant.endswith("+uint8") for m in measured)
    for m in measured:
        assert m.latency is not None and m.latency.p50_ms is not None and m.latency.samples >= 40
        assert m.accuracy is not None and m.accuracy.delta is not None
        assert m.size_bytes and m.peak_memory_bytes and m.cold_start_ms

    assert report.chosen is not None and outcome.best is not None
    assert api.read_report(tiny / "out") == report
    assert (tiny / "out" / "report.html").stat().st_size > 10_000
    assert "colours" in (tiny / "out" / "report.md").read_text()

    path = outcome.best.save(tiny / "device" / "colours.edge")
    red = np.zeros((30, 40, 3), np.uint8) + np.array([220, 20, 20], np.uint8)
    Image.fromarray(red).save(tiny / "red.png")
    with edgewright.open(path) as session:
        assert session(tiny / "red.png").label == "red"
        assert [a.label for a in session([red[..., ::-1].copy(), Image.fromarray(red)])] == ["blue", "red"]
