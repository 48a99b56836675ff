"""Detection sets are read as they lie, or refused with file and line; labels follow the model's classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgewright.core.errors import IntegrityError, InvalidInput
from edgewright.core.spec import Input, ModelSpec
from edgewright.data.boxes import Box
from edgewright.data.sets import ImageSet, divide, match_labels, read, require_disjoint, splits


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


# --- COCO -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["instances.json", "_annotations.coco.json", "annotations.json"])
@pytest.mark.parametrize("below", ["", "images/"])
def test_a_coco_file_beside_its_images(tmp_path: Path, name: str, below: str) -> None:
    pictures(tmp_path, f"{below}a.png {below}b.png {below}unlisted.png")
    write(tmp_path / name, json.dumps(coco()))
    images = read(tmp_path)
    assert splits(tmp_path) == []
    assert names(images) == ["b.png", "a.png"] and Path(images.items[0].path).is_file()
    assert images.classes == ("cat", "dog"), "by id, which has holes"
    assert boxes(images, 0) == ()
    assert boxes(images, 1) == (
        Box(1, 10, 20, 40, 30, 150, False),
        Box(0, -5, 0, 5, 10, 100, False),  # reaches outside: kept as it is
    )
    assert (images.dropped, images.items[1].label) == (0, None)


@pytest.mark.parametrize(
    ("file", "folder"),
    [("val", "val"), ("val", "val2017"), ("val2017", "val2017"), ("val2017", "images/val2017"), ("val", "images")],
)
def test_coco_annotations_by_split(tmp_path: Path, file: str, folder: str) -> None:
    pictures(tmp_path, f"{folder}/a.png {folder}/b.png train2017/a.png train2017/b.png")
    for name in (file, "train2017"):
        write(tmp_path / f"annotations/instances_{name}.json", json.dumps(coco()))
    assert splits(tmp_path) == ["train", "val"]
    images = read(tmp_path, "val")
    assert (images.split, images.name) == ("val", tmp_path.name)
    assert images.items[0].path == str(tmp_path / folder / "b.png")
    with pytest.raises(InvalidInput, match="splits train, val"):
        read(tmp_path)


def test_split_folders_each_with_a_coco_file(tmp_path: Path) -> None:
    pictures(tmp_path, "train/images/a.png train/images/b.png val/a.png val/b.png calib/c.png")
    write(tmp_path / "train/instances.json", json.dumps(coco()))
    write(tmp_path / "val/_annotations.coco.json", json.dumps(coco()))
    assert splits(tmp_path) == ["calib", "train", "val"]
    assert read(tmp_path, "val").items[0].path == str(tmp_path / "val/b.png")
    assert boxes(read(tmp_path, "train"), 1)[0].label == 1
    assert read(tmp_path, "calib").items[0].boxes is None


def test_crowds_are_kept_and_boxes_without_an_area_counted(tmp_path: Path) -> None:
    more = [note(3, 7, 2, [1, 1, 5, 5], iscrowd=1), note(4, 7, 2, [1, 1, 0, 5]), note(5, 7, 2, [9, 9, 5, -1])]
    write(
        pictures(tmp_path, "a.png b.png") / "instances.json", json.dumps(coco(annotations=coco()["annotations"] + more))
    )
    images = read(tmp_path)
    assert images.dropped == 2
    assert [box.crowd for box in boxes(images, 0)] == [True]


IMAGES = coco()["images"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"annotations": [note(5, 3, 1, [1, 2, 3, 4])]}, r"annotations\[0\] \(id 5\): category_id 1 is .* no category"),
        ({"annotations": [note(5, 4, 2, [1, 2, 3, 4])]}, r"annotations\[0\] \(id 5\): image_id 4 is .* no image"),
        ({"annotations": [note(5, 3, 2, [1, 2, 3])]}, r"annotations\[0\] \(id 5\): bbox is \[1.0, 2.0, 3.0\]"),
        ({"annotations": [note(5, 3, 2, [1, 2, 3, "4"])]}, r"got `str` - at `annotations\[0\].bbox\[3\]`"),
        ({"annotations": [note(5, 3, 2, None)]}, r"annotations\[0\].bbox"),
        ({"annotations": [{"id": 1, "image_id": 3, "category_id": 2}]}, r"field `bbox` - at `annotations\[0\]`"),
        ({"annotations": [note(5, 3, 2, [1, 1, 1, 1])] * 2}, r"annotations\[1\]: id 5 stands in annotations\[0\]"),
        ({"images": [*IMAGES, {"id": 3, "file_name": "c.png"}]}, r"images\[2\]: id 3 stands in images\[1\]"),
        ({"images": [*IMAGES, {"id": 4, "file_name": "a.png"}]}, r"images\[2\]: file_name 'a.png' stands"),
        ({"categories": [{"id": 2, "name": "x"}] * 2}, r"categories\[1\]: id 2 stands in categories\[0\]"),
        ({"images": [*IMAGES, {"id": 4, "file_name": "c.png"}]}, r"images\[2\] \(id 4\): the image 'c.png' is missing"),
        ({"annotations": []}, "no boxes for the 2 images"),
        ({"annotations": [note(5, 3, 2, [1, 1, 0, 1])]}, "no boxes .*1 without an area"),
        ({"annotations": [note(5, 3, 2, [1, 1, 1, 1], iscrowd=1)]}, "no boxes"),
        ({"images": [], "annotations": []}, "lists no images"),
        ({"images": {}}, "Expected `array`, got `object` - at `images`"),
    ],
)
def test_a_bad_coco_file_is_named_with_the_place(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    write(pictures(tmp_path, "a.png b.png") / "instances.json", json.dumps(coco(**changes)))
    with pytest.raises(InvalidInput, match=f"instances.json.*{why}") as caught:
        read(tmp_path)
    assert caught.value.why and caught.value.fix


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"images": [],\n "annotations": [\n  {"bbox": [1, NaN]}]}', "line 3: this is no JSON"),
        ('{"images": [],\n "annotations": [', "line 2: this is no JSON"),
        ("[]", "Expected `object`"),
        ("", "line 1: this is no JSON"),
        ('{"images": [], "categories": [], "annotations": [{"id":1,"image_id":1,"category_id":1,"bbox":[1e999]}]}',
         r"out of range - at `annotations\[0\].bbox\[0\]"),
    ],
)  # fmt: skip
def test_malformed_json_is_named_with_its_line(tmp_path: Path, text: str, why: str) -> None:
    write(tmp_path / "instances.json", text)
    with pytest.raises(InvalidInput, match=f"instances.json.*{why}"):
        read(tmp_path)


def test_annotations_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "instances.json").write_bytes(b"{\n\xff}")
    with pytest.raises(InvalidInput, match=r"instances.json, line 2: .*UTF-8"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["../secret.png", "{outside}/secret.png"])
def test_a_coco_file_cannot_reach_outside_its_folder(tmp_path: Path, name: str) -> None:
    pictures(tmp_path, "secret.png data/b.png")
    changed = coco(images=[IMAGES[0], {"id": 3, "file_name": name.format(outside=tmp_path)}])
    write(tmp_path / "data/instances.json", json.dumps(changed))
    with pytest.raises(IntegrityError, match=r"instances.json, images\[1\]"):
        read(tmp_path / "data")


# --- YOLO -------------------------------------------------------------------------------------------------------------


def yolo(folder: Path, rows: str = "1 0.5 0.5 0.2 0.4\n", text: str = "", name: str = "data.yaml") -> Path:
    pictures(folder, "images/train/a.png images/val/a.png images/val/sub/b.png")
    write(folder / name, text or "train: images/train\nval: images/val\nnames: [cat, dog]\n")
    write(folder / "labels/train/a.txt", "0 0.5 0.5 1 1\n")
    write(folder / "labels/val/a.txt", rows)
    return folder


def test_a_yolo_set(tmp_path: Path) -> None:
    yolo(tmp_path, "1 0.5 0.5 0.2 0.4\n\n0 0.0 0 0.1 0.1\n0 .5 .5 0 .1\n")
    assert splits(tmp_path) == ["train", "val"]
    images = read(tmp_path, "val")
    assert (names(images), images.classes, images.dropped) == (["a.png", "b.png"], ("cat", "dog"), 1)
    one, other = boxes(images, 0)
    assert (one.label, other.label) == (1, 0)
    assert (one.x1, one.y1, one.x2, one.y2, one.area) == pytest.approx((40, 15, 60, 35, 400))
    assert (other.x1, other.y1) == pytest.approx((-5, -2.5))
    assert boxes(images, 1) == (), "no label file: no boxes"


@pytest.mark.parametrize(
    "text",
    [
        "path: {name}\nval: images/val\nnames:\n  1: dog\n  0: cat\nnc: 2\n",
        "path: .\nval: [images/val]\nnames: [cat, dog]\n",
        "val: ../images/val\nnames: [cat, dog]\n",
        "path: images\nval: val\nnames: [cat, dog]\n",
    ],
)
def test_the_ways_to_write_a_yolo_yaml(tmp_path: Path, text: str) -> None:
    yolo(tmp_path, text=text.format(name=tmp_path.name), name="pets.yml")
    images = read(tmp_path)
    assert (images.split, images.classes, len(boxes(images, 0))) == ("val", ("cat", "dog"), 1)


def test_a_yaml_that_describes_no_set_is_ignored(tmp_path: Path) -> None:
    write(pictures(tmp_path, "1.png") / "config.yaml", "names: [a]\n")
    assert read(tmp_path).items[0].boxes is None


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ("0 .5 .5 .1\n", "line 1: it has 4 columns"),
        ("0 .5 .5 .1 .1\n0 .5 .5 .1 .1 .9\n", "line 2: it has 6 columns"),
        ("2 .5 .5 .1 .1\n", "line 1: the class is '2'"),
        ("-1 .5 .5 .1 .1\n", "line 1: the class is '-1'"),
        ("dog .5 .5 .1 .1\n", "line 1: the class is 'dog'"),
        ("0 .5 x .1 .1\n", "line 1: the box is .5 x .1 .1"),
        ("0 .5 .5 nan .1\n", "line 1: the box is"),
        ("0 .5 .5 inf .1\n", "line 1: the box is"),
        ("\n0 320 240 50 50\n", "line 2: the centre is 320 240"),
    ],
)
def test_a_bad_yolo_row_is_named_with_its_line(tmp_path: Path, rows: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=rf"labels/val/a\.txt, {why}"):
        read(yolo(tmp_path, rows), "val")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("val: images/val\nnames: [cat\nnc: 1\n", "line 3: this is no YAML"),
        ("- a\n", "holds no names"),
        ("val: images/val\n", "has no names"),
        ("names: [cat, dog]\n", "names no images"),
        ("val: images/val\nnames: {0: cat, 2: dog}\n", "line 2: the keys of names"),
        ("val: images/val\nnames: [yes, dog]\n", "line 2: a name is True"),
        ("val: images/val\nnames: [cat, dog]\nnc: 3\n", "line 3: nc is 3"),
        ("val: images/test\nnames: [cat, dog]\n", "line 1: val: there is no folder"),
        ("val: 3\nnames: [cat, dog]\n", "line 1: val is 3"),
        ("names: [cat, dog]\nval: ../../elsewhere\n", "line 2: val leads out"),
        ("names: [cat, dog]\nval: /etc\n", "line 2: val leads out"),
        ("names: [cat, dog]\nval: images/val\npath: ../..\n", "line 3: path leads out"),
    ],
)
def test_a_bad_yolo_yaml_is_named_with_its_line(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=f"data.yaml.*{why}"):
        read(yolo(tmp_path / "set", text=text), "val")


def test_a_yolo_set_without_boxes_or_with_a_broken_image(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no boxes for the 2 images of 'val'"):
        read(yolo(tmp_path / "a", ""), "val")
    (yolo(tmp_path / "b") / "images/val/a.png").write_bytes(b"no image")
    with pytest.raises(InvalidInput, match=r"a\.png is no readable image"):
        read(tmp_path / "b", "val")


# --- VOC --------------------------------------------------------------------------------------------------------------


def item(name: str = "dog", bounds: str = "11 21 40 30", more: str = "") -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), bounds.split())
    return (
        f"<object>\n<name>{name}</name><bndbox>{''.join(f'<{s}>{v}</{s}>' for s, v in sides)}</bndbox>{more}</object>\n"
    )


def voc(folder: Path, content: str, lists: bool = True) -> Path:
    pictures(folder, "JPEGImages/a.jpg JPEGImages/b.png")
    write(folder / "Annotations/a.xml", f"<annotation>\n{content}</annotation>")
    write(folder / "Annotations/b.xml", f"<annotation>{item('cat')}</annotation>")
    if lists:
        write(folder / "ImageSets/Main/val.txt", "a\n")
        write(folder / "ImageSets/Main/train.txt", "b\n")
        write(folder / "ImageSets/Main/dog_val.txt", "a  1\n")
    return folder


def test_a_voc_set(tmp_path: Path) -> None:
    content = item() + item("person", "1 1 5 5", "<difficult>1</difficult>") + item("dog", "9 9 8 30")
    voc(tmp_path, content)
    assert splits(tmp_path) == ["train", "val"]
    images = read(tmp_path, "val")
    assert (names(images), images.dropped) == (["a.jpg"], 1)
    assert images.classes == ("cat", "dog", "person"), "numbered over all splits"
    assert boxes(images, 0) == (Box(1, 10, 20, 40, 30, 300, False), Box(2, 0, 0, 5, 5, 25, True))


def test_a_voc_set_without_lists_is_one_set(tmp_path: Path) -> None:
    voc(tmp_path, "", lists=False)
    assert splits(tmp_path) == []
    images = read(tmp_path)
    assert (names(images), boxes(images, 0)) == (["a.jpg", "b.png"], ())


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("<object>", r"line \d: this is no XML"),
        (item() + item("", "1 2 3 4"), "line 4: the object has no name"),
        (item("dog", "1 2 3"), "line 2: bndbox has no ymax"),
        (item("dog", "1 2 3 x"), "line 2: bndbox is 1 2 3 x"),
        (item("dog", "1 2 3 inf"), "line 2: bndbox is 1 2 3 inf"),
        (item(more="<difficult>maybe</difficult>"), "line 2: difficult is 'maybe'"),
    ],
)
def test_a_bad_voc_file_is_named_with_its_line(tmp_path: Path, content: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=f"a.xml, {why}"):
        read(voc(tmp_path, content), "val")


@pytest.mark.parametrize("head", ['<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>', "<!doctype a>"])
def test_voc_files_with_entities_are_refused_unparsed(tmp_path: Path, head: str) -> None:
    write(voc(tmp_path, "") / "Annotations/a.xml", f"<?xml version='1.0'?>\n{head}\n<annotation>&x;</annotation>")
    with pytest.raises(IntegrityError, match=r"a\.xml, line 2: refused"):
        read(tmp_path, "val")


def test_voc_lists_that_do_not_fit_the_files(tmp_path: Path) -> None:
    path = voc(tmp_path, item()) / "ImageSets/Main/val.txt"
    for text, why in (("a\nc\n", "line 2: Annotations/c.xml is missing"), ("a\n\na\n", "line 3: 'a' stands in line 1")):
        path.write_text(text)
        with pytest.raises(InvalidInput, match=f"val.txt, {why}"):
            read(tmp_path, "val")
    path.write_text("a\n")
    (tmp_path / "JPEGImages/a.jpg").unlink()
    with pytest.raises(InvalidInput, match=r"val.txt, line 1: the image 'a.jpg' is missing"):
        read(tmp_path, "val")
    write(tmp_path / "Annotations/a.xml", "<html/>")
    with pytest.raises(InvalidInput, match=r"a\.xml, line 1: the document is a <html>"):
        read(tmp_path, "val")


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
    return ModelSpec(name="model", task="detect", classes=classes, labels=labels, input=Input(height=8, width=8))


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
    with pytest.raises(InvalidInput, match="'yak' is none of the model's classes"):
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
        assert (len(images.items), len(images.classes), images.dropped) == (count, 80, 0)
        assert (len(every), sum(box.crowd for box in every)) == (total, crowds)
