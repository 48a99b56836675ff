"""Folders as people have them: any ending, nested and linked folders, splits by any name; what is left is counted."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgewright.core.errors import InvalidInput
from edgewright.data import photos, sets, splits
from edgewright.data.sets import ImageSet


def content(kind: str = "JPEG", seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def put(folder: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content("AVIF" if name.endswith(".avif") else "JPEG", seed))
    return folder


def names(images: ImageSet, folder: Path) -> list[str]:
    return [str(Path(item.path).relative_to(folder)) for item in images.items]


def noticed(images: ImageSet) -> dict[str, int]:
    return {one.code: one.count for one in images.remarks}


def test_every_ending_of_an_image_is_read_and_so_is_none(tmp_path: Path) -> None:
    every = ["c/a.jpg", "c/b.jfif", "c/c.JPE", "c/d.avif", "c/e", "c/f.JPEG", "c/g.jpe", "c/h.Jfif"]
    assert names(sets.read(put(tmp_path, *every)), tmp_path) == sorted(every)
    assert sets.read(tmp_path).remarks == ()


def test_what_is_not_read_is_counted_and_named(tmp_path: Path) -> None:
    put(tmp_path, "c/a.jpg")
    for name in ("c/x.svg", "c/y.dng", "c/z.psd", "c/w.dng", "c/notes.txt", "c/.DS_Store", "c/Thumbs.db", "c/LICENSE"):
        (tmp_path / name).write_bytes(b"something else")
    (found,) = sets.read(tmp_path).remarks
    assert (found.level, found.code, found.count) == ("warning", "files-left-out", 5)
    assert found.names == ("LICENSE", "w.dng", "x.svg")
    assert "2 .dng" in found.text


def test_a_class_has_what_lies_below_it_at_any_depth(tmp_path: Path) -> None:
    put(tmp_path, "ant/1.jpg", "bee/images/2.jpg", "bee/more/deep/3.jpg")
    images = sets.read(tmp_path)
    assert [(item.label, Path(item.path).name) for item in images.items] == [(0, "1.jpg"), (1, "2.jpg"), (1, "3.jpg")]
    assert noticed(images) == {"nested-folders": 2}


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/bee/1.jpg", "set/ant/2.jpg", "set/ant/deep/3.jpg")
    (tmp_path / "set" / "bee").symlink_to(tmp_path / "elsewhere" / "bee")
    (tmp_path / "set" / "ant" / "again").symlink_to(tmp_path / "set" / "ant")  # a circle
    (tmp_path / "set" / "ant" / "gone").symlink_to(tmp_path / "nowhere")
    images = sets.read(tmp_path / "set")
    assert names(images, tmp_path / "set") == ["ant/2.jpg", "ant/deep/3.jpg", "bee/1.jpg"]


def test_a_folder_called_images_is_no_class(tmp_path: Path) -> None:
    images = sets.read(put(tmp_path, "images/1.jpg", "images/2.jpg"))
    assert (images.classes, [item.label for item in images.items]) == ((), [None, None])


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("val", "val"), ("Valid", "val"), ("VALIDATION", "val"), ("dev", "val"), ("val2017", "val"),
        ("Val_2012", "val"),
        ("Training", "train"), ("train-2019", "train"), ("TEST", "test"), ("testing", "test"), ("eval", "eval"),
        ("Evaluation", "eval"), ("Calibration", "calib"), ("trains", None), ("valley", None), ("2017", None),
    ],
)  # fmt: skip
def test_the_names_of_splits(name: str, role: str | None) -> None:
    assert splits.role(name) == role


@pytest.mark.parametrize(("have", "asked"), [("Valid", "val"), ("validation", "val"), ("VAL", "val"), ("val", "valid")])
def test_a_split_is_found_by_any_of_its_names(tmp_path: Path, have: str, asked: str) -> None:
    put(tmp_path, f"{have}/c/1.jpg", "Train/c/2.jpg")
    assert sets.splits(tmp_path) == sorted(["Train", have])
    assert names(sets.read(tmp_path, asked), tmp_path) == [f"{have}/c/1.jpg"]


def test_of_two_splits_of_one_meaning_none_is_guessed(tmp_path: Path) -> None:
    put(tmp_path, "val/c/1.jpg", "valid/c/2.jpg")
    with pytest.raises(InvalidInput, match="no split 'validation'"):
        sets.read(tmp_path, "validation")
    assert names(sets.read(tmp_path, "valid"), tmp_path) == ["valid/c/2.jpg"]


def test_a_class_folder_without_images_says_what_it_has(tmp_path: Path) -> None:
    put(tmp_path, "ant/1.jpg")
    (tmp_path / "bee").mkdir()
    (tmp_path / "bee" / "x.psd").write_bytes(b"layers")
    with pytest.raises(InvalidInput, match=r"bee has no images in it\. It has 1 other files \(x\.psd"):
        sets.read(tmp_path)


# --- what real folders hold beside ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["__MACOSX", "@eaDir", "__pycache__", ".ipynb_checkpoints", "lost+found"])
def test_folders_of_systems_are_no_classes(tmp_path: Path, name: str) -> None:
    put(tmp_path, "ant/1.jpg", f"{name}/2.jpg", f"ant/{name}/3.jpg")
    assert names(sets.read(tmp_path), tmp_path) == ["ant/1.jpg"]


def test_links_that_lead_nowhere_are_counted(tmp_path: Path) -> None:
    put(tmp_path, "ant/1.jpg", "bee/2.jpg")
    for name in ("ant/3.jpg", "bee/4.jpg", "bee/5.jpg", "cow"):
        (tmp_path / name).symlink_to("/nowhere")
    os.mkfifo(tmp_path / "ant" / "pipe.jpg")
    found = [one for one in sets.read(tmp_path).remarks if one.code == "dead-links"]
    assert sum(one.count for one in found) == 5
    assert {one.level for one in found} == {"warning"}
    assert "3.jpg" in {name for one in found for name in one.names}


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_table_that_is_no_file_is_an_error_and_does_not_hang(tmp_path: Path, kind: str) -> None:
    put(tmp_path, "1.jpg")
    path = tmp_path / "labels.csv"
    {"link": lambda: path.symlink_to("/nowhere"), "pipe": lambda: os.mkfifo(path), "folder": path.mkdir}[kind]()
    with pytest.raises(InvalidInput, match=r"labels\.csv is"):
        sets.read(tmp_path)


def test_a_link_back_to_the_data_folder_is_not_followed(tmp_path: Path) -> None:
    put(tmp_path, "cat/1.jpg", "dog/2.jpg")
    (tmp_path / "cat" / "up").symlink_to("..")
    images = sets.read(tmp_path)
    assert [(item.label, Path(item.path).name) for item in images.items] == [(0, "1.jpg"), (1, "2.jpg")]


@pytest.mark.parametrize("wrap", ["images", "Images"])
def test_splits_and_classes_below_images(tmp_path: Path, wrap: str) -> None:
    put(tmp_path / wrap, "train/cat/1.jpg", "validation/cat/2.jpg")
    assert sets.splits(tmp_path) == ["train", "validation"]
    images = sets.read(tmp_path, "val")
    assert (images.name, images.classes, len(images.items)) == (tmp_path.name, ("cat",), 1)


def test_a_folder_that_only_holds_a_folder_of_splits(tmp_path: Path) -> None:
    put(tmp_path, "photos/train/cat/1.jpg", "photos/val/cat/2.jpg", "photos/val/dog/3.jpg")
    (tmp_path / "best.safetensors").write_bytes(b"weights")
    assert sets.splits(tmp_path) == ["train", "val"]
    images = sets.read(tmp_path, "val")
    assert (images.classes, len(images.items)) == (("cat", "dog"), 2)


def test_a_file_in_the_place_of_a_data_folder_names_its_folder(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("val: images")
    with pytest.raises(InvalidInput) as caught:
        sets.read(tmp_path / "data.yaml")
    assert caught.value.fix == f"Give the folder that it is in: {tmp_path}"


@pytest.mark.parametrize(
    "pair",
    [
        ("training_set", "test_set"), ("seg_train", "seg_test"), ("train_images", "val_images"), ("trainset", "valset"),
        ("train_data", "dev_data"), ("images_train", "images_validation"),
    ],
)  # fmt: skip
def test_splits_with_words_around_them(tmp_path: Path, pair: tuple[str, str]) -> None:
    put(tmp_path, f"{pair[0]}/cat/1.jpg", f"{pair[0]}/dog/2.jpg", f"{pair[1]}/cat/3.jpg", f"{pair[1]}/dog/4.jpg")
    assert sets.splits(tmp_path) == sorted(pair)
    assert sets.read(tmp_path, pair[1]).classes == ("cat", "dog")


def test_a_split_in_a_folder_of_the_same_name(tmp_path: Path) -> None:
    put(tmp_path, "train/train/cat/1.jpg", "train/train/dog/2.jpg", "val/val/dog/3.jpg")
    assert [(item.label, Path(item.path).name) for item in sets.read(tmp_path, "val").items] == [(1, "3.jpg")]


def test_folders_that_look_like_splits_of_another_name_are_no_classes(tmp_path: Path) -> None:
    put(tmp_path, "north/cat/1.jpg", "north/dog/2.jpg", "south/cat/3.jpg", "south/dog/4.jpg")
    with pytest.raises(InvalidInput, match=r"holds the folders north, south, and each of them holds cat, dog"):
        sets.read(tmp_path)


def test_classes_txt_of_a_split_counts(tmp_path: Path) -> None:
    put(tmp_path, "val/ant/1.jpg", "val/bee/2.jpg", "train/ant/3.jpg", "train/bee/4.jpg")
    (tmp_path / "val" / "classes.txt").write_text("bee\nant\n")
    assert sets.read(tmp_path, "val").classes == ("bee", "ant")


def test_tables_of_split_folders_number_classes_together(tmp_path: Path) -> None:
    put(tmp_path, "train/1.jpg", "train/2.jpg", "train/3.jpg", "val/4.jpg", "val/5.jpg")
    (tmp_path / "train/labels.csv").write_text("file,label\n1.jpg,cat\n2.jpg,dog\n3.jpg,emu\n")
    (tmp_path / "val/labels.csv").write_text("file,label\n4.jpg,cat\n5.jpg,emu\n")
    images = sets.read(tmp_path, "val")
    assert (images.classes, [item.label for item in images.items]) == (("cat", "dog", "emu"), [0, 2])


def test_voc_in_split_folders_numbers_classes_together(tmp_path: Path) -> None:
    for split, objects in (("train", ("cat", "dog")), ("valid", ("dog", "emu"))):
        put(tmp_path, f"{split}/{split}.jpg")
        text = "".join(
            f"<object><name>{name}</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></object>"
            for name in objects
        )
        (tmp_path / split / f"{split}.xml").write_text(f"<annotation>{text}</annotation>")
    images = sets.read(tmp_path, "valid")
    assert (images.classes, images.order) == (("cat", "dog", "emu"), "sorted")
    assert [box.label for box in images.items[0].boxes or ()] == [1, 2]


def test_names_that_are_no_utf8_are_left_out_with_a_reason(tmp_path: Path) -> None:
    put(tmp_path, "c/1.jpg", "c/2.jpg", "c/3.jpg")
    (tmp_path / "c/3.jpg").rename(tmp_path / os.fsdecode(b"c/\xe9.jpg"))
    images = sets.read(tmp_path)
    found, broken = sets.choose(images, 3)
    assert (len(found.items), len(broken)) == (2, 1)
    assert "not UTF-8" in photos.look([broken[0].path])[0].problem
