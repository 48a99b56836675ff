"""The demo set: complete, disjoint, the same everywhere."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgewright.core.errors import InvalidInput
from edgewright.data import digits
from edgewright.data.sets import read, require_disjoint, splits


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("digits") / "set"
    digits.write(path)
    return path


def test_three_disjoint_splits_of_ten_classes(folder: Path) -> None:
    assert splits(folder) == ["calib", "test", "train"]
    sets = {name: read(folder, name) for name in splits(folder)}
    assert {name: len(images.items) for name, images in sets.items()} == {"calib": 100, "test": 500, "train": 1197}
    for images in sets.values():
        assert images.classes == tuple("0123456789")
    assert np.bincount([item.label or 0 for item in sets["test"].items]).tolist() == [50] * 10
    assert np.bincount([item.label or 0 for item in sets["calib"].items]).tolist() == [10] * 10
    require_disjoint(sets["calib"], sets["test"])
    require_disjoint(sets["train"], sets["test"])
    require_disjoint(sets["train"], sets["calib"])


def test_pixels_are_the_digits_of_scikit_learn(folder: Path) -> None:
    from sklearn.datasets import load_digits

    source = load_digits()
    for path in sorted(folder.glob("*/*/*.png"))[::100]:
        with Image.open(path) as image:
            assert (image.mode, image.size) == ("L", (8, 8))
            np.testing.assert_array_equal(np.asarray(image), np.round(source.images[int(path.stem)] * 255 / 16))
        assert path.parent.name == str(source.target[int(path.stem)])


def test_the_split_is_the_same_everywhere(folder: Path) -> None:
    names = "\n".join(sorted(str(path.relative_to(folder)) for path in folder.glob("*/*/*.png")))
    assert hashlib.sha256(names.encode()).hexdigest()[:16] == "15dec787b86e8440"
    assert len(set(read(folder, "train").digests)) == 1197


def test_written_again_it_is_replaced_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "set" / "train" / "old").mkdir(parents=True)
    digits.write(tmp_path / "set")
    assert splits(tmp_path / "set") == ["calib", "test", "train"]
    assert [p.name for p in tmp_path.iterdir()] == ["set"]
    assert len(read(tmp_path / "set", "train").classes) == 10
    (tmp_path / "set" / "thesis.txt").write_text("mine")
    with pytest.raises(InvalidInput, match=r"thesis\.txt"):
        digits.write(tmp_path / "set")
    assert (tmp_path / "set" / "thesis.txt").exists()
