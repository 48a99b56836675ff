"""Forty photos as phones store them, in every layout that a labelling tool writes: one mAP, that of pycocotools on
upright copies; and one top-1 in every way to say a class, that of a plain loop."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from edgewright import api
from edgewright.boxes.average_precision import average_precision
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Input, ModelSpec
from edgewright.data import sets
from edgewright.data.sets import Item
from edgewright.graph import files, metadata
from edgewright.pipeline import images as image_sets
from edgewright.runtimes import artifact, session
from edgewright.runtimes.options import Options
from edgewright.tasks.classify.spec import Classify
from edgewright.tasks.detect.decode import evaluated

from ..data import coco_writers, voc_writers, yolo_writers
from ..data.coco_writers import Drawn, Pictured

pytestmark = pytest.mark.zoo
HERE = Path(__file__).parent
PHOTOS = 40
_LYING = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # fmt: skip
"""How a phone that is held so stores an upright view, by the EXIF orientation that it writes."""


def store(upright: Image.Image, path: Path, orientation: int) -> None:
    """A PNG file, so that the pixels stay as they are, with the tag."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    turn = _LYING.get(orientation)
    (upright if turn is None else upright.transpose(turn)).save(path, exif=exif, compress_level=1)


class Truth(NamedTuple):
    """The photos by name, as stored; their boxes; an opened detector and its mAP by pycocotools on upright copies."""

    photos: dict[str, bytes]
    drawn: Drawn
    detector: session.Session
    map: float


@pytest.fixture(scope="module")
def truth(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Truth]:
    folder = tmp_path_factory.mktemp("photos")
    content = json.loads((zoo / "coco-val/instances.json").read_text())
    categories = sorted(content["categories"], key=lambda one: one["id"])
    index = {one["id"]: k for k, one in enumerate(categories)}
    boxes: dict[int, list[Any]] = {}
    for note in content["annotations"]:
        x, y, w, h = note["bbox"]
        if not note.get("iscrowd") and w > 0 and h > 0:
            boxes.setdefault(note["image_id"], []).append((index[note["category_id"]], x, y, x + w, y + h))
    chosen = [image for image in content["images"] if image["id"] in boxes][:PHOTOS]
    photos, pictured, pixels = {}, [], []
    for k, image in enumerate(chosen):
        upright = Image.open(zoo / "coco-val/images" / image["file_name"]).convert("RGB")
        name = f"photo {image['id']}.png"
        store(upright, folder / name, k % 8 + 1)
        photos[name] = (folder / name).read_bytes()
        pictured.append(Pictured("val", name, tuple(boxes[image["id"]]), upright.size))
        pixels.append(np.asarray(upright))
    drawn = Drawn(tuple(one["name"] for one in categories), tuple(pictured))
    with opened(zoo / "weights/FastestDet_352_coco.onnx", "fastestdet", folder) as detector:
        rows = answers(detector, pixels)
        yield Truth(photos, drawn, detector, by_pycocotools(rows, pictured, len(categories)))


def opened(model: Path, spec: str, folder: Path) -> session.Session:
    """The model of the zoo, ready to answer."""
    api.export(str(model), out=folder / "model.onnx", spec=HERE / "specs" / f"{spec}.toml")
    about = metadata.get_spec(files.load(folder / "model.onnx"))
    assert about is not None
    artifact.build(folder / "model.onnx", about, Options(runtime="onnxruntime"), folder / "artifact")
    return session.open_measured(folder / "artifact")


def answers(detector: session.Session, images: list[Any]) -> np.ndarray:
    """The rows that mAP is computed from."""
    plain = detector.spec
    detector.spec = evaluated(plain)
    try:
        found = detector(images)
    finally:
        detector.spec = plain
    return np.concatenate([one.rows(k) for k, one in enumerate(found)])


def by_pycocotools(rows: np.ndarray, pictured: list[Pictured], classes: int) -> float:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, found = COCO(), COCO()
    images = [{"id": k} for k in range(len(pictured))]
    boxes = [(k, box) for k, one in enumerate(pictured) for box in one.boxes]
    categories = [{"id": k} for k in range(classes)]
    truth.dataset = {
        "images": images, "categories": categories,
        "annotations": [
            {"id": n + 1, "image_id": k, "category_id": c, "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": 0,
             "area": (x2 - x1) * (y2 - y1)}
            for n, (k, (c, x1, y1, x2, y2)) in enumerate(boxes)
        ],
    }  # fmt: skip
    truth.createIndex()
    found = truth.loadRes(
        [
            {"image_id": int(k), "bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)], "score": float(score),
             "category_id": int(c)}
            for k, x1, y1, x2, y2, score, c in rows.tolist()
        ]
    )  # fmt: skip
    evaluation = COCOeval(truth, found, "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return 100 * float(evaluation.stats[0])


def measured(truth: Truth, folder: Path) -> tuple[float, list[Item], set[str]]:
    """The mAP of the detector on the data set in `folder`, as the main job reads it; its items; codes of findings."""
    for path in folder.rglob("*.png"):  # the writers leave empty files
        path.write_bytes(truth.photos[path.name])
    found = image_sets.label(image_sets.read_evaluation(folder, None), truth.detector.spec)
    items = list(found.items)
    rows = answers(truth.detector, [item.path for item in items])
    return average_precision(rows, items, len(truth.drawn.classes)).map, items, {one.code for one in found.remarks}


def test_the_truth_is_worth_comparing_with(truth: Truth) -> None:
    assert 15 < truth.map < 45


@pytest.mark.parametrize("layout", coco_writers.LAYOUTS)
def test_coco(truth: Truth, tmp_path: Path, layout: str) -> None:
    coco_writers.save(tmp_path, truth.drawn, coco_writers.LAYOUTS[layout])
    require_the_same(truth, tmp_path)


@pytest.mark.parametrize("layout", voc_writers.LAYOUTS)
def test_voc(truth: Truth, tmp_path: Path, layout: str) -> None:
    voc_writers.save(tmp_path, truth.drawn, voc_writers.LAYOUTS[layout])
    require_the_same(truth, tmp_path)


@pytest.mark.parametrize("write", yolo_writers.WITH_SPLITS, ids=lambda write: write.__name__)
def test_yolo(truth: Truth, tmp_path: Path, write: Any) -> None:
    val = {image.name: relative(image) for image in truth.drawn.images}
    write(tmp_path, {"train": dict(list(val.items())[:1]), "val": val}, truth.drawn.classes)
    require_the_same(truth, tmp_path)


@pytest.mark.parametrize("write", yolo_writers.WITHOUT_SPLITS, ids=lambda write: write.__name__)
def test_yolo_without_splits(truth: Truth, tmp_path: Path, write: Any) -> None:
    write(tmp_path, {image.name: relative(image) for image in truth.drawn.images}, truth.drawn.classes)
    require_the_same(truth, tmp_path)


def relative(image: Pictured) -> list[tuple[int, float, float, float, float]]:
    """The rows of a YOLO file."""
    width, height = image.size
    return [
        (c, (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
        for c, x1, y1, x2, y2 in image.boxes
    ]


def require_the_same(truth: Truth, folder: Path) -> None:
    found, items, codes = measured(truth, folder)
    assert len(items) == PHOTOS
    assert {item.orientation for item in items} == set(range(1, 9))
    assert "exif-orientation" in codes
    assert found == pytest.approx(truth.map, abs=0.01)


# --- classes ----------------------------------------------------------------------------------------------------------


class Photo(NamedTuple):
    """A labelled photo, and what a plain loop answers."""

    path: Path
    label: int
    answer: int


@pytest.fixture(scope="module")
def squeezenet(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[session.Session, list[Photo]]]:
    """A classifier, and photos of all orientations with the answers of PIL, numpy and onnxruntime alone."""
    folder = tmp_path_factory.mktemp("squeezenet")
    weights = zoo / "weights/squeezenet1_1_caffe_imagenet.onnx"
    plain = onnxruntime.InferenceSession(weights.read_bytes())
    mean, std = (np.array(values, np.float32) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    photos = []
    for k, item in enumerate(sets.read(zoo / "imagenet", "eval").items[:PHOTOS]):
        assert item.label is not None
        path = folder / f"{k}.png"
        store(Image.open(item.path).convert("RGB"), path, k % 8 + 1)
        small = Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
        x = ((np.asarray(small, np.float32) / 255 - mean) / std).transpose(2, 0, 1)[None]
        answer = int(plain.run(None, {plain.get_inputs()[0].name: x.astype(np.float32)})[0].argmax())
        photos.append(Photo(path, item.label, answer))
    with opened(weights, "squeezenet", folder) as classifier:
        yield classifier, photos


def put(photos: list[Photo], folder: Path, name: Any) -> Path:
    for photo in photos:
        (folder / name(photo)).parent.mkdir(parents=True, exist_ok=True)
        (folder / name(photo)).write_bytes(photo.path.read_bytes())
    return folder


def by_folder(photos: list[Photo], folder: Path, labels: tuple[str, ...]) -> None:
    put(photos, folder, lambda photo: f"{labels[photo.label]}/{photo.path.name}")


def by_number(photos: list[Photo], folder: Path, labels: tuple[str, ...]) -> None:
    put(photos, folder, lambda photo: f"{photo.label}/{photo.path.name}")


def by_number_with_order(photos: list[Photo], folder: Path, labels: tuple[str, ...]) -> None:
    by_number(photos, folder, labels)
    with pytest.raises(InvalidInput, match="numbers"):
        image_sets.label(sets.read(folder), nameless(labels))
    (folder / "classes.txt").write_text("\n".join(map(str, range(len(labels)))))


def by_padded_number(photos: list[Photo], folder: Path, labels: tuple[str, ...]) -> None:
    put(photos, folder, lambda photo: f"val/{photo.label:04}/{photo.path.name}")


def by_table_of_names(photos: list[Photo], folder: Path, labels: tuple[str, ...]) -> None:
    put(photos, folder, lambda photo: photo.path.name)
    rows = "".join(f'{photo.path.name},"{labels[photo.label]}"\n' for photo in photos)
    (folder / "labels.csv").write_text(f"file,label\n{rows}")


def by_table_of_floats(photos: list[Photo], folder: Path, labels: tuple[str, ...]) -> None:
    put(photos, folder / "images", lambda photo: photo.path.name)
    rows = "".join(f"images\\{photo.path.name},{photo.label}.0\n" for photo in photos)
    (folder / "labels.csv").write_text(f"file,label\n{rows}")


def by_text_order(photos: list[Photo], folder: Path, labels: tuple[str, ...]) -> None:
    """All 1000 classes as ImageFolder numbers them: class k has the k-th name in the order of text."""
    names = sorted(map(str, range(len(labels))))
    put(photos, folder / "val", lambda photo: f"{names[photo.label]}/{photo.path.name}")
    for name in names:
        (folder / "train" / name).mkdir(parents=True)
        (folder / "train" / name / "1.png").write_bytes(photos[0].path.read_bytes())
    with pytest.raises(InvalidInput, match="numbers"):
        image_sets.label(sets.read(folder, "val"), nameless(labels))
    (folder / "classes.txt").write_text("\n".join(names))


def nameless(labels: tuple[str, ...]) -> ModelSpec:
    return ModelSpec(name="m", inputs=(Input(height=224, width=224),), task=Classify(classes=len(labels)))


@pytest.mark.parametrize(
    ("write", "has_names"),
    [
        (by_folder, True), (by_table_of_names, True), (by_number, True), (by_number_with_order, False),
        (by_padded_number, False),
        (by_table_of_floats, True), (by_table_of_floats, False), (by_text_order, False),
    ],
)  # fmt: skip
def test_top1_is_that_of_a_plain_loop(
    squeezenet: tuple[session.Session, list[Photo]], tmp_path: Path, write: Any, has_names: bool
) -> None:
    classifier, photos = squeezenet
    labels = tuple(f"class {chr(97 + k % 26)} {k}" for k in range(classifier.spec.classes))  # not in sorted order
    write(photos, tmp_path, labels)
    spec = classifier.spec.with_task(labels=labels if has_names else ())
    found = image_sets.label(image_sets.read_evaluation(tmp_path, None), spec)
    right = sum(
        answer.index == item.label for answer, item in zip(classifier([i.path for i in found.items]), found.items)
    )
    assert len(found.items) == PHOTOS
    assert right == sum(photo.answer == photo.label for photo in photos)
    assert 10 <= right < PHOTOS
    assert {one.code: one.count for one in found.remarks}["exif-orientation"] == PHOTOS - PHOTOS // 8
