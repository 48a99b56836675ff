"""Detection sets are read as they lie, or refused with file and line; labels follow the model's classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Input, ModelSpec
from edgewright.data.boxes import Box
from edgewright.data.sets import ImageSet, divide, match_labels, read, require_disjoint, splits
from edgewright.tasks.classify.spec import Classify


def pictures(folder: Path, names: str, size: tuple[int, int] = (100, 50)) -> Path:
    for k, name in enumerate(names.split()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(k).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def note(id: int, image: int, category: int, bbox: Any, **more: Any) -> dict[str, Any]:
    return {"id": id, "image_id": image, "category_id": category, "bbox": bbox, **more}


def coco(**changes: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 7, "file_name": "b.png"}, {"id": 3, "file_name": "a.png"}],
        "categories": [{"id": 90, "name": "dog"}, {"id": 2, "name": "cat"}],
        "annotations": [note(1, 3, 90, [10, 20, 30, 10], area=150, iscrowd=0), note(2, 3, 2, [-5, 0, 10, 10])],
    } | changes


def names(images: ImageSet) -> list[str]:
    return [Path(item.path).name for item in images.items]


def boxes(images: ImageSet, k: int) -> tuple[Box, ...]:
    found = images.items[k].boxes
    assert found is not None
    return found


# --- sets as a whole --------------------------------------------------------------------------------------------------


def test_split_folders_each_with_a_coco_file(tmp_path: Path) -> None:
    pictures(tmp_path, "train/images/a.png train/images/b.png val/a.png val/b.png calib/c.png")
    write(tmp_path / "train/instances.json", json.dumps(coco()))
    write(tmp_path / "val/_annotations.coco.json", json.dumps(coco()))
    assert splits(tmp_path) == ["calib", "train", "val"]
    assert read(tmp_path, "val").items[0].path == str(tmp_path / "val/b.png")
    assert boxes(read(tmp_path, "train"), 1)[0].label == 1
    assert read(tmp_path, "calib").items[0].boxes is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"annotations": []}, "no boxes for the 2 images"),
        ({"annotations": [note(5, 3, 2, [1, 1, 0, 1])]}, "no boxes .*1 box without an area"),
        ({"annotations": [note(5, 3, 2, [1, 1, 1, 1], iscrowd=1)]}, "no boxes"),
        ({"images": [], "annotations": []}, "lists no images"),
    ],
)
def test_a_set_without_boxes_is_refused(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    write(pictures(tmp_path, "a.png b.png") / "instances.json", json.dumps(coco(**changes)))
    with pytest.raises(InvalidInput, match=f"instances.json.*{why}"):
        read(tmp_path)


# --- mixed layouts, labels, division ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("instances.json", "annotations.json"),
        ("instances.json", "labels.csv"),
        ("instances.json", "annotations/instances_val.json"),
        ("instances.json", "data.yaml"),
        ("instances.json", "val/instances.json"),
        ("data.yaml", "labels.csv"),
    ],
)
def test_mixed_annotations_are_refused(tmp_path: Path, first: str, second: str) -> None:
    for name in (first, second):
        write(tmp_path / name, "{}")
    with pytest.raises(InvalidInput, match="holds annotations twice") as caught:
        read(tmp_path)
    assert first in caught.value.what


def spec(classes: int, *labels: str) -> ModelSpec:
    return ModelSpec(name="model", inputs=(Input(height=8, width=8),), task=Classify(classes=classes, labels=labels))


def labelled(tmp_path: Path, model: ModelSpec, **changes: Any) -> list[int]:
    write(pictures(tmp_path, "a.png b.png") / "instances.json", json.dumps(coco(**changes)))
    once = match_labels(read(tmp_path), model)
    assert match_labels(once, model) == once and once.classes == model.labels
    return [box.label for item in once.items for box in item.boxes or ()]


def test_box_labels_match_the_models_classes_by_name(tmp_path: Path) -> None:
    assert labelled(tmp_path, spec(3, "Dog", "bird", "cat")) == [0, 2]
    assert labelled(tmp_path, spec(2)) == [1, 0], "a model without names: in the order of the ids"


def test_a_class_that_the_model_lacks_matters_where_a_box_has_it(tmp_path: Path) -> None:
    categories = [*coco()["categories"], {"id": 5, "name": "yak"}]
    model = spec(3, "dog", "bird", "cat")
    assert labelled(tmp_path, model, categories=categories) == [0, 2]
    with pytest.raises(InvalidInput, match="'yak' is not a class of the model"):
        labelled(tmp_path, model, categories=categories, annotations=[note(1, 3, 5, [1, 1, 2, 2])])
    with pytest.raises(InvalidInput, match="has 3 classes, the model has 2"):
        labelled(tmp_path, spec(2), categories=categories)


def test_detection_sets_are_divided_like_others(tmp_path: Path) -> None:
    write(pictures(tmp_path, "a.png b.png") / "instances.json", json.dumps(coco()))
    calibration, evaluation = divide(read(tmp_path), 1)
    require_disjoint(calibration, evaluation)
    assert sorted(len(i.boxes or ()) for part in (calibration, evaluation) for i in part.items) == [0, 2]


@pytest.mark.zoo
def test_the_coco_sets_of_the_zoo_read_as_they_are(zoo: Path) -> None:
    for name, count, total, crowds in (("coco-val", 187, 1635, 16), ("coco-train", 100, 902, 7)):
        images = read(zoo / name)
        every = [box for item in images.items for box in item.boxes or ()]
        assert (len(images.items), len(images.classes), images.remarks) == (count, 80, ())
        assert (len(every), sum(box.crowd for box in every)) == (total, crowds)
