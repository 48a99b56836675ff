"""The embedded detector: its weights are small, what ships is what was trained, and INT8 keeps its boxes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from safetensors import safe_open

from edgewright.core.errors import InvalidInput
from edgewright.core.store import Store
from edgewright.data import scenes as data
from edgewright.data import sets
from edgewright.demo import digits, images, own, scenes
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


def test_the_demo_writes_a_photo_folder_and_weights_as_a_user_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights are those that the demo trains, which takes long: tests/docs does it."""
    (tmp_path / "trained").mkdir()
    (tmp_path / "trained/digits.safetensors").write_bytes(b"weights")
    (tmp_path / "trained/digits.toml").write_text(digits.SPEC)
    monkeypatch.setattr(digits, "trained", lambda _runner, _data: tmp_path / "trained")
    for _ in range(2):  # the second time in its own folder
        own.classifier(tmp_path / "mine")
    assert {path.name for path in (tmp_path / "mine").iterdir()} == own.CLASSIFIER
    assert {path.name for path in (tmp_path / "mine/photos/val").iterdir()} == set(data.NAMES)
    found = sets.read(tmp_path / "mine/photos", "val")
    assert len(found.items) == 500
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(InvalidInput, match=r"notes\.txt"):
        own.classifier(tmp_path / "mine")


def test_the_demo_writes_a_yolo_set_and_a_checkpoint_as_ultralytics_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ultralytics = pytest.importorskip("ultralytics", reason="the extra edgewright[ultralytics] is not installed")
    monkeypatch.setattr(data, "COUNTS", {"calib": 3, "test": 4})
    own.detector(tmp_path / "mine")
    assert {path.name for path in (tmp_path / "mine").iterdir()} == own.DETECTOR
    read = sets.read(tmp_path / "mine", "val")
    for number, item in enumerate(read.items):
        wanted = data.scene("test", number)[1]
        assert [box.label for box in item.boxes or ()] == [label for label, _ in wanted]
        assert [round(box.x1) for box in item.boxes or ()] == [corners[0] for _, corners in wanted]
    model = ultralytics.YOLO(tmp_path / "mine" / "best.pt")
    assert list(model.names.values()) == list(data.NAMES)
    assert model(Path(read.items[0].path), imgsz=160, verbose=False)[0].boxes is not None
