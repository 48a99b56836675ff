"""The embedded detector: its weights are small, what ships is what was trained, and INT8 keeps its boxes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from safetensors import safe_open

from edgewright.core.store import Store
from edgewright.data import scenes as data
from edgewright.demo import images, scenes
from edgewright.demo.train_detector import WEIGHTS
from edgewright.pipeline.recipe import Recipe
from edgewright.pipeline.stages.runner import StageRunner

RECIPE = Recipe(
    effort="thorough",
    runtimes=("openvino",), precisions=("int8",), methods=("nncf-round",), normalize=("host",), finalists=0,
    min_duration_s=0.1, min_count=20,
)  # fmt: skip


def test_the_weights_say_how_they_were_made() -> None:
    assert WEIGHTS.stat().st_size <= 6_000_000
    with safe_open(str(WEIGHTS), "np") as file:
        facts = file.metadata()
    assert facts["command"].startswith("python -m edgewright.demo.train_detector ")
    assert float(facts["mAP50-95 on the test scenes"]) > 0.7


def test_images_come_from_the_store_whatever_became_of_their_copies(tmp_path: Path) -> None:
    runner = StageRunner(store=Store(tmp_path / "store"))
    parts = [images.Part(split, "edgewright.data.scenes:draw", {"split": split, "count": 3}) for split in data.COUNTS]
    data.write(tmp_path / "plain", dict.fromkeys(data.COUNTS, 3))
    wanted = _contents(tmp_path / "plain")
    for _ in range(2):
        images.write(runner, tmp_path / "set", data.COUNTS, parts)
        assert _contents(tmp_path / "set") == wanted
        (tmp_path / "set" / "test" / "00000.png").write_bytes(b"edited")
    assert len(list((tmp_path / "store" / "images").iterdir())) == len(parts)


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.xdist_group("quantize")
def test_the_detector_keeps_its_boxes_in_int8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ultralytics", reason="the extra edgewright[ultralytics] is not installed")
    monkeypatch.setattr(data, "COUNTS", {"calib": 64, "test": 60})
    outcome = scenes.run(tmp_path, recipe=RECIPE)
    found = json.loads((tmp_path / "report.json").read_bytes())
    assert found["reference"]["accuracy"]["scores"]["map"]["value"] > 65
    # Where the processor has bf16 there is a second one, whose other layers are in it.
    (int8,) = (m for m in found["measurements"] if m["precision"] == "int8" and "bf16" not in m["id"])
    assert int8["status"] == "ok"
    assert int8["accuracy"]["scores"]["map"]["delta"]["value"] >= -0.5
    assert abs(int8["accuracy"]["confidence"]["shift"]) <= 0.02
    assert int8["accuracy"]["agreement"] >= 97
    _, *shown = scenes.show(outcome, tmp_path)
    drawn = sorted((tmp_path / "drawn").iterdir())
    assert len(shown) == len(drawn) == 3
    for (where, (_, found)), path in zip(shown, drawn):
        assert path.name in where and "%" in found
        with Image.open(path) as image, Image.open(tmp_path / "scenes" / "test" / path.name) as plain:
            assert image.size == plain.size


def test_the_training_command_makes_weights_that_the_source_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ultralytics", reason="the extra edgewright[ultralytics] is not installed")
    from edgewright.demo import train_detector
    from edgewright.export.sources import ultralytics as source

    monkeypatch.setattr(data, "COUNTS", {"test": 8, "calib": 1})
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "weights.safetensors"
    for count in (16, 32):  # the second time in a folder that the library has been in
        train_detector.train(out, tmp_path / "work", count=count, epochs=1)
    loaded = source.trainable("yolo11n.yaml", {"nc": 10, "imgsz": train_detector.SIDE}, str(out)).load()
    assert loaded.spec["classes"] == 10
    with safe_open(str(out), "np") as file:
        assert "--scenes 32 --epochs 1" in file.metadata()["command"]
