"""YOLO sets are read as the labelling tools write them, or refused with file and line."""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from edgewright.core.errors import EdgewrightError, IntegrityError, InvalidInput
from edgewright.data import sets, yolo
from edgewright.data.boxes import Annotations, Box

from .yolo_writers import WITH_SPLITS, WITHOUT_SPLITS, Row, Split, pairs, ultralytics, write

SETTINGS = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

_LETTERS = st.characters(categories=("Ll", "Lu", "Nd"))
_NAMES = st.one_of(st.integers(0, 999).map(str), st.sampled_from(["no", "~", "null", "1e3", "010", "traffic light"]))
CLASSES = st.lists(st.one_of(_NAMES, st.text(_LETTERS, min_size=1, max_size=8)), min_size=1, max_size=12, unique=True)
STEMS = st.text(st.sampled_from("abAB 01_.(é#"), min_size=1, max_size=8).map(lambda text: f"x{text}z")


@st.composite
def rows(draw: st.DrawFn, classes: int) -> list[Row]:
    sides = st.floats(0.01, 0.5).map(lambda value: round(value, 6))
    found = list[Row]()
    for _ in range(draw(st.integers(0, 4))):
        w, h = draw(sides), draw(sides)
        centre = [round(draw(st.floats(side / 2, 1 - side / 2)), 6) for side in (w, h)]
        found.append((draw(st.integers(0, classes - 1)), centre[0], centre[1], w, h))
    return sorted(set(found))


@st.composite
def parts(draw: st.DrawFn, classes: int) -> Split:
    names = draw(st.lists(STEMS, min_size=1, max_size=4, unique_by=str.casefold))
    found = {name + draw(st.sampled_from([".jpg", ".PNG", ".webp"])): draw(rows(classes)) for name in names}
    if not any(found.values()):
        found[next(iter(found))] = [(0, 0.5, 0.5, 0.25, 0.125)]
    return found


def expected(split: Split) -> dict[str, list[tuple[float, ...]]]:
    return {
        name: sorted((label, x - w / 2, y - h / 2, x + w / 2, y + h / 2, w * h) for label, x, y, w, h in found)
        for name, found in split.items()
    }


def require_same(found: Annotations, split: Split, classes: Sequence[str]) -> None:
    assert found.classes == tuple(classes) and found.ordered
    assert all(image.relative and image.size is None for image in found.images)
    assert all(Path(image.path).is_absolute() and Path(image.path).is_file() for image in found.images)
    read = {
        Path(image.path).name: sorted((b.label, b.x1, b.y1, b.x2, b.y2, b.area) for b in image.boxes)
        for image in found.images
    }
    wanted = expected(split)
    assert read.keys() == wanted.keys()
    for name, boxes in wanted.items():
        assert len(read[name]) == len(boxes)
        assert all(one == pytest.approx(other, abs=1e-6) for one, other in zip(read[name], boxes)), name


@pytest.mark.parametrize("writer", WITH_SPLITS, ids=lambda writer: writer.__name__)
@given(data=st.data())
@SETTINGS
def test_sets_with_splits(
    tmp_path_factory: pytest.TempPathFactory, writer: Callable[..., None], data: st.DataObject
) -> None:
    classes = data.draw(CLASSES)
    names = data.draw(st.sets(st.sampled_from(["train", "val", "test"]), min_size=1).map(sorted))
    if "val" not in names and writer.__name__ != "class_file":
        names = ["val", *names]
    splits = {name: data.draw(parts(len(classes))) for name in names}
    folder = tmp_path_factory.mktemp("set") / "Pets 2"
    writer(folder, splits, classes)
    assert yolo.marks(folder)
    assert yolo.splits(folder) == sorted(names)
    for name in names:
        found = yolo.read(folder, name)
        require_same(found, splits[name], classes)
        assert yolo.images(folder, name) == tuple(image.path for image in found.images)
        assert not [one for one in found.remarks if one.level != "note"], found.remarks


@pytest.mark.parametrize("writer", WITHOUT_SPLITS, ids=lambda writer: writer.__name__)
@given(data=st.data())
@SETTINGS
def test_sets_without_splits(
    tmp_path_factory: pytest.TempPathFactory, writer: Callable[..., None], data: st.DataObject
) -> None:
    classes = data.draw(CLASSES)
    split = data.draw(parts(len(classes)))
    folder = tmp_path_factory.mktemp("set")
    writer(folder, split, classes)
    assert yolo.marks(folder)
    assert yolo.splits(folder) == []
    found = yolo.read(folder, "")
    require_same(found, split, classes)
    assert found.remarks == ()


# --- the YAML ---------------------------------------------------------------------------------------------------------

BOX = (1, 0.5, 0.5, 0.2, 0.4)
PETS = "names: [cat, dog]\n"


def pets(folder: Path, rows: str = "1 0.5 0.5 0.2 0.4\n", text: str = "", name: str = "data.yaml") -> Path:
    for image in ("train/a.png", "val/a.png", "val/sub/b.png"):
        write(folder / "images" / image)
    write(folder / name, text or f"train: images/train\nval: images/val\n{PETS}")
    write(folder / "labels/train/a.txt", "0 0.5 0.5 1 1\n")
    write(folder / "labels/val/a.txt", rows)
    return folder


def names(found: Annotations) -> list[str]:
    return [Path(image.path).name for image in found.images]


def codes(found: Annotations) -> list[str]:
    return [one.code for one in found.remarks]


def test_rows_become_corners_in_parts_of_the_image(tmp_path: Path) -> None:
    found = yolo.read(pets(tmp_path, "1 0.5 0.5 0.2 0.4\n\n0 0.0 0 0.1 0.1\n"), "val")
    assert (names(found), found.classes) == (["a.png", "b.png"], ("cat", "dog"))
    one, other = found.images[0].boxes
    assert (one.label, other.label) == (1, 0)
    assert (one.x1, one.y1, one.x2, one.y2, one.area) == pytest.approx((0.4, 0.3, 0.6, 0.7, 0.08))
    assert (other.x1, other.y1) == pytest.approx((-0.05, -0.05))
    assert found.images[1].boxes == (), "no label file: no boxes"
    assert found.images[0].where == str(tmp_path / "labels/val/a.txt")


@pytest.mark.parametrize(
    "text",
    [
        "path: {name}\nval: images/val\nnames:\n  1: dog\n  0: cat\nnc: 2\n",
        "path: .\nval: [images/val]\nnames: [cat, dog]\n",
        "val: ../images/val\nnames: [cat, dog]\n",
        "path: images\nval: val\nnames: [cat, dog]\n",
        "Path: {folder}\nVALIDATION: images/val/\nNames: {{'0': cat, '1': dog}}\nNC: 2.0\n",
        "valid: images\\val\ntest: null\ntrain:\nnames: ['cat', \"dog\"]\n",
        "path: {name}/images\nval: val\nnames: [cat, dog]\n",
        "{{names: [cat, dog], val: images/val}}\n",
        "\ufeffval: ./images/val\nnames:\n- cat\n- dog\n",
    ],
)
def test_the_ways_to_write_a_yaml(tmp_path: Path, text: str) -> None:
    pets(tmp_path, text=text.format(name=tmp_path.name, folder=tmp_path), name="pets.yml")
    assert yolo.marks(tmp_path) == ["pets.yml"]
    assert yolo.splits(tmp_path) == ["val"]
    found = yolo.read(tmp_path, "val")
    assert (found.classes, names(found), len(found.images[0].boxes)) == (("cat", "dog"), ["a.png", "b.png"], 1)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("path: ../datasets/pets\nval: images/val\n", "path-ignored"),
        ("path: /nowhere/datasets/pets\nval: images/val\n", "path-ignored"),
        ("path: D:\\sets\\pets\nval: images\\val\n", "path-ignored"),
        ("val: /nowhere/pets/images/val\n", "paths-shortened"),
        ("val: ../pets/images/val\n", "paths-shortened"),
        ("val: images/val\ntest: ../test/images\n", "splits-left-out"),
        ("val: images/val\ntrain: ../train/images\n", "splits-left-out"),
        ("val: images/val\ntest: /nowhere/pets/test/images\n", "splits-left-out"),
        ("path: ../datasets/images\nval: val\n", "path-ignored"),
        ("val: Pets-1/images/val\n", "paths-shortened"),
        ("val: Pets-1/val.txt\n", "paths-shortened"),
        ("val: images/val\ntest: test/images\n", "splits-left-out"),
        ("val: images/val\ntest: Pets-1/test/images\n", "splits-left-out"),
        ("val: images/val\ntest: Pets-1/images\n", "splits-left-out"),
    ],
)
def test_paths_of_another_machine_are_followed_with_a_remark(tmp_path: Path, text: str, code: str) -> None:
    pets(tmp_path, text=text + PETS)
    write(tmp_path / "val.txt", "images/val/a.png\nimages/val/sub/b.png\n")
    found = yolo.read(tmp_path, "val")
    assert yolo.splits(tmp_path) == ["val"]
    assert (len(found.images), codes(found)[-1]) == (2, "images-without-labels")
    assert code in codes(found)


def test_a_folder_that_the_user_reached_by_a_link(tmp_path: Path) -> None:
    pets(tmp_path / "real", text=f"path: {tmp_path / 'real'}\nval: val.txt\n{PETS}")
    write(tmp_path / "real/val.txt", f"{tmp_path}/real/images/val/a.png\n")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert yolo.images(tmp_path / "link", "val") == (str(tmp_path / "link/images/val/a.png"),)


def test_class_names_stay_the_text_that_they_are(tmp_path: Path) -> None:
    text = "names: [0, 1, 10, 010, yes, no, 1e3, 12:30, null, ~, 2024-01-01, 'quoted']\nval: images/val\n"
    found = yolo.read(pets(tmp_path, text=text), "val")
    assert " ".join(found.classes) == "0 1 10 010 yes no 1e3 12:30 null ~ 2024-01-01 quoted"


def test_several_folders_and_lists_of_one_split(tmp_path: Path) -> None:
    text = f"val: [images/train, images/val/sub, more.txt]\n{PETS}"
    write(pets(tmp_path, text=text) / "more.txt", "images/val/a.png\nimages/val/a.png\nimages/val/sub/b.png\n")
    found = yolo.read(tmp_path, "val")
    assert names(found) == ["a.png", "b.png", "a.png"], "each image once"
    assert "images-listed-twice" in codes(found)


@pytest.mark.parametrize(
    "line",
    [
        "images/val/a.png", "./images/val/a.png", "lists/../images/val/a.png", "../images/val/a.png",
        "{folder}/images/val/a.png", "/nowhere/pets/images/val/a.png", "data/images/val/a.png",
        "build\\darknet\\x64\\data\\images\\val\\a.png",
        "  images/val/a.png \t", "\ufeffimages/val/a.png\r\n\r\n# images/val/none.png",
    ],
)  # fmt: skip
def test_lines_of_a_list(tmp_path: Path, line: str) -> None:
    pets(tmp_path, text=f"val: lists/val.txt\n{PETS}")
    write(tmp_path / "lists/val.txt", line.format(folder=tmp_path))
    assert yolo.images(tmp_path, "val") == (str(tmp_path / "images/val/a.png"),)
    assert len(yolo.read(tmp_path, "val").images[0].boxes) == 1


def test_a_list_is_relative_to_the_set_and_with_a_dot_to_itself(tmp_path: Path) -> None:
    write(tmp_path / "data.yaml", f"val: lists/val.txt\n{PETS}")
    pairs({"a.jpg": [BOX]}, tmp_path, tmp_path)
    pairs({"a.jpg": [BOX]}, tmp_path / "lists", tmp_path / "lists")
    for line, image in (("a.jpg", "a.jpg"), ("./a.jpg", "lists/a.jpg")):
        write(tmp_path / "lists/val.txt", line)
        assert yolo.images(tmp_path, "val") == (str(tmp_path / image),)


def test_two_lines_whose_endings_are_one_image_are_an_error(tmp_path: Path) -> None:
    write(pets(tmp_path, text=f"val: val.txt\n{PETS}") / "x.png")
    write(tmp_path / "val.txt", "/nowhere/a/x.png\n/nowhere/b/x.png\n")
    with pytest.raises(InvalidInput, match=r"val\.txt, line 2: the image is .*x\.png, as in line 1"):
        yolo.images(tmp_path, "val")


@pytest.mark.parametrize(
    ("line", "why", "kind"),
    [
        ("images/val/none.png", "line 2: the image 'images/val/none.png' is missing", InvalidInput),
        ("images/val", "line 2: the image 'images/val' is missing", InvalidInput),
        ("data.yaml", "line 2: 'data.yaml' is not an image", InvalidInput),
        ("../../secret.png", "line 2: '../../secret.png' points outside", IntegrityError),
        ("{outside}/secret.png", "line 2: .*secret.png' points outside", IntegrityError),
        ("/nowhere/other.png", "line 2: the image '/nowhere/other.png' is missing", InvalidInput),
    ],
)
def test_a_bad_line_of_a_list_is_named(tmp_path: Path, line: str, why: str, kind: type[EdgewrightError]) -> None:
    folder = pets(tmp_path / "below/set", text=f"val: val.txt\n{PETS}")
    write(tmp_path / "secret.png")
    write(folder / "val.txt", "images/val/a.png\n" + line.format(outside=tmp_path))
    for call in (yolo.images, yolo.read):
        with pytest.raises(kind, match=rf"val\.txt, {why}") as caught:
            call(folder, "val")
        assert caught.value.why and caught.value.fix


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("val: images/val\nnames: [cat\nnc: 1\n", "line 3: this is not YAML"),
        ("val: images/val\nnames: !!python/object/apply:os.system ['true']\n", "line 2: this is not YAML"),
        ("- a\n", "holds no names"),
        ("val: images/val\n", "has no names"),
        ("names: [cat, dog]\n", "names no images"),
        ("val: images/val\nnames: {0: cat, 2: dog}\n", "line 2: the keys of names"),
        ("val: images/val\nnames: [[cat], dog]\n", "line 2: the name of class 0"),
        ("val: images/val\nnames: [cat, '']\n", "line 2: the name of class 1"),
        ("val: images/val\nnames: [cat, dog]\nnc: 3\n", "line 3: nc is 3"),
        ("val: images/val\nnames: [cat, dog]\nnc: two\n", "line 3: nc is 'two'"),
        ("val: images/val\nnames: [cat, dog]\nkpt_shape: 17\n", "line 3: kpt_shape is not a pair"),
        ("val: images/test\nnames: [cat, dog]\n", "line 1: val: there is no folder"),
        ("train: images/train\nval: images/test\nnames: [cat, dog]\n", "line 2: val: there is no folder"),
        ("val: 3\nnames: [cat, dog]\n", "line 1: val: there is no folder .*/3"),
        ("val: {a: b}\nnames: [cat, dog]\n", "line 1: val is not a path"),
        ("val: data.yaml\nnames: [cat, dog]\n", "line 1: val: .*data.yaml is neither a folder nor a .txt list"),
        ("names: [cat, dog]\nval: images/val\nValidation: images/val\n", "line 3: val and Validation are the same"),
        ("names: [cat, dog]\nval: ../../elsewhere\n", "line 2: val points outside"),
        ("names: [cat, dog]\nval: /etc\n", "line 2: val points outside"),
        ("names: [cat, dog]\nval: images/val\npath: ../..\n", "line 3: path points outside"),
        ("names: [cat, dog]\nval: /x/val/images\ntrain: /x/train/images\n", "line 2: val points outside"),
        ("names: [cat, dog]\nval: /x/b/images\ntrain: /x/a/images\n", "line 3: train and val point to the same"),
    ],
)
def test_a_bad_yaml_is_named_with_its_line(tmp_path: Path, text: str, why: str) -> None:
    folder = pets(tmp_path / "set", text=text)
    for call in (yolo.splits, lambda folder: yolo.read(folder, "val")):
        with pytest.raises(InvalidInput, match=rf"data\.yaml.*{why}") as caught:
            call(folder)
        assert caught.value.why and caught.value.fix


def test_two_descriptions_of_a_set_are_named(tmp_path: Path) -> None:
    write(pets(tmp_path) / "pets.yaml", f"train: images/train\n{PETS}")
    with pytest.raises(InvalidInput, match=r"data\.yaml and by pets\.yaml"):
        yolo.splits(tmp_path)


def test_a_split_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"data\.yaml has no split 'test'") as caught:
        yolo.read(pets(tmp_path), "test")
    assert "train, val" in caught.value.why


@pytest.mark.parametrize(
    "files",
    [
        {"a.jpg": "", "config.yaml": "names: [a]\n"},
        {"a.jpg": "", "classes.txt": "a\nb\n"},
        {"cat/a.jpg": "", "dog/b.jpg": "", "classes.txt": "cat\ndog\n", "README.txt": ""},
        {"images/a.jpg": "", "labels/a.png": "", "classes.txt": "cat\n"},
        {"images/cat/a.jpg": "", "images/dog/b.jpg": "", "classes.txt": "cat\ndog\n"},
        {"a.jpg": "", "a.txt": "A cat on a mat.\n"},
        {"train/cat/a.jpg": "", "val/cat/b.jpg": "", "labels.txt": "cat\n"},
        {"a.jpg": "", "lib.data": "\x00\x01"},
    ],
)
def test_other_folders_are_no_yolo_sets(tmp_path: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        write(tmp_path / name, text)
    assert yolo.marks(tmp_path) == []


# --- Darknet and class files ------------------------------------------------------------------------------------------


def darknet(folder: Path, lines: str = "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\n") -> Path:
    pairs({"a.jpg": [BOX]}, folder / "obj_train_data", folder / "obj_train_data")
    write(folder / "train.txt", "data/obj_train_data/a.jpg\n")
    write(folder / "obj.names", "cat\ndog\n")
    write(folder / "obj.data", lines)
    return folder


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("train = train.txt\n", "it has no names"),
        ("names = obj.names\n", "it has no train"),
        ("names = other.names\ntrain = train.txt\n", "line 1: names: there is no 'other.names'"),
        ("classes = 3\nnames = obj.names\ntrain = train.txt\n", "line 1: classes is 3, and there are 2 names"),
        ("names = obj.names\n# more\ntrain = data/none.txt\n", "line 3: train: there is no 'data/none.txt'"),
    ],
)
def test_a_bad_obj_data_is_named_with_its_line(tmp_path: Path, lines: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=rf"obj\.data.*{why}"):
        yolo.splits(darknet(tmp_path, lines))


def test_labels_lie_beside_darknets_images_even_below_a_folder_images(tmp_path: Path) -> None:
    darknet(tmp_path)
    pairs({"b.jpg": [BOX]}, tmp_path / "obj_train_data/images", tmp_path / "obj_train_data/images")
    write(tmp_path / "obj_train_data/labels/b.txt")
    write(tmp_path / "train.txt", "data/obj_train_data/images/b.jpg\n")
    assert len(yolo.read(tmp_path, "train").images[0].boxes) == 1


@pytest.mark.parametrize(("images", "labels"), [("images/val", "images/val"), ("val", "val"), ("val", "val/labels")])
def test_labels_lie_beside_the_images_where_there_are_no_others(tmp_path: Path, images: str, labels: str) -> None:
    pairs({"a.jpg": [BOX]}, tmp_path / images, tmp_path / labels)
    write(tmp_path / "data.yaml", f"val: {images}\n{PETS}")
    found = yolo.read(tmp_path, "val")
    assert (len(found.images[0].boxes), found.remarks) == (1, ())


def test_a_list_that_obj_data_names_and_no_tool_wrote(tmp_path: Path) -> None:
    darknet(tmp_path, "train = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\nbackup = backup/\n")
    assert yolo.splits(tmp_path) == ["train"]
    assert "splits-left-out" in codes(yolo.read(tmp_path, "train"))


def test_obj_data_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    write(tmp_path / "secret.names", "cat\n")
    with pytest.raises(IntegrityError, match=r"obj\.data, line 1: '\.\./secret\.names' points outside"):
        yolo.splits(darknet(tmp_path / "set", "names = ../secret.names\ntrain = train.txt\n"))


def test_class_files_that_differ_are_named(tmp_path: Path) -> None:
    pairs({"a.jpg": [BOX]}, tmp_path / "train", tmp_path / "train")
    pairs({"b.jpg": [BOX]}, tmp_path / "val", tmp_path / "val")
    write(tmp_path / "train/classes.txt", "cat\ndog\n")
    write(tmp_path / "val/classes.txt", "dog\ncat\n")
    with pytest.raises(InvalidInput, match=r"train/classes\.txt and .*val/classes\.txt name different classes"):
        yolo.read(tmp_path, "val")
    write(tmp_path / "val/classes.txt", "cat\n\ndog\n")
    with pytest.raises(InvalidInput, match=r"val/classes\.txt, line 2: the line is empty"):
        yolo.read(tmp_path, "val")


def test_two_folders_of_one_split(tmp_path: Path) -> None:
    for name in ("val", "validation"):
        pairs({"a.jpg": [BOX]}, tmp_path / "images" / name, tmp_path / "labels" / name)
    write(tmp_path / "classes.txt", "cat\ndog\n")
    with pytest.raises(InvalidInput, match="val and validation are the same split"):
        yolo.splits(tmp_path)


def test_without_names_the_classes_are_numbers_of_all_splits(tmp_path: Path) -> None:
    pairs({"a.jpg": [(3, 0.5, 0.5, 0.1, 0.1)]}, tmp_path / "images/train", tmp_path / "labels/train")
    pairs({"b.jpg": [(1, 0.5, 0.5, 0.1, 0.1)]}, tmp_path / "images/val", tmp_path / "labels/val")
    assert yolo.marks(tmp_path) == ["images/ and labels/"]
    found = yolo.read(tmp_path, "val")
    assert (found.classes, found.images[0].boxes[0].label) == (("0", "1", "2", "3"), 1)
    assert [(one.code, one.level) for one in found.remarks] == [("class-names-unknown", "warning")]
    write(tmp_path / "labels/train/a.txt", "987654321 .5 .5 .1 .1\n")
    with pytest.raises(InvalidInput, match="a class is 987654321"):
        yolo.read(tmp_path, "val")


def test_classes_that_only_labels_show_have_no_order_of_the_set(tmp_path: Path) -> None:
    pairs({"a.jpg": [BOX]}, tmp_path / "images", tmp_path / "labels")
    assert not yolo.read(tmp_path, "").ordered
    write(tmp_path / "classes.txt", "cat\ndog\n")
    assert yolo.read(tmp_path, "").ordered


@pytest.mark.parametrize(
    ("images", "labels"), [("Images", "Labels"), ("IMAGES/Val", "labels/Val"), ("images", "LABELS")]
)
@pytest.mark.parametrize("classes", ["", "classes.txt", "data.yaml"])
def test_images_and_labels_in_any_capitals(tmp_path: Path, images: str, labels: str, classes: str) -> None:
    pairs({"a.jpg": [BOX]}, tmp_path / images, tmp_path / labels)
    if classes:
        write(tmp_path / classes, f"val: {images}\n{PETS}" if classes == "data.yaml" else "cat\ndog\n")
    assert yolo.marks(tmp_path) == [classes or "images/ and labels/"]
    (split,) = yolo.splits(tmp_path) or [""]
    found = yolo.read(tmp_path, split)
    assert (names(found), len(found.images[0].boxes), len(found.classes)) == (["a.jpg"], 1, 2)


def test_labels_of_another_format_without_names_say_what_to_write(tmp_path: Path) -> None:
    write(tmp_path / "images/a.jpg")
    write(tmp_path / "labels/a.txt", "Car 0.00 0 1.5 587.0 173.3 614.1 200.1 1.6 1.6 3.6 0.2 1.6 46.7 1.55\n")
    with pytest.raises(InvalidInput, match=r"labels/a\.txt holds no YOLO rows") as caught:
        yolo.read(tmp_path, "")
    assert "data.yaml" in caught.value.fix and "names: [cat, dog]" in caught.value.fix


def test_a_yaml_without_names_but_with_their_number(tmp_path: Path) -> None:
    found = yolo.read(pets(tmp_path, text="val: images/val\nnc: 2\n"), "val")
    assert found.classes == ("0", "1") and "class-names-unknown" in codes(found)


# --- rows -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "box"),
    [
        ("1.0 0.5 0.5 0.2 0.4", (0.4, 0.3, 0.6, 0.7)),
        ("\ufeff1\t0.5\t.5  0.2 4e-1 \r", (0.4, 0.3, 0.6, 0.7)),
        ("1 1.01 -0.01 0.2 1.01", (0.91, -0.515, 1.11, 0.495)),
        ("1 0.1 0.2 0.3 0.2 0.3 0.6", (0.1, 0.2, 0.3, 0.6)),
        ("1 0.1 0.2 0.3 0.2 0.3 0.6 0.1 0.6", (0.1, 0.2, 0.3, 0.6)),
    ],
)
def test_rows_that_are_read(tmp_path: Path, row: str, box: tuple[float, ...]) -> None:
    found = yolo.read(pets(tmp_path, row + "\n"), "val")
    (one,) = found.images[0].boxes
    assert (one.label, one.x1, one.y1, one.x2, one.y2) == pytest.approx((1, *box))
    assert ("polygons-as-boxes" in codes(found)) == (len(row.split()) > 5)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ("0 .5 .5 .1\n", "line 1: it has 4 columns"),
        ("0 .5 .5 .1 .1\n0 .5 .5 .1 .1 .9\n", "line 2: it has 6 columns, as a model's predictions do"),
        ("0 .5 .5 .1 .1 9\n", "line 1: it has 6 columns, and the last \\(9\\) is a track id"),
        ("0 .5 .5 .1 .1 1\n1 .5 .5 .2 .2 0\n", "line 1: it has 6 columns, and the last \\(1\\) is a track id"),
        ("0 .5 .5 .1 .1 1\n1 .5 .5 .2 .2 .8\n", "line 1: it has 6 columns, as a model's predictions do"),
        ("0 .5 .5 .1 .1 1.5\n", "line 1: it has 6 columns\\."),
        ("0 .1 .1 .2 .1 .2 .2 .75\n", "line 1: it has 8 columns, as a model's predictions do"),
        ("2 .5 .5 .1 .1\n", "line 1: the class is '2'"),
        ("-1 .5 .5 .1 .1\n", "line 1: the class is '-1'"),
        ("0.5 .5 .5 .1 .1\n", "line 1: the class is '0.5'"),
        ("dog .5 .5 .1 .1\n", "line 1: the class is 'dog'"),
        ("0 .5 x .1 .1\n", "line 1: the box is .5 x .1 .1"),
        ("0 .5 .5 nan .1\n", "line 1: the box is"),
        ("0 .5 .5 inf .1\n", "line 1: the box is"),
        ("\n0 320 240 50 50\n", "line 2: the centre is 320 240"),
        ("0 1.02 .5 .1 .1\n", "line 1: the centre is 1.02 0.5"),
        ("0 .5 -.02 .1 .1\n", "line 1: the centre is 0.5 -0.02"),
        ("0 .5 .5 1.02 .1\n", "line 1: the size is 1.02 0.1"),
        ("0 .5 .5 .1 -.1\n", "line 1: the size is 0.1 -0.1"),
        ("0 10 10 40 10 40 80 10 80\n", "line 1: the centre is 25 45"),
    ],
)
def test_a_bad_row_is_named_with_its_line(tmp_path: Path, rows: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=rf"labels/val/a\.txt, {why}") as caught:
        yolo.read(pets(tmp_path, rows), "val")
    assert caught.value.why and caught.value.fix


def test_a_label_file_that_is_no_text(tmp_path: Path) -> None:
    (pets(tmp_path) / "labels/val/a.txt").write_bytes(b"0 .5 .5 .1 .1\n\xff")
    with pytest.raises(InvalidInput, match=r"a\.txt, line 2: .*UTF-8"):
        yolo.read(tmp_path, "val")


def test_rows_of_a_pose_set_give_their_boxes(tmp_path: Path) -> None:
    text = f"val: images/val\nkpt_shape: [2, 3]\n{PETS}"
    found = yolo.read(pets(tmp_path, "1 .5 .5 .2 .4 .1 .1 2 .2 .2 2\n1 .5 .5 .2 .3\n", text=text), "val")
    assert [box.y2 for box in found.images[0].boxes] == pytest.approx([0.7, 0.65])
    assert "keypoints-left-out" in codes(found) and "polygons-as-boxes" not in codes(found)


def test_what_was_noticed_in_rows_is_counted(tmp_path: Path) -> None:
    rows = "0 .5 .5 .1 .1\n0 0.5 .50 .1 .1\n1 .5 .5 .1 .1\n0 .5 .5 .1 .1\n0 .5 .5 0 .1\n0 .5 .5 .1 -0.005\n"
    found = yolo.read(pets(tmp_path, rows), "val")
    assert [box.label for box in found.images[0].boxes] == [0, 1]
    noticed = {one.code: (one.level, one.count, one.names) for one in found.remarks}
    assert noticed["duplicate-boxes"] == ("warning", 2, ("a.txt",))
    assert noticed["boxes-without-area"] == ("warning", 2, ("a.txt",))


def test_polygons_of_one_box_are_no_duplicates(tmp_path: Path) -> None:
    rows = "0 .1 .1 .2 .1 .2 .2\n0 .1 .1 .1 .2 .2 .2\n"
    assert len(yolo.read(pets(tmp_path, rows), "val").images[0].boxes) == 2


# --- images and labels ------------------------------------------------------------------------------------------------


def test_labels_without_images_and_images_without_labels(tmp_path: Path) -> None:
    pets(tmp_path)
    for name in ("labels/val/lost.txt", "labels/val/gone/x.txt"):
        write(tmp_path / name, "0 .5 .5 .1 .1\n")
    write(tmp_path / "labels/val/classes.txt", "cat\ndog\n")
    write(tmp_path / "labels/val/empty.txt")
    write(tmp_path / "labels/val/README.txt", "Five words stand in here.\n")
    noticed = {one.code: one for one in yolo.read(tmp_path, "val").remarks}
    assert (noticed["labels-without-image"].count, noticed["labels-without-image"].level) == (2, "warning")
    assert (noticed["images-without-labels"].names, noticed["images-without-labels"].level) == (("b.png",), "note")
    write(tmp_path / "images/val/c.png")
    assert {one.code: one.level for one in yolo.read(tmp_path, "val").remarks}["images-without-labels"] == "warning"


def test_labels_of_images_in_another_split_are_not_lost(tmp_path: Path) -> None:
    pairs({"a.jpg": [BOX], "b.jpg": [BOX]}, tmp_path / "images", tmp_path / "labels")
    write(tmp_path / "data.yaml", f"train: train.txt\nval: val.txt\n{PETS}")
    write(tmp_path / "train.txt", "images/a.jpg\n")
    write(tmp_path / "val.txt", "images/b.jpg\n")
    assert yolo.read(tmp_path, "val").remarks == ()


def test_files_that_are_no_images_are_named(tmp_path: Path) -> None:
    write(pets(tmp_path) / "images/val/c.dng")
    write(tmp_path / "labels/val/c.txt", "0 .5 .5 .1 .1\n")
    assert {"files-left-out", "labels-without-image"} <= set(codes(yolo.read(tmp_path, "val")))


def test_no_labels_at_all_says_where_they_were_sought(tmp_path: Path) -> None:
    write(tmp_path / "data.yaml", f"val: images/val\n{PETS}")
    write(tmp_path / "images/val/a.png")
    write(tmp_path / "annotations/val/a.txt", "0 .5 .5 .1 .1\n")
    with pytest.raises(InvalidInput, match=r"None of the 1 images of 'val' .*labels/val/a\.txt") as caught:
        yolo.read(tmp_path, "val")
    assert "annotations/" in caught.value.why and "val: images/val" in caught.value.fix


def test_labels_and_images_may_be_links(tmp_path: Path) -> None:
    pairs({"a.jpg": [BOX]}, tmp_path / "store/images", tmp_path / "store/labels")
    write(tmp_path / "set/data.yaml", f"val: images/val\n{PETS}")
    for name in ("images", "labels"):
        (tmp_path / "set" / name).mkdir()
        (tmp_path / "set" / name / "val").symlink_to(tmp_path / "store" / name)
    assert len(yolo.read(tmp_path / "set", "val").images[0].boxes) == 1
    (tmp_path / "set/data.yaml").unlink()
    assert yolo.marks(tmp_path / "set") == ["images/ and labels/"]


def test_the_images_are_listed_without_opening_one_or_a_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ultralytics(tmp_path, {"val": {"a.jpg": [BOX], "b.jpg": [BOX]}}, ["cat", "dog"])
    pairs({"a.jpg": [BOX]}, tmp_path / "bare/images/val", tmp_path / "bare/labels/val")
    opened = list[str]()

    def noting(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *args: Any, **more: Any) -> Any:
            opened.append(os.fspath(path))
            return original(path, *args, **more)

        return call

    for module in (builtins, io):
        monkeypatch.setattr(module, "open", noting(module.open))
    assert len(yolo.images(tmp_path, "val")) == 2
    assert len(yolo.images(tmp_path / "bare", "val")) == 1
    assert opened and not [path for path in opened if path.endswith((".jpg", "a.txt", "b.txt"))]
    assert len(yolo.read(tmp_path, "val").images) == 2
    assert [path for path in opened if path.endswith("a.txt")] and not [p for p in opened if p.endswith(".jpg")]


def test_a_pipe_among_the_labels_does_not_hang_the_reader(tmp_path: Path) -> None:
    pets(tmp_path)
    (tmp_path / "labels/val/sub").mkdir()
    os.mkfifo(tmp_path / "labels/val/sub/b.txt")
    os.mkfifo(tmp_path / "labels/val/lost.txt")
    assert names(yolo.read(tmp_path, "val")) == ["a.png", "b.png"]


def test_a_label_that_is_a_dead_link_is_said(tmp_path: Path) -> None:
    pets(tmp_path)
    (tmp_path / "labels/val/sub").mkdir()
    (tmp_path / "labels/val/sub/b.txt").symlink_to(tmp_path / "gone.txt")
    noticed = {one.code: one for one in yolo.read(tmp_path, "val").remarks}
    found = noticed["labels-unreadable"]
    assert (found.level, found.count, found.names) == ("warning", 1, ("b.txt",))
    assert "images-without-labels" not in noticed
    (tmp_path / "labels/val/a.txt").unlink()
    os.mkfifo(tmp_path / "labels/val/a.txt")
    with pytest.raises(InvalidInput, match="None of the 2 images") as caught:
        yolo.read(tmp_path, "val")
    assert "2 label files are broken links or no regular file (a.txt)" in caught.value.why


@pytest.mark.parametrize("name", ["data.yaml", "obj.data", "obj.names", "classes.txt", "images.txt"])
def test_pipes_in_the_place_of_descriptions_are_not_opened(tmp_path: Path, name: str) -> None:
    pairs({"a.jpg": [BOX]}, tmp_path / "images/val", tmp_path / "labels/val")
    os.mkfifo(tmp_path / name)
    assert yolo.read(tmp_path, "val").classes == ("0", "1")


def test_a_set_is_read_in_pixels_and_needs_a_box(tmp_path: Path) -> None:
    pets(tmp_path)
    for name in ("train/a.png", "val/a.png", "val/sub/b.png"):
        Image.new("RGB", (100, 50)).save(tmp_path / "images" / name)
    assert sets.splits(tmp_path) == ["train", "val"]
    found = sets.read(tmp_path, "valid")
    (one,) = found.items[0].boxes or ()
    assert (one.x1, one.y1, one.x2, one.y2, one.area) == pytest.approx((40, 15, 60, 35, 400))
    assert (found.classes, found.items[1].boxes) == (("cat", "dog"), ())
    assert [image.boxes for image in sets.listed(tmp_path, "val").items] == [None, None]
    write(tmp_path / "labels/val/a.txt")
    with pytest.raises(InvalidInput, match="no boxes for the 2 images of 'val'"):
        sets.read(tmp_path, "val")


def test_a_box_has_the_area_of_its_part(tmp_path: Path) -> None:
    found = yolo.read(pets(tmp_path, "0 .5 .5 .5 .25\n"), "val")
    assert found.images[0].boxes == (Box(0, 0.25, 0.375, 0.75, 0.625, 0.125),)
