"""The demo's detection set: deterministic, its boxes around what is painted, its splits of other digits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgewright.core.errors import InvalidInput
from edgewright.data import digits, scenes
from edgewright.data.sets import read, require_disjoint, splits


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scenes") / "set"
    scenes.write(path, {"calib": 20, "test": 60})
    return path


def test_the_set_is_read_with_its_classes_and_boxes(folder: Path) -> None:
    assert splits(folder) == ["calib", "test"]
    sets = {name: read(folder, name) for name in splits(folder)}
    assert {name: len(images.items) for name, images in sets.items()} == {"calib": 20, "test": 60}
    require_disjoint(sets["calib"], sets["test"])
    assert sets["test"].classes == scenes.NAMES
    assert sets["test"].remarks == ()
    boxes = [box for item in sets["test"].items for box in item.boxes or ()]
    assert {box.label for box in boxes} == set(range(10))
    sides = np.array([max(box.x2 - box.x1, box.y2 - box.y1) for box in boxes])
    assert sides.min() < 20
    assert sides.max() > 70


def test_a_scene_depends_on_its_split_and_number_only(folder: Path) -> None:
    first, boxes = scenes.scene("test", 7)
    again, same = scenes.scene("test", 7)
    np.testing.assert_array_equal(np.asarray(first), np.asarray(again))
    assert boxes == same
    assert boxes != scenes.scene("calib", 7)[1]
    listed = json.loads((folder / "test" / "instances.json").read_text())
    stored = [a["bbox"] for a in listed["annotations"] if a["image_id"] == 7]
    assert stored == [[x1, y1, x2 - x1, y2 - y1] for _, (x1, y1, x2, y2) in boxes]


def test_boxes_are_inside_and_digits_do_not_hide_one_another() -> None:
    for number in range(60):
        image, found = scenes.scene("train", number)
        for k, (_, (x1, y1, x2, y2)) in enumerate(found):
            assert 0 <= x1 < x2 <= image.width
            assert 0 <= y1 < y2 <= image.height
            for _, other in found[:k]:
                width, height = min(x2, other[2]) - max(x1, other[0]), min(y2, other[3]) - max(y1, other[1])
                smaller = min((x2 - x1) * (y2 - y1), (other[2] - other[0]) * (other[3] - other[1]))
                assert max(width, 0) * max(height, 0) <= scenes.OVERLAP * smaller


def test_a_split_uses_its_own_digits_only() -> None:
    pixels, _, names = digits.load()
    used, _ = scenes._digits("test")
    of_test = {pixels[k].tobytes() for k, name in enumerate(names) if name == "test"}
    assert {image.tobytes() for image in used} == of_test
    assert not of_test & {image.tobytes() for image in scenes._digits("train")[0]}


def test_written_again_it_is_replaced_as_a_whole(tmp_path: Path) -> None:
    scenes.write(tmp_path / "set", {"test": 2})
    scenes.write(tmp_path / "set", {"calib": 1})
    assert splits(tmp_path / "set") == ["calib"]
    (tmp_path / "set" / "thesis.txt").write_text("mine")
    with pytest.raises(InvalidInput, match=r"thesis\.txt"):
        scenes.write(tmp_path / "set")
    assert (tmp_path / "set" / "thesis.txt").exists()
