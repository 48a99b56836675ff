"""Masks and keypoints of COCO's JSON are read for the tasks that want them, or refused with file and place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgewright.core.errors import InvalidInput
from edgewright.data import runs, sets
from edgewright.data.boxes import Skeleton
from edgewright.data.runs import Rle
from edgewright.data.wants import PLAIN, Wants

MASKS, POINTS = Wants(masks=True), Wants(keypoints=True)
NAMES = ["nose", "left_eye", "right_eye"]
WIDTH, HEIGHT = 8, 6
TRIANGLE = [1, 1, 5, 1, 5, 4]


def note(**changes: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 1, 4, 3], "area": 6, "iscrowd": 0} | changes


def put(folder: Path, *notes: dict[str, Any], file: str = "instances_val2017.json", **category: Any) -> Path:
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    (folder / "val2017").mkdir(exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "val2017/a.jpg")
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT}],
        "categories": [{"id": 3, "name": "person"} | category],
        "annotations": [one | {"id": k} for k, one in enumerate(notes)],
    }
    (folder / "annotations" / file).write_text(json.dumps(content))
    return folder


def posed(folder: Path, *notes: dict[str, Any], **category: Any) -> Path:
    return put(
        folder, *notes, file="person_keypoints_val2017.json", **({"keypoints": NAMES, "skeleton": [[1, 2]]} | category)
    )


def codes(found: sets.ImageSet) -> list[str]:
    return [one.code for one in found.remarks]


def test_polygons_and_both_spellings_of_run_lengths(tmp_path: Path) -> None:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[2:4, 3:6] = True
    rle = runs.of_bits(mask)
    size = [HEIGHT, WIDTH]
    put(
        tmp_path, note(segmentation=[TRIANGLE, [0, 0, 2, 0, 2, 2, 0, 2]]),
        note(segmentation={"size": size, "counts": list(rle.counts)}, iscrowd=1),
        note(segmentation={"size": size, "counts": runs.compressed(rle.counts)}, bbox=None),
    )  # fmt: skip
    (item,) = sets.read(tmp_path, None, MASKS).items
    first, crowd, compressed = item.boxes or ()
    assert first.polygons == (tuple(map(float, TRIANGLE)), (0, 0, 2, 0, 2, 2, 0, 2)) and first.rle is None
    assert crowd.rle == rle == Rle(HEIGHT, WIDTH, rle.counts) and crowd.crowd and crowd.polygons is None
    assert (compressed.x1, compressed.y1, compressed.x2, compressed.y2) == (3, 2, 6, 4) and compressed.rle == rle
    put(tmp_path, note(segmentation=[TRIANGLE]))
    (plain,) = sets.read(tmp_path, None, PLAIN).items[0].boxes or ()
    assert plain.polygons is plain.rle is plain.keypoints is None


def test_masks_turn_with_their_photo(tmp_path: Path) -> None:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[0, :3] = True
    counts = list(runs.of_bits(mask).counts)
    put(tmp_path, note(segmentation=[TRIANGLE]), note(segmentation={"size": [HEIGHT, WIDTH], "counts": counts}))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "val2017/a.jpg", exif=exif)
    (item,) = sets.read(tmp_path, None, MASKS).items
    polygon, run = item.boxes or ()
    assert polygon.polygons == ((5.0, 1.0, 5.0, 5.0, 2.0, 5.0),), "x = height - y, y = x"
    assert run.rle and (runs.bits(run.rle) == np.rot90(mask, -1)).all()


def test_objects_without_a_mask_and_short_polygons_are_noticed(tmp_path: Path) -> None:
    put(tmp_path, note(segmentation=[]), note(segmentation=[[1, 1, 2, 2], TRIANGLE]))
    found = sets.read(tmp_path, None, MASKS)
    bare, kept = found.items[0].boxes or ()
    assert bare.polygons == ((1, 1, 5, 1, 5, 4, 1, 4),) and kept.polygons == (tuple(map(float, TRIANGLE)),)
    assert {"objects-without-mask", "polygons-too-short"} <= set(codes(found))


def test_polygons_outside_are_noticed(tmp_path: Path) -> None:
    put(tmp_path, note(segmentation=[[1, 1, 50, 1, 5, 4]]))
    assert "polygons-beyond" in codes(sets.read(tmp_path, None, MASKS))


@pytest.mark.parametrize(
    ("segmentation", "says"),
    [
        ({"size": [6, 9], "counts": [54]}, "its mask has 9x6 pixels"),
        ({"size": [6, 8], "counts": [40, 9]}, "the run lengths of its mask add up to 49 pixels"),
        ({"size": [6, 8], "counts": [40, -9, 17]}, "counts of its mask are no run lengths"),
        ({"size": [6, 8], "counts": "ab~~"}, "compressed mask is malformed"),
        ({"size": [6, 8], "counts": "o"}, "compressed mask is malformed: the last number is cut off"),
        ({"size": [6, 8], "counts": "1"}, "add up to 1 pixels"),
        ({"size": [6], "counts": "1"}, r"the size of its mask is \[6\]"),
        ({"counts": "1"}, "the size of its mask is None"),
        ([[1, 2, 3]], "segmentation is not a list of polygons"),
        ([[1, 2, "a", 3]], "segmentation is not a list of polygons"),
    ],
)  # fmt: skip
def test_a_malformed_mask_is_an_error_with_its_place(tmp_path: Path, segmentation: Any, says: str) -> None:
    put(tmp_path, note(), note(segmentation=segmentation))
    with pytest.raises(InvalidInput, match=rf"instances_val2017.json, annotations\[1\] \(id 1\): {says}|{says}"):
        sets.read(tmp_path, None, MASKS)


def test_keypoints_and_their_skeleton(tmp_path: Path) -> None:
    points = [1, 2, 2, 3, 2, 1, 0, 0, 0]
    posed(tmp_path, note(keypoints=points), note(iscrowd=1))
    found = sets.read(tmp_path, None, POINTS)
    first, crowd = found.items[0].boxes or ()
    assert first.keypoints == ((1, 2, 2), (3, 2, 1), (0, 0, 0)) and crowd.keypoints == ((0, 0, 0),) * 3
    assert found.skeleton == Skeleton(points=3, names=tuple(NAMES), edges=((0, 1),), flip=(0, 2, 1))
    blind = sets.read(tmp_path)
    assert blind.unread == "person_keypoints_val2017.json" and blind.paths == found.paths
    assert sets.splits(tmp_path) == ["val"] == sets.splits(tmp_path, POINTS)
    with pytest.raises(InvalidInput, match="it holds keypoints"):
        sets.read(tmp_path, None, PLAIN)


def test_the_file_of_keypoints_counts_for_poses_and_the_others_for_boxes(tmp_path: Path) -> None:
    put(tmp_path, note())
    posed(tmp_path, note(keypoints=[1, 2, 2] * 3))
    assert sets.read(tmp_path, None, POINTS).skeleton
    assert sets.read(tmp_path, None, PLAIN).skeleton is None
    assert not sets.read(tmp_path).unread


def test_coco_persons_have_their_sigmas(tmp_path: Path) -> None:
    sides = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    names = ["nose", *(f"{side}_{part}" for part in sides for side in ("left", "right"))]
    posed(tmp_path, note(keypoints=[1, 2, 2] * 17), keypoints=names)
    skeleton = sets.read(tmp_path, None, POINTS).skeleton
    assert skeleton and skeleton.sigmas[:3] == (0.026, 0.025, 0.025) and skeleton.sigmas[-1] == 0.089
    posed(tmp_path, note(keypoints=[1, 2, 2] * 3), sigmas=[0.1, 0.2, 0.3])
    skeleton = sets.read(tmp_path, None, POINTS).skeleton
    assert skeleton and skeleton.sigmas == (0.1, 0.2, 0.3)


@pytest.mark.parametrize(
    ("changes", "category", "says"),
    [
        ({"keypoints": [1, 2, 2]}, {}, "keypoints has 3 numbers.\nExpected: 9 numbers"),
        ({"keypoints": [1, 2, 3] * 3}, {}, "the visibility of keypoint 0 is 3"),
        ({"keypoints": [1, 2, 0.5] * 3}, {}, "the visibility of keypoint 0 is 0.5"),
        ({"keypoints": ["a", 2, 1] * 3}, {}, "keypoints has a value that is no number"),
        ({}, {"skeleton": [[1, 4]]}, "skeleton is not a list of pairs"),
        ({}, {"skeleton": [[0, 1]]}, "skeleton is not a list of pairs"),
        ({}, {"sigmas": [0.1]}, "sigmas has 1 values"),
        ({}, {"keypoints": "nose"}, "keypoints is not a list of names"),
    ],
)
def test_malformed_keypoints_are_errors_with_their_place(
    tmp_path: Path, changes: Any, category: Any, says: str
) -> None:
    posed(tmp_path, note(**changes), **category)
    with pytest.raises(InvalidInput, match=r"person_keypoints_val2017\.json, (annotations|categories)") as error:
        sets.read(tmp_path, None, POINTS)
    assert says in f"{error.value.what}\n{error.value.why}"


def test_keypoints_outside_are_noticed(tmp_path: Path) -> None:
    posed(tmp_path, note(keypoints=[50, 2, 2, 1, 1, 2, 90, 90, 0]))
    assert codes(sets.read(tmp_path, None, POINTS)) == ["keypoints-outside"]
