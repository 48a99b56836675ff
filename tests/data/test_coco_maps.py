"""COCO's panoptic and stuff annotations are maps of classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgewright.core.errors import InvalidInput
from edgewright.data import pairs, runs, sets
from edgewright.data.pairs import IGNORE
from edgewright.data.wants import PLAIN, Wants

CLASSES = Wants(pair="classes")
WIDTH, HEIGHT = 4, 2
SEGMENTS = np.array([[0, 70000, 70000, 300], [300, 300, 5, 5]])
WANTED = [[IGNORE, 1, 1, 0], [0, 0, 1, 1]]


def put(folder: Path, kind: str, *notes: dict[str, Any]) -> Path:
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    (folder / "val2017").mkdir(exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "val2017/a.jpg")
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT}],
        "categories": [{"id": 92, "name": "wall"}, {"id": 3, "name": "cat"}],
        "annotations": list(notes),
    }
    (folder / f"annotations/{kind}_val2017.json").write_text(json.dumps(content))
    return folder


def panoptic(folder: Path, **changes: Any) -> Path:
    segments = [{"id": id, "category_id": category} for id, category in ((70000, 92), (300, 3), (5, 92))]
    note = {"image_id": 1, "file_name": "a.png", "segments_info": segments}
    put(folder, "panoptic", note | changes)
    (folder / "annotations/panoptic_val2017").mkdir(exist_ok=True)
    colors = np.stack([SEGMENTS % 256, SEGMENTS // 256 % 256, SEGMENTS // 65536], -1).astype(np.uint8)
    Image.fromarray(colors).save(folder / "annotations/panoptic_val2017/a.png")
    return folder


def test_segments_have_the_class_of_their_category(tmp_path: Path) -> None:
    panoptic(tmp_path)
    found = sets.read(tmp_path, None, CLASSES)
    assert found.classes == ("cat", "wall") and found.split == "val"
    assert pairs.class_map(found.items[0]).tolist() == WANTED
    blind = sets.read(tmp_path)
    assert blind.paths == found.paths and blind.unread == "panoptic_val2017.json"
    assert sets.splits(tmp_path) == sets.splits(tmp_path, CLASSES) == ["val"]
    with pytest.raises(InvalidInput, match="it holds panoptic segments"):
        sets.read(tmp_path, None, PLAIN)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"file_name": "b.png"}, r"annotations\[0\]: the file 'b.png' is missing"),
        ({"image_id": 7}, r"annotations\[0\]: image_id 7 is the id of no image"),
        ({"segments_info": [{"id": 5, "category_id": 4}]}, r"annotations\[0\]: category_id 4 is the id of no category"),
    ],
)
def test_malformed_segments_are_errors_with_their_place(tmp_path: Path, changes: Any, says: str) -> None:
    panoptic(tmp_path, **changes)
    with pytest.raises(InvalidInput, match=says):
        sets.read(tmp_path, None, CLASSES)


def test_a_segment_that_the_json_lacks_is_an_unknown_id(tmp_path: Path) -> None:
    panoptic(tmp_path, segments_info=[{"id": 300, "category_id": 3}])
    (item,) = sets.read(tmp_path, None, CLASSES).items
    with pytest.raises(InvalidInput, match=r"a\.png, pixel \(1, 0\): the class id"):
        pairs.class_map(item)


def test_stuff_has_a_mask_for_each_class_or_a_map(tmp_path: Path) -> None:
    wall = np.array([[False, True, True, False], [False] * 4])
    segmentation = {"size": [HEIGHT, WIDTH], "counts": runs.compressed(runs.of_bits(wall).counts)}
    put(tmp_path, "stuff", {"image_id": 1, "category_id": 92, "segmentation": segmentation})
    found = sets.read(tmp_path, None, CLASSES)
    assert pairs.class_map(found.items[0]).tolist() == [[IGNORE, 1, 1, IGNORE], [IGNORE] * 4]
    (tmp_path / "annotations/stuff_val2017_pixelmaps").mkdir()
    ids = np.array([[0, 92, 92, 3], [3, 3, 92, 92]], np.uint8)
    Image.fromarray(ids).save(tmp_path / "annotations/stuff_val2017_pixelmaps/a.png")
    found = sets.read(tmp_path, None, CLASSES)
    assert pairs.class_map(found.items[0]).tolist() == WANTED
