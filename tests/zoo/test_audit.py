"""The audit on real weights: the collapse of full-range INT8 without VNNI is reproduced, found, and avoided."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from edgewright import api
from edgewright.pipeline import hosts
from edgewright.pipeline.recipe import Recipe

pytestmark = [pytest.mark.zoo, pytest.mark.slow]
HERE = Path(__file__).parent
RECIPE = Recipe(
    effort="thorough",
    runtimes=("onnxruntime",), schemes=("ort-x86-vnni", "ort-x86"), methods=("minmax",), precisions=("f32", "int8"),
    normalize=("host",), finalists=0, min_duration_s=0.3, min_count=20,
)  # fmt: skip
FULL, SEVEN = "onnxruntime-int8-x86-vnni-minmax", "onnxruntime-int8-x86-minmax"


def optimize(zoo: Path, out: Path) -> api.Report:
    return api.optimize(
        f"torch:{HERE / 'models.py'}:mobilenetv1?width=0.75", data=zoo / "imagenet", out=out, recipe=RECIPE,
        checkpoint=zoo / "weights/mobilenetv1_075_keras_imagenet_timm.pt", spec=HERE / "specs/mobilenetv1.toml",
        isa=["avx2"], budget="top1 >= -8.0",
    ).report  # fmt: skip


def check(report: api.Report) -> None:
    full, seven = report.measurement(FULL), report.measurement(SEVEN)
    levels = {f.code: f.level for f in full.findings}
    assert levels["saturation"] == "error" and levels["confidence"] != "ok"
    assert not seven.findings
    assert full.accuracy and seven.accuracy and seven.accuracy.score and full.accuracy.score
    assert full.accuracy.score < 70 and seven.accuracy.score > 75, "of 81.25 in float and 81 in exact INT8"
    assert report.choice and report.choice.id not in (None, FULL)


def test_the_collapse_without_vnni_is_found_and_avoided(zoo: Path, tmp_path: Path) -> None:
    check(optimize(zoo, tmp_path))


def test_on_a_machine_with_vnni_it_is_emulated(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = hosts.here()
    with_vnni = replace(here.machine, isa=("avx2", "avx512f", "avx512_vnni", "vnni"))
    monkeypatch.setattr(hosts, "here", lambda: type(here)(**{**here.__dict__, "machine": with_vnni}))
    report = optimize(zoo, tmp_path)
    check(report)
    assert "emulated" in {f.code for f in report.measurement(FULL).findings}
    assert "emulated" not in {f.code for f in report.measurement(SEVEN).findings}
    assert [f.code for f in report.findings] == ["isa"]
