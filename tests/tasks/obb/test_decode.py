"""Rotated boxes of Ultralytics' heads: the answers are those of the library, box by box."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.tasks.obb import decode
from edgewright.tasks.obb.answer import RotatedBoxes
from edgewright.tasks.obb.draw import draw
from edgewright.tasks.obb.spec import Obb

SIDE = 160


def _seeded(name: str) -> Any:
    """A model with random weights whose features and scores differ from place to place."""
    torch, tasks = pytest.importorskip("torch"), pytest.importorskip("ultralytics.nn.tasks")
    torch.manual_seed(1)
    model = tasks.OBBModel(name, nc=3, verbose=False)
    model.train()
    generator = torch.Generator().manual_seed(3)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model(torch.rand(4, 3, SIDE, SIDE, generator=generator))  # batch norms learn their statistics
        head = model.model[-1]
        for attribute in ("cv2", "cv3", "cv4", "one2one_cv2", "one2one_cv3", "one2one_cv4"):
            for level in getattr(head, attribute, None) or ():
                last = level[-1]
                # Scores near 1 would be equal after rounding, and then the order of boxes is not defined.
                scale = 0.5 if "cv3" in attribute else 2
                last.weight.copy_(scale * torch.randn(last.weight.shape, generator=generator) / last.in_channels**0.5)
                last.bias.copy_(torch.rand(last.bias.shape, generator=generator) * (4 if "cv2" in attribute else 0))
    return model.eval()


@pytest.mark.parametrize("name", ["yolo11n-obb.yaml", "yolo26n-obb.yaml"])
def test_the_boxes_are_those_of_the_librarys_predictor(name: str, tmp_path: Path) -> None:
    torch, yolo = pytest.importorskip("torch"), pytest.importorskip("ultralytics").YOLO
    safetensors = pytest.importorskip("safetensors.torch")
    from edgewright.export.sources import ultralytics as source
    from edgewright.vision.preprocess import batch

    model = _seeded(name)
    safetensors.save_file(model.state_dict(), tmp_path / "w.safetensors")
    pixels = np.random.default_rng(0).integers(0, 255, (80, SIDE, 3), dtype=np.uint8)
    library = yolo(name)
    library.model = model
    library.model.names, library.model.args = {0: "a", 1: "b", 2: "c"}, {"imgsz": SIDE, "task": "obb"}
    # YOLO26 answers by its head that needs no suppression.
    nms = False if "26" in name else None
    wanted = library.predict(pixels[..., ::-1], imgsz=SIDE, conf=0.55, verbose=False, rect=False, nms=nms)[0]

    loaded = source.trainable(name, {"nc": 3, "imgsz": SIDE}, str(tmp_path / "w.safetensors")).load()
    about = loaded.spec
    assert about["task"] == "obb" and about["outputs"] == ("head", "angles")
    image = Input(height=SIDE, width=SIDE, batch=None, preprocess=Preprocess(**about["preprocess"]))
    spec = ModelSpec(name="seeded", inputs=(image,), task=Obb(**about["obb"], classes=3, labels=("a", "b", "c")))
    with torch.no_grad():
        outputs = [array.numpy() for array in loaded.model(torch.from_numpy(batch([Image.fromarray(pixels)], spec)))]
    (found,) = decode.read(outputs, spec, [(SIDE, 80)], 0.55)
    theirs = wanted.obb.xywhr.numpy()
    apart = np.abs(found.boxes[:, None] - theirs[None]).max(axis=2)
    apart += 1e3 * (found.indices[:, None] != wanted.obb.cls.numpy()[None])
    # Rounding can exchange two boxes of the suppression that overlap by nearly the limit.
    assert len(found) > 50 and (apart.min(axis=1) > 0.05).sum() <= 1 and (apart.min(axis=0) > 0.05).sum() <= 1
    same = RotatedBoxes(theirs, wanted.obb.conf.numpy(), wanted.obb.cls.numpy().astype(np.int64), found.names)
    for ours, row in zip(same.to_ultralytics(), wanted.summary(), strict=True):
        assert ours.pop("box") == pytest.approx(row.pop("box"), abs=2e-4) and ours == row
    sv = pytest.importorskip("supervision")
    given, known = same.to_supervision(), sv.Detections.from_ultralytics(wanted)
    assert given.xyxy == pytest.approx(known.xyxy, abs=1e-3)
    assert given.data["xyxyxyxy"] == pytest.approx(known.data["xyxyxyxy"], abs=1e-3)
    assert given.data["class_name"].tolist() == known.data["class_name"].tolist()


def _spec(**changed: Any) -> ModelSpec:
    task = Obb(**{"decoder": "end2end", "classes": 2, **changed})
    how = Preprocess(resize="exact", resize_to=(64, 64))
    return ModelSpec(name="one", inputs=(Input(height=64, width=64, preprocess=how),), task=task)


def test_a_stretched_image_keeps_the_area_and_turns_the_angle() -> None:
    row = np.array([[[32, 16, 20, 10, 0.9, 1, np.pi / 4]]], np.float32)
    (found,) = decode.read([row], _spec(), [(128, 64)])
    (cx, cy, w, h, angle), (x, y) = found.boxes[0], (20 * np.cos(np.pi / 4) * 2, 20 * np.sin(np.pi / 4))
    assert (cx, cy) == (64, 16) and w == pytest.approx(np.hypot(x, y)) and w * h == pytest.approx(400)
    assert angle == pytest.approx(np.arctan2(y, x))


def test_other_decoders_and_shapes_are_refused() -> None:
    with pytest.raises(InvalidInput, match="dfl, boxes, end2end"):
        decode.read([np.zeros((1, 9, 7), np.float32)], _spec(decoder="yolox"), [(8, 8)])
    with pytest.raises(InvalidInput, match="shapes"):
        decode.read([np.zeros((1, 9, 6), np.float32)], _spec(), [(8, 8)])


def test_rows_are_checked() -> None:
    rows = np.array([[0, 1, 2, 3, 4, 0.5, 1, 0.1]], np.float32)
    assert decode.check_rows(rows, _spec(), 1) is None
    assert decode.check_rows(rows[:, :7], _spec(), 1) is not None
    assert decode.check_rows(rows * np.float32([1, 1, 1, 1, 1, 1, 5, 1]), _spec(), 1) is not None


def test_a_drawn_box_is_rotated() -> None:
    answer = RotatedBoxes(
        np.float32([[32, 40, 30, 10, np.pi / 4]]), np.float32([0.8]), np.array([1]), ("ship", "plane")
    )
    drawn = np.asarray(draw(Image.new("RGB", (64, 64)), answer))
    (corner,) = [(x, y) for x, y in answer[0].corners if x == max(x for x, _ in answer[0].corners)]
    assert drawn[round(corner[1]), round(corner[0])].any() and not drawn[40, 32].any()
    (head, line) = answer.lines()
    assert head[1] == " object" and "angle 45.0°" in str(line)
    (row,) = answer.to_coco(3)
    assert row["image_id"] == 3 and len(row["segmentation"][0]) == 8 and row["rbox"][4] == pytest.approx(np.pi / 4)
