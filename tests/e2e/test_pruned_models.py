"""Architectures of timm and Ultralytics lose 30 % of their channels and go all the way: saved, loaded in a new process,
exported with parity, quantized, run. Random weights do: what is tested is that nothing breaks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgewright.cli.main import run_command
from edgewright.data import digits, scenes

CLASSIFIERS = (
    "resnet18", "resnet50", "mobilenetv3_large_100", "efficientnet_b0", "convnext_atto", "vit_tiny_patch16_224",
    "deit_tiny_patch16_224", "swin_tiny_patch4_window7_224",
)  # fmt: skip
DETECTORS = ("yolo11n", "yolo26n")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few digits, and a few scenes of digits."""
    folder = tmp_path_factory.mktemp("data")
    digits.write(folder / "digits")
    for kind in (folder / "digits").glob("*/*"):
        for path in sorted(kind.glob("*.png"))[4:]:
            path.unlink()
    scenes.write(folder / "scenes", {"calib": 40, "test": 16})
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", [*CLASSIFIERS, *DETECTORS])
def test_a_third_less_goes_all_the_way(
    name: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if name in DETECTORS:
        source, images = f"ultralytics:{name}.yaml?nc=10&imgsz=160", "scenes"
    else:
        source, images = f"timm:{name}?pretrained=false&num_classes=10", "digits"
    out = tmp_path / "slim"
    asked = ["prune", source, "--data", str(data / images), "--ratio", "0.3", "--epochs", "0", "--importance", "l2"]
    assert run_command([*asked, "--runtime", "openvino", "--json", "-o", str(out)]) == 0
    found = json.loads(capsys.readouterr().out)
    before, after = found["parameters"]
    assert after < 0.75 * before
    assert (out / "plan.json").stat().st_size < 200_000
    assert abs((out / "weights.safetensors").stat().st_size / 4 - after) < 0.05 * after
