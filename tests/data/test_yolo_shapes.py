"""Polygons, poses and rotated boxes of YOLO's text files are read for the tasks that want them."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from edgewright.core.errors import InvalidInput
from edgewright.data import sets
from edgewright.data.boxes import Skeleton
from edgewright.data.wants import PLAIN, Wants

MASKS, POINTS, CORNERS = Wants(masks=True), Wants(keypoints=True), Wants(corners=True)
BOX = "0.5 0.5 0.5 0.5"


def put(folder: Path, rows: str, more: str = "", orientation: int = 1) -> Path:
    for name in ("images/val", "labels/val"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "data.yaml").write_text(f"val: images/val\nnames: [ship, plane]\n{more}")
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (20, 10)).save(folder / "images/val/a.jpg", exif=exif)
    (folder / "labels/val/a.txt").write_text(rows)
    return folder


def codes(found: sets.ImageSet) -> list[str]:
    return [one.code for one in found.remarks]


def test_polygons_are_in_pixels_and_a_box_is_its_own_mask(tmp_path: Path) -> None:
    put(tmp_path, f"0 0 0 1 0 1 0.5\n1 {BOX}\n")
    found = sets.read(tmp_path, None, MASKS)
    polygon, bare = found.items[0].boxes or ()
    assert polygon.polygons == ((0, 0, 20, 0, 20, 5),) and (polygon.x2, polygon.y2) == (20, 5)
    assert bare.polygons == ((5, 2.5, 15, 2.5, 15, 7.5, 5, 7.5),) and codes(found) == ["objects-without-mask"]
    plain = sets.read(tmp_path, None, PLAIN)
    assert [box.polygons for box in plain.items[0].boxes or ()] == [None, None] and codes(plain) == [
        "polygons-as-boxes"
    ]


def test_numbers_are_of_the_upright_photo(tmp_path: Path) -> None:
    put(tmp_path, "0 0 0 1 0 1 0.5\n", orientation=6)
    (box,) = sets.read(tmp_path, None, MASKS).items[0].boxes or ()
    assert box.polygons == ((0, 0, 10, 0, 10, 10),)


@pytest.mark.parametrize("row", ["0 0.1 0.1 0.2 0.2", "0 0.1 0.1 0.2 0.2 0.3"])
def test_a_row_that_is_no_polygon(tmp_path: Path, row: str) -> None:
    put(tmp_path, row)
    if len(row.split()) == 5:
        assert codes(sets.read(tmp_path, None, MASKS)) == ["objects-without-mask"]
    else:
        with pytest.raises(InvalidInput, match=r"a\.txt, line 1: it has 6 columns"):
            sets.read(tmp_path, None, MASKS)


POSE = (
    "kpt_shape: [3, {}]\nflip_idx: [0, 2, 1]\nkpt_names: {{0: [nose, left, right]}}\n"
    "sigmas: [0.1, 0.2, 0.3]\nskeleton: [[0, 1]]\n"
)


def test_poses_with_and_without_visibility(tmp_path: Path) -> None:
    put(tmp_path, f"0 {BOX} 0.5 0.5 2 0.1 0.2 1 0 0 0\n", POSE.format(3))
    found = sets.read(tmp_path, None, POINTS)
    (box,) = found.items[0].boxes or ()
    assert box.keypoints == ((10, 5, 2), (2, 2, 1), (0, 0, 0)) and not found.remarks
    assert found.skeleton == Skeleton(
        points=3, names=("nose", "left", "right"), edges=((0, 1),), flip=(0, 2, 1), sigmas=(0.1, 0.2, 0.3)
    )
    put(tmp_path, f"0 {BOX} 0.5 0.5 0.1 0.2 0 0\n", POSE.format(2))
    (box,) = sets.read(tmp_path, None, POINTS).items[0].boxes or ()
    assert box.keypoints == ((10, 5, 2), (2, 2, 2), (0, 0, 0))
    plain = sets.read(tmp_path, None, PLAIN)
    assert codes(plain) == ["keypoints-left-out"] and plain.skeleton is None


@pytest.mark.parametrize(
    ("row", "more", "says"),
    [
        (f"0 {BOX} 0.5 0.5 2", POSE.format(3), "a.txt, line 1: it has 8 columns"),
        (f"0 {BOX}", POSE.format(3), "a.txt, line 1: it has 5 columns"),
        (f"0 {BOX} 0.5 0.5 3 0 0 0 0 0 0", POSE.format(3), "a.txt, line 1: the visibility of keypoint 0 is 3"),
        (f"0 {BOX} 50 50 2 0 0 0 0 0 0", POSE.format(3), "a.txt, line 1: keypoint 0 is 50 50"),
        (f"0 {BOX}", "", "data.yaml: it has no kpt_shape"),
        (f"0 {BOX}", "kpt_shape: [3, 4]", "data.yaml, line 3: kpt_shape has 4 values"),
        (f"0 {BOX}", "kpt_shape: [2, 3]\nflip_idx: [0, 0]", "data.yaml, line 4: flip_idx is not an order"),
        (f"0 {BOX}", "kpt_shape: [2, 3]\nsigmas: [0.1]", "data.yaml, line 4: sigmas has 1 values"),
        (f"0 {BOX}", "kpt_shape: [2, 3]\nskeleton: [[0, 2]]", "data.yaml, line 4: skeleton is not a list of pairs"),
        (f"0 {BOX}", "kpt_shape: [2, 3]\nkpt_names: [a]", "data.yaml, line 4: kpt_names is not a list of 2 names"),
    ],
)
def test_malformed_poses_are_errors_with_file_and_line(tmp_path: Path, row: str, more: str, says: str) -> None:
    put(tmp_path, row, more)
    with pytest.raises(InvalidInput) as error:
        sets.read(tmp_path, None, POINTS)
    assert says in error.value.what


def test_rotated_boxes(tmp_path: Path) -> None:
    put(tmp_path, "1 0.5 0.1 0.9 0.5 0.5 0.9 0.1 0.5\n")
    (box,) = sets.read(tmp_path, None, CORNERS).items[0].boxes or ()
    assert box.corners == (10, 1, 18, 5, 10, 9, 2, 5) and box.label == 1
    assert (box.x1, box.y1, box.x2, box.y2) == pytest.approx((2, 1, 18, 9))
    put(tmp_path, f"1 {BOX}\n")
    with pytest.raises(InvalidInput, match=r"a\.txt, line 1: it has 5 columns"):
        sets.read(tmp_path, None, CORNERS)
