"""A few images of very many: chosen by name, only these decoded, each class in proportion."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgewright.data import choosing, photos, sets
from edgewright.data.items import ImageSet
from edgewright.data.remarks import remark


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for name, count in (("rare", 10), ("common", 50), ("usual", 40)):
        (tmp_path / "set" / name).mkdir(parents=True)
        for k in range(count):
            image = Image.fromarray(random.integers(0, 256, (4, 5, 3), dtype=np.uint8))
            image.save(tmp_path / "set" / name / f"{k}.png")
    return tmp_path / "set"


def names(images: ImageSet) -> list[str]:
    return ["/".join(Path(item.path).parts[-2:]) for item in images.items]


def test_only_what_is_chosen_is_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    plain = photos._photo
    monkeypatch.setattr(photos, "_photo", lambda path: opened.append(path) or plain(path))
    images, broken = choosing.choose(sets.read(folder), 20)
    assert (len(images.items), broken) == (20, [])
    assert sorted(opened) == [item.path for item in images.items]
    assert Counter(name.split("/")[0] for name in names(images)) == {"rare": 2, "common": 10, "usual": 8}


def test_the_choice_is_the_same_elsewhere_and_another_by_another_seed(folder: Path, tmp_path: Path) -> None:
    found = choosing.choose(sets.read(folder), 20)[0]
    shutil.copytree(folder, tmp_path / "some" / "where" / "else")
    assert names(choosing.choose(sets.read(tmp_path / "some" / "where" / "else"), 20)[0]) == names(found)
    assert names(choosing.choose(sets.read(folder), 20, seed=1)[0]) != names(found)


def test_copies_and_broken_files_are_replaced_by_the_next(folder: Path) -> None:
    first = choosing.choose(sets.read(folder), 20)[0]
    shutil.copy(first.items[0].path, first.items[1].path)
    Path(first.items[2].path).write_bytes(b"")
    Path(first.items[3].path).write_bytes(Path(first.items[3].path).read_bytes()[:60])
    images, broken = choosing.choose(sets.read(folder), 20)
    assert len(images.items) == len(set(images.digests)) == 20
    assert [item.path for item in broken] == sorted(item.path for item in (first.items[2], first.items[3]))


def test_of_too_few_all_are_taken(folder: Path) -> None:
    assert len(choosing.choose(sets.read(folder), 1000)[0].items) == 100


def test_an_orientation_makes_another_image(folder: Path) -> None:
    """Turned or not, a model may see other pixels: what is stored by digests must not be taken for the other."""
    exif = Image.Exif()
    for orientation in (1, 6):
        exif[0x0112] = orientation
        Image.new("RGB", (8, 8), "red").save(folder / f"{orientation}.png", exif=exif)
    Image.new("RGB", (8, 8), "red").save(folder / "plain.png")
    plain, one, six = photos.look([str(folder / f"{name}.png") for name in ("plain", 1, 6)])
    assert plain.digest == one.digest != six.digest
    assert (one.orientation, six.orientation) == (1, 6)


@pytest.mark.parametrize(("names", "text"), [(["a"], "1 box is flat"), (["a", "b"], "2 boxes are flat")])
def test_a_remark_counts_in_words(names: list[str], text: str) -> None:
    (found,) = remark("note", "flat", names, "{count|box is|boxes are} flat")
    assert (found.text, found.count, found.names) == (text, len(names), tuple(names))
    assert remark("note", "flat", [], "{count|box is|boxes are} flat") == []
