"""The order of classes: the model's names decide, a file's order is the file's, two rules that differ are an error."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.data import sets
from edgewright.data.boxes import Box
from edgewright.data.classes import match_labels
from edgewright.data.items import ImageSet, Item
from edgewright.tasks.classify.spec import Classify
from edgewright.tasks.detect.spec import Detect


def spec(classes: int, *labels: str) -> ModelSpec:
    return ModelSpec(name="model", inputs=(Input(height=8, width=8),), task=Classify(classes=classes, labels=labels))


def detector(classes: int, *labels: str) -> ModelSpec:
    how = Preprocess(interpolation="opencv")
    return ModelSpec(
        name="model",
        inputs=(Input(height=8, width=8, preprocess=how),),
        task=Detect(decoder="boxes", classes=classes, labels=labels),
    )


def folders(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(root / name / "1.png")
    return root


def indices(images: ImageSet, model: ModelSpec) -> dict[str, int | None]:
    """The index of each class folder."""
    found = match_labels(images, model)
    return {Path(item.path).parent.name: item.label for item in found.items}


def codes(images: ImageSet, model: ModelSpec) -> list[tuple[str, str]]:
    return [(one.level, one.code) for one in match_labels(images, model).remarks]


TWELVE = [str(k) for k in range(12)]


def test_numbered_folders_follow_the_models_own_numbers(tmp_path: Path) -> None:
    """A model that ImageFolder trained has the folders' names, in the order of text."""
    by_text = sorted(TWELVE)
    found = indices(sets.read(folders(tmp_path, *TWELVE)), spec(12, *by_text))
    assert found == {name: k for k, name in enumerate(by_text)}


def test_numbered_folders_without_names_are_an_error_that_offers_both_orders(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        indices(sets.read(folders(tmp_path, *TWELVE)), spec(12))
    assert "numbers" in caught.value.what
    assert "ImageFolder" in caught.value.why
    assert "classes.txt" in caught.value.fix


@pytest.mark.parametrize("order", [sorted(TWELVE), TWELVE])
def test_classes_txt_says_the_order(tmp_path: Path, order: list[str]) -> None:
    folders(tmp_path, *TWELVE)
    (tmp_path / "classes.txt").write_text("\n".join(order) + "\n")
    assert indices(sets.read(tmp_path), spec(12)) == {name: k for k, name in enumerate(order)}


def test_classes_txt_orders_names_and_splits_too(tmp_path: Path) -> None:
    folders(tmp_path / "val", "cat", "ant")
    folders(tmp_path / "train", "cat", "ant", "bee")
    (tmp_path / "classes.txt").write_text("cat\nbee\nant\n")
    assert indices(sets.read(tmp_path, "val"), spec(3)) == {"cat": 0, "ant": 2}
    (tmp_path / "classes.txt").write_text("cat\nant\n")
    with pytest.raises(InvalidInput, match="does not list the class folder 'bee'"):
        sets.read(tmp_path, "val")


@pytest.mark.parametrize(
    ("names", "classes", "expected"),
    [
        (["0", "1", "2"], 3, [0, 1, 2]),
        (["1", "2", "3"], 3, [0, 1, 2]),  # no index of three classes, and of both orders the same
        (["00", "01", "02"], 3, [0, 1, 2]),
        ([f"{k:02}" for k in range(12)], 12, list(range(12))),
        (["0", "1"], 12, [0, 1]),
        (["000", "005", "011"], 12, [0, 5, 11]),  # a part of the classes
    ],
)
def test_numbered_folders_of_which_all_orders_are_the_same(
    tmp_path: Path, names: list[str], classes: int, expected: list[int]
) -> None:
    assert indices(sets.read(folders(tmp_path, *names)), spec(classes)) == dict(zip(names, expected))


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        ([str(k) for k in range(1, 13)], 12), ([*TWELVE[:-1], "99"], 12), (["10", "9", "8"], 3),
        ([*TWELVE[:5], *TWELVE[6:]], 12),  # one is missing
        (["0", "5", "11"], 12),
    ],
)  # fmt: skip
def test_numbers_of_which_the_orders_differ_are_an_error(tmp_path: Path, names: list[str], classes: int) -> None:
    with pytest.raises(InvalidInput, match="numbers"):
        indices(sets.read(folders(tmp_path, *names)), spec(classes))


def test_numbers_beside_a_model_with_other_names_are_its_indices_and_that_is_noted(tmp_path: Path) -> None:
    images, model = sets.read(folders(tmp_path, "0", "2")), spec(3, "ant", "bee", "cat")
    assert indices(images, model) == {"0": 0, "2": 2}
    assert codes(images, model) == [("note", "class-order")]


def test_names_in_sorted_order_are_noted_where_the_model_has_none(tmp_path: Path) -> None:
    images = sets.read(folders(tmp_path, "bee", "ant"))
    assert indices(images, spec(2)) == {"ant": 0, "bee": 1}
    assert codes(images, spec(2)) == [("note", "class-order")]
    assert codes(images, spec(2, "bee", "ant")) == []


@pytest.mark.parametrize("column", ["label", "label0"])
@pytest.mark.parametrize("form", ["{}", "{}.0", "{}."])
def test_floats_in_a_table_are_indices(tmp_path: Path, column: str, form: str) -> None:
    """Pandas writes integers beside missing values as floats; as text 10.0 would come before 2.0."""
    rows = []
    for k in (0, 2, 10, 11):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{k}.png")
        rows.append(f"{k}.png,{form.format(k)}\n")
    (tmp_path / "labels.csv").write_text(f"file,{column}\n{''.join(rows)}")
    found = match_labels(sets.read(tmp_path), spec(12))
    assert [item.label for item in found.items] == [0, 2, 10, 11]


@pytest.mark.parametrize("text", ["nan", "None", "N/A", "-1", "1e0", "null"])
def test_a_table_of_numbers_in_which_one_is_missing_names_the_line(tmp_path: Path, text: str) -> None:
    folders(tmp_path, "images")
    Image.new("RGB", (8, 8), "red").save(tmp_path / "images" / "2.png")
    (tmp_path / "labels.csv").write_text(f"file,label\n1.png,0.0\n2.png,{text}\n")
    with pytest.raises(InvalidInput, match=f"line 3: the label is '{text}', and others are numbers"):
        sets.read(tmp_path)


def test_one_image_in_two_spellings_is_one(tmp_path: Path) -> None:
    folders(tmp_path, "images")
    (tmp_path / "labels.csv").write_text("file,label\n1.png,cat\n./1.png,dog\n")
    with pytest.raises(InvalidInput, match=r"line 3: '\./1\.png' is already in line 2"):
        sets.read(tmp_path)


@pytest.mark.parametrize(("text", "line"), [("1.5", 2), ("3.25", 2)])
def test_a_table_with_halves_names_the_line(tmp_path: Path, text: str, line: int) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text(f"file,label\na.png,{text}\n")
    with pytest.raises(InvalidInput, match=rf"line {line}: the label is {text}"):
        sets.read(tmp_path)


def test_numbers_in_a_table_follow_the_models_own_numbers_but_label0_does_not(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    for column, expected in (("label", 2), ("label0", 10)):
        (tmp_path / "labels.csv").write_text(f"file,{column}\na.png,10\n")
        (item,) = match_labels(sets.read(tmp_path), spec(12, *sorted(TWELVE))).items
        assert item.label == expected


def test_a_table_written_on_windows_names_its_files(tmp_path: Path) -> None:
    folders(tmp_path, "images/sub")
    (tmp_path / "labels.csv").write_text("file,label\nimages\\sub\\1.png,cat\n")
    assert [Path(item.path).name for item in sets.read(tmp_path).items] == ["1.png"]


def listed(*names: str, used: int | None = None) -> ImageSet:
    """A detection set whose file lists `names`, with a box of each class, or of `used` only."""
    boxes = tuple(Box(k, 1, 1, 5, 5, 16) for k in range(len(names)) if used in (None, k))
    items = (Item("x.jpg", None, boxes, 1, (8, 8)),)
    return ImageSet(name="set", split="val", items=items, classes=names, order="file")


def places(images: ImageSet, model: ModelSpec) -> list[int]:
    return [box.label for item in match_labels(images, model).items for box in item.boxes or ()]


@pytest.mark.parametrize(
    "names", [["0", "1", "10", "11", "2"], ["person", "car", "ant", "zebra", "bee"], ["9", "8", "7", "6", "5"]]
)
def test_a_file_that_lists_classes_gives_their_order_whatever_they_are_called(names: list[str]) -> None:
    assert places(listed(*names), detector(5)) == [0, 1, 2, 3, 4]


def test_the_models_names_decide_where_they_are_the_files() -> None:
    assert places(listed("0", "1", "10", "2"), detector(4, "0", "1", "2", "10")) == [0, 1, 3, 2]


def test_numbers_in_order_stand_for_the_models_classes() -> None:
    assert places(listed("0", "1", "2"), detector(4, "ant", "bee", "cat", "dog")) == [0, 1, 2]


def test_numbers_in_another_order_than_the_models_classes_are_an_error() -> None:
    with pytest.raises(InvalidInput, match=r"its classes are numbers \(0, 1, 10, 2 ...\)"):
        places(listed("0", "1", "10", "2"), detector(11, *"abcdefghijk"))


def test_a_file_with_another_number_of_classes_than_a_model_without_names_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="has 2 classes, the model has 3, without names"):
        places(listed("ant", "bee"), detector(3))


def test_boxes_are_turned_back_for_a_model_that_turns_nothing() -> None:
    item = Item("x.jpg", None, (Box(0, 2, 3, 10, 12, 72),), 6, (30, 40))
    images = ImageSet(name="set", split="", items=(item,), classes=("ant",), order="file")
    assert match_labels(images, detector(1)).items[0].boxes == item.boxes
    plain = detector(1).with_input(preprocess=Preprocess(exif="ignore"))
    (found,) = match_labels(images, plain).items[0].boxes or ()
    assert (found.x1, found.y1, found.x2, found.y2) == (3, 20, 12, 28)


def test_rows_of_yolo_without_names_are_indices_of_the_model(tmp_path: Path) -> None:
    """Not names: the class 2 of a row is the model's third, also where that is called "10"."""
    for folder, text in (("images", None), ("labels", "2 0.5 0.5 0.2 0.2\n11 0.5 0.5 0.4 0.4\n")):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "a.txt"
        path.write_text(text) if text else Image.new("RGB", (20, 20)).save(path.with_suffix(".png"))
    images = sets.read(tmp_path)
    for model in (detector(12), detector(12, *sorted(TWELVE)), detector(12, *"abcdefghijkl")):
        assert places(images, model) == [2, 11]
    with pytest.raises(InvalidInput, match="has label 11, the last class is 10"):
        places(images, detector(11))
    assert "class-names-unknown" in {one.code for one in images.remarks}
