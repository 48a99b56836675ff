"""DOTA's rotated boxes are read from every layout, or refused with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from edgewright.core.errors import InvalidInput
from edgewright.data import sets
from edgewright.data.wants import PLAIN, Wants

CORNERS = Wants(corners=True)
ROWS = "imagesource:GoogleEarth\ngsd:0.146\n10 1 18 5 10 9 2 5 plane 0\n1 1 5 1 5 4 1 4 ship 1\n"
LAYOUTS = ["images/{}|labelTxt/{}", "images/val/{}|labelTxt/val/{}", "val/images/{}|val/labelTxt-v1.5/{}",
           "val/images/{}|val/annfiles/{}", "images/{}|labels/{}"]  # fmt: skip


def put(folder: Path, layout: str = LAYOUTS[0], rows: str = ROWS, name: str = "P0001") -> Path:
    image, label = (folder / part.format(name) for part in layout.split("|"))
    for path in (image, label):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 10)).save(image.with_suffix(".png"))
    label.with_suffix(".txt").write_text(rows)
    return folder


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_gives_corners_classes_and_difficult_objects(tmp_path: Path, layout: str) -> None:
    put(tmp_path, layout)
    split = "val" if "val" in layout else None
    if split:
        put(tmp_path, layout.replace("val", "train"), "1 1 5 1 5 4 1 4 bridge 0\n")
    found = sets.read(tmp_path, split, CORNERS)
    plane, ship = found.items[0].boxes or ()
    assert plane.corners == (10, 1, 18, 5, 10, 9, 2, 5) and plane.area == 64
    assert (plane.x1, plane.y1, plane.x2, plane.y2) == (2, 1, 18, 9) and not plane.crowd and ship.crowd
    assert [found.classes[box.label] for box in (plane, ship)] == ["plane", "ship"]
    assert found.classes[:1] == (("bridge",) if split else ("plane",)) and found.order == "sorted"
    assert sets.splits(tmp_path) == (["train", "val"] if split else [])
    boxes = sets.read(tmp_path, split, PLAIN)
    assert [(box.corners, box.area) for box in boxes.items[0].boxes or ()] == [(None, 128), (None, 12)]
    assert [one.code for one in boxes.remarks] == ["polygons-as-boxes"]
    assert sets.listed(tmp_path, split).paths == sets.read(tmp_path, split).paths == found.paths


def test_a_list_of_classes_gives_their_order(tmp_path: Path) -> None:
    put(tmp_path)
    (tmp_path / "classes.txt").write_text("ship\nplane\n")
    found = sets.read(tmp_path, None, CORNERS)
    assert (found.classes, found.order) == (("ship", "plane"), "file")
    (tmp_path / "classes.txt").write_text("ship\n")
    with pytest.raises(InvalidInput, match=r"P0001\.txt, line 3: the class 'plane' is not in classes\.txt"):
        sets.read(tmp_path, None, CORNERS)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("1 1 5 1 5 4 1 ship 0", "line 5: the corners are 1 1 5 1 5 4 1 ship"),
        ("1 1 5 1 ship 0", "line 5: it has 6 columns"),
        ("1 1 5 1 5 4 nan 4 ship 0", "line 5: the corners are"),
        ("1 1 5 1 5 4 1 4 ship maybe", "line 5: difficult is 'maybe'"),
    ],
)
def test_a_malformed_row_is_an_error_with_its_line(tmp_path: Path, row: str, says: str) -> None:
    put(tmp_path, rows=ROWS + row)
    with pytest.raises(InvalidInput, match=says):
        sets.read(tmp_path, None, CORNERS)


def test_fractions_are_refused(tmp_path: Path) -> None:
    put(tmp_path, rows="0 0 1 0 1 1 0 1 ship 0\n" * 2 + "0 0 0.5 0 0.5 1 0 1 ship 0\n")
    with pytest.raises(InvalidInput, match="fractions, not pixels"):
        sets.read(tmp_path, None, CORNERS)


def test_boxes_without_area_and_images_without_labels_are_noticed(tmp_path: Path) -> None:
    put(tmp_path, rows=f"{ROWS}1 1 5 1 5 1 1 1 ship 0\n")
    Image.new("RGB", (20, 10)).save(tmp_path / "images/P0002.png")
    (tmp_path / "labelTxt/P0003.txt").write_text("")
    found = sets.read(tmp_path, None, CORNERS)
    assert found.items[1].boxes == ()
    assert [one.code for one in found.remarks] == [
        "boxes-without-area", "labels-without-image", "images-without-labels",
    ]  # fmt: skip
