"""COCO's JSON is read as tools write it, or refused with file and place."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from edgewright.core.errors import IntegrityError, InvalidInput
from edgewright.data import coco
from edgewright.data.boxes import Absent, Annotations, Box
from edgewright.data.wants import PLAIN

from .coco_writers import LAYOUTS, Drawn, drawn, save, touch


def note(id: Any, image: Any, category: Any, bbox: Any, **more: Any) -> dict[str, Any]:
    return {"id": id, "image_id": image, "category_id": category, "bbox": bbox, **more}


def content(**changes: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 7, "file_name": "b.png"}, {"id": 3, "file_name": "a.png"}],
        "categories": [{"id": 90, "name": "dog"}, {"id": 2, "name": "cat"}],
        "annotations": [note(1, 3, 90, [10, 20, 30, 10], area=150, iscrowd=0), note(2, 3, 2, [-5, 0, 10, 10])],
    } | changes


NOTES, IMAGES = content()["annotations"], content()["images"]


def put(folder: Path, file: str = "instances.json", files: str = "a.png b.png", **changes: Any) -> Path:
    """A set in `folder`: a JSON file, and empty `files` for images."""
    for name in files.split():
        touch(folder / name)
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(json.dumps(content(**changes)))
    return folder


def names(found: Annotations, folder: Path) -> list[str]:
    return [Path(image.path).relative_to(folder).as_posix() for image in found.images]


def said(found: Annotations) -> dict[str, tuple[str, int]]:
    """The remarks: level and count by code."""
    return {one.code: (one.level, one.count) for one in found.remarks}


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=25, deadline=None)
@given(every=drawn())
def test_a_set_reads_alike_in_every_layout(layout: str, every: Drawn) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = save(folder, every, LAYOUTS[layout])
        assert len(coco.marks(folder)) == 1
        assert coco.splits(folder) == sorted(split for split, _ in parts if split)
        for split, images in parts:
            found = coco.read(folder, split)
            assert (found.classes, found.ordered) == (every.classes, True)
            assert coco.images(folder, split) == tuple(image.path for image in found.images)
            assert [Path(image.path).name for image in found.images] == [image.name for image in images]
            assert all(Path(image.path).is_file() and image.size == (640, 480) for image in found.images)
            for image, given_image in zip(found.images, images):
                read = [(box.label, box.x1, box.y1, box.x2, box.y2) for box in image.boxes]
                assert read == [pytest.approx(box, abs=1e-6) for box in given_image.boxes]


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["instances.json", "_annotations.coco.json", "annotations.json"])
@pytest.mark.parametrize("below", ["", "images/"])
def test_a_coco_file_beside_its_images(tmp_path: Path, name: str, below: str) -> None:
    put(tmp_path, name, f"{below}a.png {below}b.png {below}unlisted.png")
    found = coco.read(tmp_path, "")
    assert (coco.marks(tmp_path), coco.splits(tmp_path)) == ([name], [])
    assert names(found, tmp_path) == [f"{below}b.png", f"{below}a.png"]
    assert found.classes == ("cat", "dog"), "by id, which has holes"
    assert found.images[0].boxes == ()
    assert found.images[1].boxes == (
        Box(1, 10, 20, 40, 30, 150, False),
        Box(0, -5, 0, 5, 10, 100, False),  # reaches outside: kept as it is
    )
    assert found.images[1].where == f"{tmp_path / name}, images[1] (id 3)"
    assert said(found) == {"class-order": ("note", 1)}


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        ("val", "val"), ("val", "val2017"), ("val2017", "val2017"), ("val2017", "images/val2017"), ("val", "images"),
        ("val", "images/valid"), ("val", "images/validation"),
    ],
)  # fmt: skip
def test_coco_annotations_by_split(tmp_path: Path, file: str, folder: str) -> None:
    put(tmp_path, f"annotations/instances_{file}.json", f"{folder}/a.png {folder}/b.png")
    put(tmp_path, "annotations/instances_train2017.json", "train2017/a.png train2017/b.png")
    put(tmp_path, "annotations/person_keypoints_val2017.json", "")
    (tmp_path / "annotations/image_info_test2017.json").write_text('{"info": {}, "images": [], "categories": []}')
    assert coco.marks(tmp_path) == ["annotations/instances_*.json"]
    assert coco.splits(tmp_path) == ["train", "val"]
    assert names(coco.read(tmp_path, "val"), tmp_path) == [f"{folder}/b.png", f"{folder}/a.png"]
    with pytest.raises(InvalidInput, match="no COCO annotations for 'test'"):
        coco.read(tmp_path, "test")


def test_folders_of_images_in_other_capitals(tmp_path: Path) -> None:
    put(tmp_path, "annotations/Train-coco.json", "images/Train/a.png images/Train/b.png")
    put(tmp_path, "annotations/Val-coco.json", "Images/VAL/a.png Images/VAL/b.png")
    assert coco.splits(tmp_path) == ["train", "val"]
    assert names(coco.read(tmp_path, "train"), tmp_path) == ["images/Train/b.png", "images/Train/a.png"]
    assert names(coco.read(tmp_path, "val"), tmp_path) == ["Images/VAL/b.png", "Images/VAL/a.png"]


def test_a_split_whose_images_were_not_downloaded(tmp_path: Path) -> None:
    put(tmp_path, "annotations/instances_val2017.json", "val2017/a.png val2017/b.png")
    listed = [{"id": image, "file_name": f"{name}.png"} for image, name in ((7, "d"), (3, "c"))]
    put(tmp_path, "annotations/instances_train2017.json", "", images=listed)
    for reader in (coco.read, coco.images):
        with pytest.raises(Absent, match=r"the image 'd\.png' is missing \(none of the first 2 images is there\)"):
            reader(tmp_path, "train")
    assert len(coco.images(tmp_path, "val")) == 2
    touch(tmp_path / "train2017/c.png")
    with pytest.raises(InvalidInput, match=r"the image 'd\.png' is missing\.") as caught:
        coco.read(tmp_path, "train")
    assert not isinstance(caught.value, Absent), "one of the others is there: an error of the set"


def test_years_that_tell_files_apart_stay(tmp_path: Path) -> None:
    for name in ("val2014", "val2017", "train2017"):
        put(tmp_path, f"annotations/instances_{name}.json")
    assert coco.splits(tmp_path) == ["train", "val2014", "val2017"]


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ("one.json two.json", "annotations twice: one.json, and two.json"),
        ("train_a.json train_b.json", "annotations twice: train_a.json, and train_b.json"),
        ("result.json val.json", "annotations twice: result.json, and val.json"),
        ("instances.json annotations.json", "annotations twice: instances.json, and annotations.json"),
        ("instances.json annotations/instances_val.json", "annotations twice: instances.json, and annotations/inst"),
        (
            "annotations/instances_val.json ann/instances_val.json",
            "annotations twice: ann/instances_val.json, and anno",
        ),
    ],
)
def test_several_files_for_the_same_images_are_refused(tmp_path: Path, files: str, why: str) -> None:
    for file in files.split():
        put(tmp_path, file)
    assert coco.marks(tmp_path)
    with pytest.raises(InvalidInput, match=why):
        coco.splits(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "counts"),
    [
        ("package.json", '{"name": "x"}', False),
        ("classes.json", '["a", "b"]', False),
        ("labels.json", '{"0": "cat", "1": "dog"}', False),
        ("captions.json", '{"images": [], "annotations": []}', False),
        ("odd.json", '{"images": {}, "annotations": [], "categories": []}', False),
        ("broken.json", '{"name": ', False),
        ("nested.json", '{"a": ' + "[" * 100_000, False),
        (".hidden.json", json.dumps(content()), False),
        ("mine.json", json.dumps(content()), True),
        ("mine.JSON", "\ufeff\n" + json.dumps(content()), True),
        ("broken.json", json.dumps(content())[:-1] + ",}", True),
    ],
)
def test_only_a_json_file_with_cocos_keys_marks_a_set(tmp_path: Path, name: str, text: str, counts: bool) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert coco.marks(tmp_path) == [name] * counts
    assert bool(coco.files(tmp_path)) == counts


def test_a_large_json_file_of_something_else_is_not_decoded(tmp_path: Path) -> None:
    with (tmp_path / "other.json").open("wb") as file:
        file.write(b'{"shapes": [')
        file.truncate(1 << 36)  # a hole in the file: reading it would take all the memory
    assert coco.marks(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("person_keypoints_val2017", "keypoints"),
        ("captions_val2017", "captions"),
        ("image_info_test2017", "no annotations"),
    ],
)
def test_files_for_other_tasks_alone_are_refused(tmp_path: Path, name: str, what: str) -> None:
    put(tmp_path, f"annotations/{name}.json")
    assert coco.marks(tmp_path) == [f"annotations/{name}.json"]
    with pytest.raises(InvalidInput, match=f"{name}.json is not a file of COCO's object detection: it holds {what}"):
        coco.splits(tmp_path, PLAIN)


# --- names of images --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_name", "file", "remark"),
    [
        ("sub/x.jpg", "images/sub/x.jpg", None),
        ("images/x.jpg", "images/x.jpg", None),
        ("images\\x.jpg", "images/x.jpg", None),
        ("./x.jpg", "images/x.jpg", None),
        ("cam:1/x.jpg", "images/cam:1/x.jpg", None),
        ("../../images/x.jpg", "images/x.jpg", "names-by-their-end"),
        ("..\\..\\images\\x.jpg", "images/x.jpg", "names-by-their-end"),
        ("/data/upload/1/x.jpg", "images/x.jpg", "names-by-their-end"),
        ("/data/upload/sub/x.jpg", "images/sub/x.jpg", "names-by-their-end"),
        ("C:\\photos\\x.jpg", "images/x.jpg", "names-by-their-end"),
        ("file:///home/me/x.jpg", "images/x.jpg", "names-by-their-end"),
        ("http://localhost:8080/data/local-files/?d=sub/a%20b.jpg", "images/sub/a b.jpg", "names-by-their-end"),
        ("images/3f2a1b4c-x.jpg", "images/x.jpg", "names-by-their-end"),
        ("other/x.jpg", "images/x.jpg", "names-by-their-end"),
        ("X.JPG", "images/x.jpg", "names-in-capitals"),
        ("images/cafe\u0301.jpg", "images/caf\u00e9.jpg", "names-in-capitals"),
    ],
)
def test_the_ways_to_name_an_image(tmp_path: Path, given_name: str, file: str, remark: str | None) -> None:
    touch(tmp_path / file)
    listed = [{"id": 1, "file_name": given_name}]
    put(tmp_path, files="b.png", images=listed, annotations=[])
    found = coco.read(tmp_path, "")
    assert names(found, tmp_path) == [file]
    assert {code for code in said(found) if code.startswith("names")} == ({remark} if remark else set())


def test_a_name_is_taken_as_it_is_before_its_end_or_other_capitals(tmp_path: Path) -> None:
    listed = [{"id": k, "file_name": name} for k, name in enumerate(("sub/x.jpg", "x.jpg", "X.JPG"))]
    put(tmp_path, files="images/x.jpg images/X.JPG images/sub/x.jpg", images=listed, annotations=[])
    found = coco.read(tmp_path, "")
    assert names(found, tmp_path) == ["images/sub/x.jpg", "images/x.jpg", "images/X.JPG"]
    assert "names-in-capitals" not in said(found)


@pytest.mark.parametrize(
    "name", ["../secret.png", "{outside}/secret.png", "..\\secret.png", "C:\\secret.png", "a/../../secret.png"]
)
def test_a_coco_file_cannot_reach_outside_its_folder(tmp_path: Path, name: str) -> None:
    touch(tmp_path / "secret.png")
    listed = [IMAGES[0], {"id": 3, "file_name": name.format(outside=tmp_path)}]
    put(tmp_path / "data", images=listed)
    with pytest.raises(IntegrityError, match=r"instances.json, images\[1\] \(id 3\): file_name is .*the path"):
        coco.read(tmp_path / "data", "")
    with pytest.raises(IntegrityError, match="write file_name relative to it: 'secret"):
        coco.images(tmp_path / "data", "")
    touch(tmp_path / "data/secret.png")
    assert names(coco.read(tmp_path / "data", ""), tmp_path / "data") == ["b.png", "secret.png"]


def test_two_names_of_one_file_are_refused(tmp_path: Path) -> None:
    listed = [{"id": 3, "file_name": "/one/x.jpg"}, {"id": 4, "file_name": "/two/x.jpg"}]
    put(tmp_path, files="x.jpg", images=listed)
    with pytest.raises(InvalidInput, match=r"images\[1\] \(id 4\): file_name '/two/x.jpg' is the file of images\[0\]"):
        coco.read(tmp_path, "")


# --- fields -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "crowd"),
    [(None, False), ("", False), (False, False), ("0", False), (0.0, False), (1, True), (True, True), ("1", True)],
)
def test_the_ways_to_write_a_crowd(tmp_path: Path, value: Any, crowd: bool) -> None:
    put(tmp_path, annotations=[note(1, 3, 2, [1, 1, 5, 5], iscrowd=value), note(2, 3, 2, [1, 1, 6, 6])])
    assert [box.crowd for box in coco.read(tmp_path, "").images[1].boxes] == [crowd, False]


@pytest.mark.parametrize(("image", "category"), [("3", "90"), (3.0, 90.0), (" 3 ", "90.0")])
def test_ids_as_text_or_fractions(tmp_path: Path, image: Any, category: Any) -> None:
    put(tmp_path, annotations=[note(None, image, category, [1, 1, 5, 5], area="12.5")])
    found = coco.read(tmp_path, "")
    assert found.images[1].boxes == (Box(1, 1, 1, 6, 6, 12.5, False),)
    assert said(found)["annotation-ids"] == ("note", 1)


def test_ids_that_are_no_numbers(tmp_path: Path) -> None:
    put(
        tmp_path,
        images=[{"id": "b", "file_name": "b.png"}],
        categories=[{"id": "z", "name": "dog"}, {"id": "a", "name": "cat"}],
        annotations=[note("x", "b", "a", [1, 1, 5, 5])],
    )
    found = coco.read(tmp_path, "")
    assert (found.classes, found.ordered, found.images[0].boxes[0].label) == (("dog", "cat"), False, 1)


@pytest.mark.parametrize(
    ("sides", "size"),
    [
        ({"width": 640, "height": 480}, (640, 480)), ({"width": "640", "height": 480.0}, (640, 480)),
        ({"width": 640}, None), ({}, None), ({"width": 0, "height": 0}, None), ({"width": -1, "height": 5}, None),
        ({"width": None, "height": ""}, None),
    ],
)  # fmt: skip
def test_the_size_that_the_file_says(tmp_path: Path, sides: dict[str, Any], size: tuple[int, int] | None) -> None:
    put(tmp_path, images=[IMAGES[1] | sides])
    assert coco.read(tmp_path, "").images[0].size == size


@pytest.mark.parametrize(
    ("more", "box"),
    [
        ({"segmentation": [[10, 20, 30, 20, 30, 50]]}, (10, 20, 30, 50)),
        ({"segmentation": [[10, 20, 30, 20, 30, 50], [1.5, 30, 5, 60]], "bbox": []}, (1.5, 20, 30, 60)),
        ({"segmentation": [10, 20, 30, 20, 30, 50], "bbox": None}, (10, 20, 30, 50)),
        # A mask of 4 rows and 5 columns: rows 1 and 2 of column 1, rows 0 and 1 of column 2.
        ({"segmentation": {"counts": [5, 2, 1, 2, 10], "size": [4, 5]}}, (1, 0, 3, 3)),
        # From row 3 of column 1 to row 0 of column 2: each row counts.
        ({"segmentation": {"counts": [7, 2, 11], "size": [4, 5]}}, (1, 0, 3, 4)),
    ],
)
def test_boxes_around_segmentations(tmp_path: Path, more: dict[str, Any], box: tuple[float, ...]) -> None:
    put(tmp_path, annotations=[{"id": 1, "image_id": 3, "category_id": 2, **more}, *NOTES[:1]])
    found = coco.read(tmp_path, "")
    first, second = found.images[1].boxes
    assert (first.x1, first.y1, first.x2, first.y2) == box and second.area == 150
    assert said(found)["polygons-as-boxes"] == ("note", 1)


@pytest.mark.parametrize(
    "more", [{}, {"bbox": None}, {"bbox": []}, {"segmentation": []}, {"segmentation": None}, {"segmentation": [[]]}]
)
def test_annotations_without_a_box_are_left_out(tmp_path: Path, more: dict[str, Any]) -> None:
    put(tmp_path, annotations=[{"id": 9, "image_id": 3, "category_id": 2, **more}, *NOTES])
    found = coco.read(tmp_path, "")
    assert len(found.images[1].boxes) == 2
    assert said(found)["annotations-without-box"] == ("warning", 1)
    assert (
        "annotations[0] (id 9)" in next(one for one in found.remarks if one.code == "annotations-without-box").names[0]
    )


def test_what_is_odd_and_goes_on_is_said(tmp_path: Path) -> None:
    more = [
        note(3, 7, 2, [1, 1, 5, 5], iscrowd=1), note(3, 7, 2, [1, 1, 0, 5]), note(None, 7, 2, [9, 9, 5, -1]),
        note(6, 3, 90, [10, 20, 30, 10]), note(7, 3, 90, [10, 20, 30, 10]), note(8, 7, 90, [10, 20, 30, 10]),
    ]  # fmt: skip
    put(tmp_path, annotations=NOTES + more)
    found = coco.read(tmp_path, "")
    assert [box.crowd for box in found.images[0].boxes] == [True, False]
    assert len(found.images[1].boxes) == 4, "repeated boxes are kept, as pycocotools keeps them"
    assert said(found) == {
        "class-order": ("note", 1), "boxes-without-area": ("warning", 2), "annotation-ids": ("note", 2),
        "duplicate-boxes": ("warning", 2),
    }  # fmt: skip


ROBOFLOW = [
    {"id": 0, "name": "animals", "supercategory": "none"},
    {"id": 1, "name": "cat", "supercategory": "animals"},
    {"id": 2, "name": "dog", "supercategory": "animals"},
]


def test_roboflows_root_category_is_no_class(tmp_path: Path) -> None:
    put(tmp_path, categories=ROBOFLOW, annotations=[note(1, 3, 2, [1, 1, 5, 5])])
    found = coco.read(tmp_path, "")
    assert (found.classes, found.images[1].boxes[0].label) == (("cat", "dog"), 1)
    assert said(found) == {"root-category": ("note", 1)}


@pytest.mark.parametrize(
    ("categories", "used"),
    [
        (ROBOFLOW, 0),
        (ROBOFLOW[:1], 0),
        ([*ROBOFLOW, {"id": 3, "name": "bird", "supercategory": "other"}], 1),
        ([ROBOFLOW[0] | {"supercategory": "all"}, *ROBOFLOW[1:]], 1),
    ],
)
def test_other_categories_with_the_id_0_are_classes(tmp_path: Path, categories: list[Any], used: int) -> None:
    put(tmp_path, categories=categories, annotations=[note(1, 3, used, [1, 1, 5, 5])])
    found = coco.read(tmp_path, "")
    assert found.classes == tuple(one["name"] for one in categories)
    assert "root-category" not in said(found)


def test_a_class_name_twice_matters_where_both_have_boxes(tmp_path: Path) -> None:
    twice = [{"id": 1, "name": "cat"}, {"id": 2, "name": "cat"}, {"id": 3, "name": "dog"}]
    put(tmp_path, categories=twice, annotations=[note(1, 3, 2, [1, 1, 5, 5]), note(2, 3, 3, [1, 1, 5, 5])])
    assert coco.read(tmp_path, "").classes == ("cat", "cat", "dog")
    put(tmp_path, categories=twice, annotations=[note(1, 3, 2, [1, 1, 5, 5]), note(2, 3, 1, [1, 1, 5, 5])])
    with pytest.raises(InvalidInput, match=r"instances.json, categories: 'cat' is the name of the ids 1 and 2"):
        coco.read(tmp_path, "")


def test_parts_of_the_image_are_no_pixels(tmp_path: Path) -> None:
    parts = [note(k, 3, 2, [0.1, 0.2, 0.3, 0.25 + k / 10]) for k in range(3)]
    sized = [image | {"width": 640, "height": 480} for image in IMAGES]
    put(tmp_path, images=sized, annotations=parts)
    with pytest.raises(InvalidInput, match=r"annotations\[0\] \(id 0\): the box is 0.1 0.2 0.3 0.25: fractions"):
        coco.read(tmp_path, "")
    for changes in (
        {"annotations": parts[:2]},
        {"annotations": [*parts, note(9, 3, 2, [1, 1, 2, 2])]},
        {"images": IMAGES},
        {"images": [image | {"width": 2, "height": 2} for image in IMAGES]},
    ):
        put(tmp_path, **({"images": sized, "annotations": parts} | changes))
        assert len(coco.read(tmp_path, "").images[1].boxes) >= 2


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"annotations": [note(5, 3, 1, [1, 2, 3, 4])]}, r"annotations\[0\] \(id 5\): category_id 1 is .* no category"),
        ({"annotations": [note(5, 4, 2, [1, 2, 3, 4])]}, r"annotations\[0\] \(id 5\): image_id 4 is .* no image"),
        ({"annotations": [note(5, 3.5, 2, [1, 2, 3, 4])]}, r"annotations\[0\] \(id 5\): image_id 3.5 is .* no image"),
        ({"annotations": [note(5, 3, 2, [1, 2, 3])]}, r"annotations\[0\] \(id 5\): bbox is \[1.0, 2.0, 3.0\]"),
        ({"annotations": [note(5, 3, 2, [1, 2, 3, "4"])]}, r"got `str` - at `annotations\[0\].bbox\[3\]`"),
        ({"annotations": [note(5, 3, 2, [1, 1, 1, 1], iscrowd="maybe")]}, r"\(id 5\): iscrowd is 'maybe'"),
        ({"annotations": [note(5, 3, 2, [1, 1, 1, 1], area="big")]}, r"\(id 5\): area is 'big'"),
        ({"annotations": [{"id": 1, "image_id": 3}]}, r"field `category_id` - at `annotations\[0\]`"),
        (
            {"annotations": [note(5, 3, 2, None, segmentation={"counts": "abc", "size": [4, 4]})]},
            r"annotations\[0\] \(id 5\): it has no bbox, and its segmentation is compressed",
        ),
        ({"annotations": [note(5, 3, 2, None, segmentation={"counts": [1, -1], "size": [4, 4]})]}, "is not a mask"),
        ({"annotations": [note(5, 3, 2, None, segmentation={"counts": [1, 1], "size": [0, 4]})]}, "is not a mask"),
        ({"annotations": [note(5, 3, 2, None, segmentation=[[1, 2, 3]])]}, "is not a list of polygons"),
        ({"annotations": [note(5, 3, 2, None, segmentation=[["1", 2]])]}, "is not a list of polygons"),
        ({"annotations": [note(5, 3, 2, None, segmentation=[[[1], 2]])]}, "is not a list of polygons"),
        ({"annotations": [note(5, 3, 2, None, segmentation=[["NaN", "NaN"]])]}, "is not a list of polygons"),
        (
            {"annotations": [note(5, 3, 2, None, segmentation=[[10**400, 2]])]},
            r"annotations\[0\] \(id 5\): segmentation",
        ),
        ({"annotations": [note(5, 3, 2, None, segmentation={"counts": [1, 10**400], "size": [4, 4]})]}, "segmentation"),
        ({"images": [*IMAGES, {"id": 3, "file_name": "c.png"}]}, r"images\[2\]: id 3 is already in images\[1\]"),
        ({"images": [*IMAGES, {"id": "7.0", "file_name": "c.png"}]}, r"images\[2\]: id 7 is already in images\[0\]"),
        ({"images": [*IMAGES, {"id": 4, "file_name": "a.png"}]}, r"images\[2\]: file_name 'a.png' is already"),
        (
            {"images": [*IMAGES, {"id": 4, "file_name": "./a.png"}]},
            r"images\[2\] \(id 4\): file_name './a.png' is the file",
        ),
        ({"categories": [{"id": 2, "name": "x"}] * 2}, r"categories\[1\]: id 2 is already in categories\[0\]"),
        ({"images": [*IMAGES, {"id": 4, "file_name": "c.png"}]}, r"images\[2\] \(id 4\): the image 'c.png' is missing"),
        ({"images": [*IMAGES, {"id": 4, "file_name": ""}]}, r"images\[2\] \(id 4\): the image '' is missing"),
        ({"images": [*IMAGES, {"id": 4}]}, r"field `file_name` - at `images\[2\]`"),
        ({"images": {}}, "Expected `array`, got `object` - at `images`"),
    ],
)
def test_a_bad_coco_file_is_named_with_the_place(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidInput, match=f"instances.json.*{why}") as caught:
        coco.read(put(tmp_path, **changes), "")
    assert caught.value.why and caught.value.fix


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"images": [],\n "annotations": [\n  {"bbox": [1, NaN]}]}', "line 3: this is not JSON"),
        ('{"images": [],\n "annotations": [],\n}', "line 3: this is not JSON"),
        ('{"images": [],\n "annotations": [', "line 2: this is not JSON"),
        ("[]", "Expected `object`"),
        ("", "line 1: this is not JSON"),
        ('{"a": ' + "[" * 100_000, "nested too deeply"),
        ('{"images": [], "categories": [], "annotations": [{"id":1,"image_id":1,"category_id":1,"bbox":[1e999]}]}',
         r"out of range - at `annotations\[0\].bbox\[0\]"),
    ],
)  # fmt: skip
def test_malformed_json_is_named_with_its_line(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "instances.json").write_text(text)
    with pytest.raises(InvalidInput, match=f"instances.json.*{why}"):
        coco.read(tmp_path, "")


def test_an_outline_of_numbers_beyond_all_bounds_is_named(tmp_path: Path) -> None:
    path = put(tmp_path, annotations=[note(5, 3, 2, None, segmentation=[[1, 1, 7777, 2, 3, 3]])]) / "instances.json"
    path.write_text(path.read_text().replace("7777", "1e999"))
    with pytest.raises(InvalidInput, match=r"instances\.json, annotations\[0\] \(id 5\): segmentation cannot be read"):
        coco.read(tmp_path, "")


@pytest.mark.parametrize(("start", "encoding"), [(b"{\n\xff}", "utf-8"), ("{}".encode("utf-16"), "utf-16")])
def test_annotations_that_are_no_text(tmp_path: Path, start: bytes, encoding: str) -> None:
    (tmp_path / "instances.json").write_bytes(start)
    with pytest.raises(InvalidInput, match=r"instances.json, line \d: .*UTF-8"):
        coco.read(tmp_path, "")


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    path = put(tmp_path) / "instances.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(coco.read(tmp_path, "").images[1].boxes) == 2


def test_images_are_listed_without_the_annotations(tmp_path: Path) -> None:
    put(tmp_path, annotations=[note(1, 99, 99, "x")], categories=None)
    assert [Path(path).name for path in coco.images(tmp_path, "")] == ["b.png", "a.png"]
    with pytest.raises(InvalidInput, match="categories"):
        coco.read(tmp_path, "")
