"""Landmarks of 300W, WFLW and CelebA are read, or refused with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgewright.core.errors import EdgewrightError, InvalidInput
from edgewright.data import sets
from edgewright.data.boxes import Skeleton
from edgewright.data.points import files
from edgewright.data.wants import Wants

POINTS = Wants(keypoints=True)
PTS = "version: 1\nn_points: 3\n{\n2 3\n4.5 6\n8 4\n}\n"


def photo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 10)).save(path)
    return path


def pts(folder: Path, name: str = "a", text: str = PTS) -> Path:
    photo(folder / f"{name}.png")
    (folder / f"{name}.pts").write_text(text)
    return folder


def test_pts_files_count_pixels_from_one(tmp_path: Path) -> None:
    pts(tmp_path / "01_Indoor")
    pts(tmp_path / "02_Outdoor", "b")
    photo(tmp_path / "02_Outdoor/c.png")
    found = sets.read(tmp_path, None, POINTS)
    (box,) = found.items[0].boxes or ()
    assert box.keypoints == ((1, 2, 2), (3.5, 5, 2), (7, 3, 2)) and (box.x1, box.y1, box.x2, box.y2) == (1, 2, 7, 5)
    assert found.skeleton == Skeleton(points=3) and found.classes == ()
    assert [one.code for one in found.remarks] == ["images-without-points"]
    assert sets.read(tmp_path).paths == found.paths


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (PTS.replace("n_points: 3", "n_points: 4"), r"a\.pts: n_points is 4, and there are 3 points"),
        (PTS.replace("n_points: 3", "n_points: x"), r"a\.pts, line 2: n_points is 'x'"),
        (PTS.replace("8 4", "8"), r"a\.pts, line 6: the point is '8'"),
        (PTS.replace("8 4", "8 nan"), r"a\.pts, line 6: the point is '8 nan'"),
        ("version: 1\n", r"a\.pts: it has no points"),
    ],
)
def test_a_malformed_pts_file_is_an_error_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        sets.read(pts(tmp_path, text=text), None, POINTS)


def test_all_objects_have_the_same_points(tmp_path: Path) -> None:
    pts(tmp_path)
    pts(tmp_path, "b", "n_points: 2\n{\n1 1\n2 2\n}\n")
    with pytest.raises(InvalidInput, match=r"b\.pts: it has 2 points"):
        sets.read(tmp_path, None, POINTS)


def wflw(folder: Path, *lines: str, name: str = "list_3pt_rect_attr_test.txt") -> Path:
    photo(folder / "WFLW_images/37--Soccer/a.jpg")
    (folder / "WFLW_annotations").mkdir(exist_ok=True)
    (folder / "WFLW_annotations" / name).write_text("\n".join(lines))
    return folder


LINE = "1 2 3.5 5 7 3 0 1 9 8 1 0 0 1 0 0 37--Soccer/a.jpg"


def test_a_list_has_points_a_box_and_attributes(tmp_path: Path) -> None:
    wflw(tmp_path, LINE, LINE.replace("1 2", "2 2", 1))
    wflw(tmp_path, LINE, name="list_3pt_rect_attr_train.txt")
    assert sets.splits(tmp_path) == ["test", "train"]
    found = sets.read(tmp_path, "test", POINTS)
    first, second = found.items[0].boxes or ()
    assert first.keypoints == ((1, 2, 2), (3.5, 5, 2), (7, 3, 2)) and (first.x1, first.y2) == (0, 8)
    assert second.keypoints and second.keypoints[0] == (2, 2, 2) and found.skeleton == Skeleton(points=3)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("1 2 3 4 37--Soccer/a.jpg", "line 2: it has 4 numbers"),
        (LINE.replace("a.jpg", "b.jpg"), "line 2: the image '37--Soccer/b.jpg' is missing"),
        (LINE.replace("3.5", "x"), "line 2: a value is no number|line 2: it names no image"),
        (LINE.replace("a.jpg", "a"), "line 2: it names no image"),
    ],
)
def test_a_malformed_line_is_an_error(tmp_path: Path, line: str, says: str) -> None:
    wflw(tmp_path, LINE, "", line)
    with pytest.raises(InvalidInput, match=says.replace("line 2", "line 3")):
        sets.read(tmp_path, None, POINTS)


def test_a_list_with_a_head_names_the_points(tmp_path: Path) -> None:
    photo(tmp_path / "img/000001.jpg")
    (tmp_path / "list_landmarks_align_celeba.txt").write_text(
        "1\nlefteye_x lefteye_y righteye_x righteye_y nose_x nose_y\n000001.jpg 69 109 106 113 77 142\n"
    )
    found = sets.read(tmp_path, None, POINTS)
    (box,) = found.items[0].boxes or ()
    assert box.keypoints == ((69, 109, 2), (106, 113, 2), (77, 142, 2))
    assert found.skeleton == Skeleton(points=3, names=("lefteye", "righteye", "nose"))


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet="0123456789 .-{}:n_points\n", max_size=60))
def test_any_text_is_points_or_a_named_error(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.pts")
        path.write_text(text)
        try:
            assert files.pts(str(path), "a.png").points
        except EdgewrightError as error:
            assert "a.pts" in error.what
