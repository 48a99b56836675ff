"""Folders as people have them: any ending, nested and linked folders, splits by any name; what is left is counted."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgewright.core.errors import InvalidInput
from edgewright.data import sets, splits
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
