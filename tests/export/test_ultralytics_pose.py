"""Ultralytics' pose models: our export and our decoding give the keypoints of the library's own network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from edgewright.core.description import structured
from edgewright.core.spec import ModelSpec, convert
from edgewright.data import sets
from edgewright.data.sets import Item
from edgewright.export.exporter import ExportRequest, export
from edgewright.export.sources import ultralytics as source
from edgewright.graph import compare
from edgewright.tasks.pose import decode, metric, protect, truth
from edgewright.tasks.pose.spec import of
from edgewright.vision import preprocess

library = pytest.importorskip("ultralytics", reason="the extra edgewright[ultralytics] is not installed")
YAML = Path(library.__file__).parent / "cfg/models/11/yolo11-pose.yaml"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "cache"))


def theirs(name: str, x: torch.Tensor) -> np.ndarray:
    """The library's decoded answers, (answers, box, scores, keypoints), of the seeded model."""
    from ultralytics.nn import tasks

    torch.manual_seed(0)
    model = tasks.PoseModel(tasks.yaml_model_load(name), verbose=False).float().eval()
    with torch.no_grad():
        answer = model(x)
    found: np.ndarray = (answer[0] if isinstance(answer, tuple | list) else answer)[0].numpy()
    return found


@pytest.mark.parametrize("name", ["yolov8n-pose.yaml", "yolo11n-pose.yaml", "yolo26n-pose.yaml"])
def test_keypoints_are_those_of_the_librarys_network(name: str) -> None:
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    loaded = source.trainable(name, {"imgsz": 64}).load()
    spec = convert(structured(loaded.spec | {"source": ""}), ModelSpec)
    with torch.no_grad():
        _, points = (output.numpy() for output in loaded.model(x))
    assert points.shape == (1, 51, 84)
    everything = decode.keypoints(points[0].T, np.arange(84), spec)
    expected = theirs(name, x)
    if expected.shape[1] == 84:  # every cell: box, scores, keypoints
        right = expected.T[:, 4 + spec.classes :]
        np.testing.assert_allclose(everything.reshape(84, -1), right, atol=1e-4)
        return
    # The best answers of the head without suppression: box, score, class, keypoints.
    for row in expected[:20]:
        gaps = np.abs(everything.reshape(84, -1) - row[6:]).max(axis=1)
        assert gaps.min() < 1e-3


def test_the_last_layers_of_boxes_scores_and_keypoints_stay_in_float(tmp_path: Path) -> None:
    spec = export("ultralytics:yolo11n-pose.yaml?imgsz=64&nc=1", tmp_path)
    model = onnx.load(tmp_path / "model.onnx")
    assert (spec.outputs, of(spec).point_coding) == (("head", "keypoints"), (2.0, 0.0))
    kept = [node for node in model.graph.node if node.name in protect.nodes(model) and node.op_type == "Conv"]
    weights = {one.name: one.dims[0] for one in model.graph.initializer if one.dims}
    assert sorted(weights[node.input[1]] for node in kept) == sorted([1, 51, 64] * 3)


@pytest.mark.parametrize(
    ("name", "nms", "decoder"), [("yolo11n-pose.yaml", None, "boxes"), ("yolo26n-pose.yaml", False, "end2end")]
)
def test_a_file_that_the_library_exported_needs_no_description(
    name: str, nms: bool | None, decoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the library writes beside itself
    torch.manual_seed(0)
    model: Any = library.YOLO(name)
    model.model.kpt_names = {0: [f"p{k}" for k in range(17)]}
    file = str(model.export(format="onnx", imgsz=64, nms=nms, device="cpu", verbose=False))
    spec = export(file, tmp_path / "out")
    assert (spec.task.kind, of(spec).decoder, of(spec).points, of(spec).values) == ("pose", decoder, 17, "xys")
    outputs = compare.run(onnx.load(tmp_path / "out" / "model.onnx"), np.zeros((1, 3, 64, 64), np.float32))
    (found,) = decode.read(outputs, spec, [(64, 64)], 0.0)
    assert found.keypoints.shape[1:] == (17, 3)


def scenes(folder: Path, count: int) -> list[Path]:
    """Write images of bright bars, as a set of YOLO-pose without labels."""
    random = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (folder / kind / "val").mkdir(parents=True)
    for number in range(count):
        pixels = random.integers(60, 130, (64, 64, 3))
        for _ in range(3):
            x, y, width, height = (int(value) for value in (*random.integers(0, 48, 2), *random.integers(4, 16, 2)))
            pixels[y : y + height, x : x + width] = random.integers(0, 256, 3)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"images/val/{number:03}.png")
    content = {
        "path": str(folder),
        "train": "images/val",
        "val": "images/val",
        "kpt_shape": [6, 3],
        "names": {0: "bar"},
    }
    (folder / "data.yaml").write_text(json.dumps(content))
    return sorted((folder / "images/val").iterdir())


def labeled(model: Any, photos: list[Path]) -> None:
    """Write what the model finds, moved at random, as the labels of `photos`."""
    random = np.random.default_rng(1)
    for photo in photos:
        (found,) = model.predict(str(photo), imgsz=64, conf=0.02, iou=0.3, max_det=3, verbose=False, device="cpu")
        rows = []
        for box, points in zip(found.boxes.xyxy.numpy(), found.keypoints.data.numpy()):
            moved = (points[:, :2] + random.normal(0, random.choice([0.2, 1, 3]), (6, 2))).clip(0, 64) / 64
            place = [*(box[:2] + box[2:]) / 128, *(box[2:] - box[:2]) / 64]
            flat = [value for (x, y), v in zip(moved, random.random(6) < 0.8) for value in (x, y, 2 * v)]
            if min(place[2:]) > 0.05:
                rows.append(" ".join(["0", *(f"{value:.6f}" for value in place), *(f"{value:g}" for value in flat)]))
        (photo.parent.parent.parent / f"labels/val/{photo.stem}.txt").write_text("\n".join(rows) + "\n")


@pytest.mark.slow
def test_map_is_cocos_on_the_predictions_of_the_librarys_validator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same predictions, and the mAP of faster-coco-eval on them, which the library's validator uses for COCO."""
    from safetensors.torch import save_file

    coco = pytest.importorskip("faster_coco_eval")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "yolo11n-pose.yaml").write_text(described := YAML.read_text().replace("nc: 80", "nc: 1"))
    assert "kpt_shape: [17, 3]" in described
    (tmp_path / "yolo11n-pose.yaml").write_text(described.replace("kpt_shape: [17, 3]", "kpt_shape: [6, 3]"))
    photos = scenes(tmp_path / "data", 24)
    torch.manual_seed(0)
    model: Any = library.YOLO("yolo11n-pose.yaml")
    for norm in (one for one in model.model.modules() if isinstance(one, torch.nn.BatchNorm2d)):
        norm.momentum = 0.5
    x = np.stack([np.asarray(Image.open(photo)) for photo in photos]).transpose(0, 3, 1, 2) / np.float32(255)
    model.model.train()
    with torch.no_grad():
        for _ in range(6):
            model.model(torch.from_numpy(x))
    random = np.random.default_rng(0)
    for part in model.model.model[-1].cv3:
        shape = tuple(part[-1].weight.shape)
        part[-1].weight.data = torch.from_numpy(random.normal(0, 0.1, shape).astype(np.float32))
        part[-1].bias.data[:] = -3
    model.model.eval()
    save_file(
        {k: v.contiguous().clone() for k, v in model.model.state_dict().items()}, tmp_path / "weights.safetensors"
    )
    labeled(model, photos)
    quiet = {"plots": False, "verbose": False, "workers": 0, "device": "cpu", "project": str(tmp_path / "runs")}
    model.val(data="data/data.yaml", imgsz=64, batch=1, rect=False, save_json=True, **quiet)
    theirs = json.loads(next((tmp_path / "runs").rglob("predictions.json")).read_text())

    source = "ultralytics:yolo11n-pose.yaml?imgsz=64"
    spec = export(source, tmp_path / "out", ExportRequest(checkpoint=str(tmp_path / "weights.safetensors")))
    images = truth.match(truth.found(sets.read(tmp_path / "data", "val", truth.WANTS)), spec)
    graph = onnx.load(tmp_path / "out/model.onnx")
    rows = np.concatenate([
        decode.rows(compare.run(graph, preprocess.batch([item.path], spec)), spec, [(64, 64)], [item.path], number)
        for number, item in enumerate(images.items)
    ])  # fmt: skip
    assert len(rows) == len(theirs) > 100
    found = metric.score(rows, images.items, spec).scores["pose_map"].value
    assert found > 5 and found == pytest.approx(cocos(coco, images.items, theirs), abs=0.1)


def cocos(coco: Any, items: Sequence[Item], predictions: list[dict[str, Any]]) -> float:
    """The mAP of faster-coco-eval, in percent."""
    numbers = {int(Path(item.path).stem): k for k, item in enumerate(items, 1)}
    notes = [
        {"image_id": k, "category_id": 1, "bbox": [b.x1, b.y1, b.x2 - b.x1, b.y2 - b.y1], "area": b.area, "iscrowd": 0,
         "keypoints": [v for point in b.keypoints or () for v in point],
         "num_keypoints": sum(v > 0 for *_, v in b.keypoints or ())}
        for k, item in enumerate(items, 1) for b in item.boxes or ()
    ]  # fmt: skip
    common = {"images": [{"id": k} for k in numbers.values()], "categories": [{"id": 1, "name": "bar"}], "info": {}}
    right = coco.COCO(common | {"annotations": [note | {"id": n} for n, note in enumerate(notes, 1)]})
    rows = [
        {
            "image_id": numbers[int(one["image_id"])],
            "category_id": 1,
            "score": one["score"],
            "keypoints": one["keypoints"],
        }
        for one in predictions
    ]
    evaluation = coco.COCOeval_faster(right, right.loadRes(rows), iouType="keypoints", kpt_oks_sigmas=[1 / 6] * 6)
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, 0, 0, -1]
    return 100 * float(precision[precision > -1].mean())
