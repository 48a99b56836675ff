"""Each object becomes a file of its own, pixels and labels moved alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgewright.core.errors import InvalidInput
from edgewright.data import crops
from edgewright.data.boxes import Box
from edgewright.data.crops import Crops
from edgewright.data.items import ImageSet, Item
from edgewright.points.crops import cut

SIZE = (40, 30)


def images(folder: Path, *boxes: Box, orientation: int = 1) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(pixels)
    if orientation == 6:
        stored = stored.transpose(Image.Transpose.ROTATE_90)
    stored.save(path := folder / "a.png", exif=exif)
    return ImageSet(name="set", split="val", items=(Item(str(path), None, boxes, orientation, SIZE),), classes=())


@pytest.mark.parametrize("orientation", [1, 6])
def test_pixels_and_labels_move_alike(tmp_path: Path, orientation: int) -> None:
    points = ((12.0, 8.0, 2), (0.0, 0.0, 0))
    box = Box(0, 10, 6, 20, 16, 100, keypoints=points, polygons=((10, 6, 20, 6, 20, 16),), corners=(10, 6, 20, 6) * 2)
    given_set = images(tmp_path, box, orientation=orientation)
    (folder := tmp_path / "out").mkdir()
    found = crops.write(given_set, folder, Crops(scale=2.0))
    (item,) = found.items
    assert item.size == (20, 20) and item.orientation == 1
    (cut,) = item.boxes or ()
    assert (cut.x1, cut.y1, cut.x2, cut.y2) == (5, 5, 15, 15) and cut.keypoints == ((7, 7, 2), (0, 0, 0))
    assert cut.polygons == ((5, 5, 15, 5, 15, 15),) and cut.corners == (5, 5, 15, 5) * 2
    whole = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
    assert (np.asarray(Image.open(item.path)) == whole[1:21, 5:25]).all()
    assert crops.read(folder) == found


def test_a_crop_beyond_the_image_is_black_there(tmp_path: Path) -> None:
    found = crops.write(images(tmp_path, Box(0, 0, 0, 10, 20, 200)), tmp_path, Crops(scale=1.0))
    (item,) = found.items
    pixels = np.asarray(Image.open(item.path))
    assert item.size == (20, 20) and not pixels[:, :5].any() and pixels[:, 5:].any()
    assert item.boxes and item.boxes[0].x1 == 5


def test_objects_that_do_not_count_are_left_out(tmp_path: Path) -> None:
    hidden = ((0.0, 0.0, 0),)
    kept = Box(0, 1, 1, 9, 9, 64)
    others = Box(0, 1, 1, 9, 9, 64, True), Box(0, 1, 1, 9, 9, 64, keypoints=hidden), Box(0, 50, 1, 60, 9, 80)
    found = crops.write(images(tmp_path, kept, *others), tmp_path, Crops())
    assert len(found.items) == 1 and [(one.code, one.count) for one in found.remarks] == [("objects-outside", 1)]
    with pytest.raises(InvalidInput, match="has no object to cut out"):
        crops.write(images(tmp_path, others[0]), tmp_path, Crops())


def test_crops_are_kept_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "cache"))
    given_set = images(tmp_path, Box(0, 10, 6, 20, 16, 100), Box(0, 1, 1, 9, 9, 64))
    found = crops.stored(given_set, Crops())
    assert len(found.items) == 2 and found.name == "set" and Path(found.items[0].path).is_file()
    assert crops.stored(given_set, Crops()) == found
    assert crops.stored(given_set, Crops(scale=2)).paths != found.paths
    bare = given_set.only(Item(item.path, None) for item in given_set.items)
    assert crops.stored(bare, Crops()) is bare


INSIDE = st.floats(0, 20)


@given(INSIDE, INSIDE, st.floats(1, 10), st.floats(1, 10), st.floats(1, 2), st.sampled_from([None, 1.0, 0.75]))
def test_a_device_cuts_the_same_region(
    x: float, y: float, w: float, h: float, scale: float, aspect: float | None
) -> None:
    box = (x, y, x + w, y + h)
    found = cut(Image.new("RGB", SIZE), box, scale, aspect)
    place = (found.left, found.top, found.left + found.image.width, found.top + found.image.height)
    assert crops.region(Box(0, *box, w * h), SIZE, Crops(scale=scale, aspect=aspect)) == place


SIDE = st.floats(-10, 50)


@given(SIDE, SIDE, st.floats(0.1, 40), st.floats(0.1, 40), st.floats(1, 2), st.sampled_from([None, 1.0, 0.75, 2.0]))
def test_a_region_holds_its_object(x: float, y: float, w: float, h: float, scale: float, aspect: float | None) -> None:
    place = crops.region(Box(0, x, y, x + w, y + h, w * h), SIZE, Crops(scale=scale, aspect=aspect))
    inside = x < SIZE[0] and y < SIZE[1] and x + w > 0 and y + h > 0
    assert (place is not None) == inside
    if place:
        left, top, right, bottom = place
        assert left <= max(x, 0) + 1 and top <= max(y, 0) + 1
        assert right >= min(x + w, SIZE[0]) - 1 and bottom >= min(y + h, SIZE[1]) - 1
        if aspect:
            assert abs((right - left) - (bottom - top) * aspect) <= 2 * max(aspect, 1) + 1
