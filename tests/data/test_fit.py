"""Annotations against the images: sizes, EXIF orientation, and boxes that cannot be meant so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgewright.core import image_files
from edgewright.core.errors import InvalidInput
from edgewright.data.boxes import Annotated, Annotations, Box, turned, undone
from edgewright.data.fit import as_stored, fit
from edgewright.data.items import Item

STORED = (40, 30)
"""Width and height of the pixels in the file."""


def photo(folder: Path, orientation: int = 1, name: str = "photo.jpg", size: tuple[int, int] = STORED) -> str:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size).save(folder / name, exif=exif)
    return str(folder / name)


def annotations(*images: Annotated) -> Annotations:
    return Annotations(images=images, classes=("thing",))


def box(x1: float, y1: float, x2: float, y2: float, crowd: bool = False) -> Box:
    return Box(0, x1, y1, x2, y2, (x2 - x1) * (y2 - y1), crowd)


def corners(item: Item) -> list[tuple[float, float, float, float]]:
    return [(one.x1, one.y1, one.x2, one.y2) for one in item.boxes or ()]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_turns_with_its_pixels(orientation: int) -> None:
    pixels = np.zeros((30, 40), np.uint8)
    pixels[3:7, 5:14] = 255
    image, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = orientation
    image.info["exif"] = exif.tobytes()
    shown = np.asarray(image_files.upright(image))
    rows, columns = np.nonzero(shown)
    there = turned(box(5, 3, 14, 7), orientation, STORED)
    assert (there.x1, there.y1, there.x2, there.y2) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    back = turned(there, undone(orientation), (shown.shape[1], shown.shape[0]))
    assert (back.x1, back.y1, back.x2, back.y2) == (5, 3, 14, 7)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("frame", ["upright", "stored", "relative"])
def test_boxes_end_in_the_upright_image_whichever_they_were_made_on(
    tmp_path: Path, orientation: int, frame: str
) -> None:
    path = photo(tmp_path, orientation)
    shown = (30, 40) if orientation >= 5 else (40, 30)
    truth = box(2, 3, 10, 12)
    size: tuple[int, int] | None = shown
    given = truth
    if frame == "stored":
        if orientation < 5:  # of equal sizes the upright image is meant: labelling tools show it
            return
        given, size = turned(truth, undone(orientation), shown), STORED
    if frame == "relative":
        w, h = shown
        given, size = Box(0, 2 / w, 3 / h, 10 / w, 12 / h, 8 / w * 9 / h), None
    (item,), remarks = fit(annotations(Annotated(path=path, boxes=(given,), size=size, relative=frame == "relative")))
    assert corners(item) == [pytest.approx((2, 3, 10, 12))]
    assert item.boxes and item.boxes[0].area == pytest.approx(72)
    assert (item.orientation, item.size, remarks) == (orientation, shown, [])
    seen = as_stored(item).boxes
    assert seen == (turned(item.boxes[0], undone(orientation), shown),), "what a model sees that turns nothing"


def test_another_size_than_the_annotations_say_is_an_error_with_both(tmp_path: Path) -> None:
    images = [
        Annotated(
            path=photo(tmp_path, name=f"{k}.jpg"), boxes=(box(1, 1, 9, 9),), size=size, where=f"a.json, images[{k}]"
        )
        for k, size in enumerate([(40, 30), (80, 60), (30, 40), None])
    ]
    with pytest.raises(InvalidInput) as caught:
        fit(annotations(*images))
    assert "a.json, images[1]: the annotations are for an image of 80x60 pixels" in caught.value.what
    assert "1.jpg has 40x30" in caught.value.what
    assert "2 of 4 images: 1.jpg, 2.jpg." in caught.value.why


@pytest.mark.parametrize("relative", [False, True])
def test_corners_in_the_place_of_sizes_are_an_error(tmp_path: Path, relative: bool) -> None:
    path, boxes = photo(tmp_path, size=(100, 100)), []
    for x1, y1, x2, y2 in [(10, 20, 80, 90), (40, 50, 60, 70), (50, 40, 90, 95)]:
        if relative:  # x, y, w, h of a row: a centre and two sides
            boxes.append(Box(0, (x1 - x2 / 2) / 100, (y1 - y2 / 2) / 100, (x1 + x2 / 2) / 100, (y1 + y2 / 2) / 100, 1))
        else:
            boxes.append(box(x1, y1, x1 + x2, y1 + y2))
    given = Annotated(path=path, boxes=tuple(boxes), relative=relative, where="labels/photo.txt")
    with pytest.raises(InvalidInput, match=r"labels/photo\.txt: [23] of 3 boxes reach beyond"):
        fit(annotations(given))


def test_boxes_that_are_sizes_indeed_are_no_error(tmp_path: Path) -> None:
    path = photo(tmp_path, size=(100, 100))
    boxes = (box(60, 60, 130, 130), box(10, 10, 20, 20), box(50, 5, 60, 10))
    (_,), remarks = fit(annotations(Annotated(path=path, boxes=boxes)))
    (found,) = remarks
    assert (found.level, found.code, found.count, found.names) == ("warning", "boxes-beyond", 1, ("photo.jpg",))


def test_boxes_outside_and_beyond_are_counted_and_rounding_is_not(tmp_path: Path) -> None:
    path = photo(tmp_path, size=(1000, 500))
    boxes = (
        box(-1.5, 0, 1001.9, 500), box(-9, -4, 1009, 504), box(-11, 0, 20, 20), box(1001, 10, 1100, 20),
        box(-50, -50, 0, 0), box(5, 5, 6, 6),
    )  # fmt: skip
    (item,), remarks = fit(annotations(Annotated(path=path, boxes=boxes, size=(1000, 500))))
    assert {one.code: one.count for one in remarks} == {"boxes-beyond": 1, "boxes-outside": 2}
    assert item.boxes == boxes, "kept as they are, as pycocotools does"


def test_a_file_that_is_no_image_keeps_its_place_without_boxes(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    given = Annotated(path=str(tmp_path / "broken.jpg"), boxes=(box(1, 1, 5, 5),), size=(9, 9))
    whole = Annotated(path=photo(tmp_path), boxes=(box(1, 1, 5, 5),), size=STORED)
    items, _ = fit(annotations(given, whole))
    assert [len(item.boxes or ()) for item in items] == [0, 1]
