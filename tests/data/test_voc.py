"""Pascal VOC's XML files are read as tools write them, or refused with file and line."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from edgewright.core.errors import IntegrityError, InvalidInput
from edgewright.data import voc
from edgewright.data.boxes import Annotations, Box

from .coco_writers import Drawn, drawn, touch
from .voc_writers import LAYOUTS, save

SIZE = "<size><width>100</width><height>50</height></size>"


def item(name: str = "dog", bounds: str = "11 21 40 30", more: str = "") -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), bounds.split())
    return (
        f"<object>\n<name>{name}</name><bndbox>{''.join(f'<{s}>{v}</{s}>' for s, v in sides)}</bndbox>{more}</object>\n"
    )


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def kit(folder: Path, content: str, lists: bool = True) -> Path:
    """The development kit's layout with two images, a.jpg with `content` and b.png with a cat."""
    touch(folder / "JPEGImages/a.jpg")
    touch(folder / "JPEGImages/b.png")
    write(folder / "Annotations/a.xml", f"<annotation>\n{content}</annotation>")
    write(folder / "Annotations/b.xml", f"<annotation>{item('cat')}</annotation>")
    if lists:
        write(folder / "ImageSets/Main/val.txt", "a\n")
        write(folder / "ImageSets/Main/train.txt", "b\n")
        write(folder / "ImageSets/Main/dog_val.txt", "a  1\n")
    return folder


def names(found: Annotations, folder: Path) -> list[str]:
    return [Path(image.path).relative_to(folder).as_posix() for image in found.images]


def said(found: Annotations) -> dict[str, tuple[str, int]]:
    """The remarks: level and count by code."""
    return {one.code: (one.level, one.count) for one in found.remarks}


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=25, deadline=None)
@given(every=drawn())
def test_a_set_reads_alike_in_every_layout(layout: str, every: Drawn) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = save(folder, every, LAYOUTS[layout])
        used = sorted({every.classes[box[0]] for image in every.images for box in image.boxes})
        listed = bool(LAYOUTS[layout].classes[0])
        assert len(voc.marks(folder)) == 1
        assert voc.splits(folder) == sorted(split for split, _ in parts if split)
        for split, images in parts:
            found = voc.read(folder, split)
            assert (found.classes, found.ordered) == (every.classes if listed else tuple(used), listed)
            assert voc.images(folder, split) == tuple(image.path for image in found.images)
            assert all(Path(image.path).is_file() and image.size == (640, 480) for image in found.images)
            by_name = {Path(image.path).name: image for image in found.images}
            assert sorted(by_name) == sorted(image.name for image in images)
            for image in images:
                read = [(found.classes[b.label], b.x1, b.y1, b.x2, b.y2) for b in by_name[image.name].boxes]
                assert read == [(every.classes[k], *map(pytest.approx, corners)) for k, *corners in image.boxes]


# --- where the files lie ----------------------------------------------------------------------------------------------


def test_a_voc_set(tmp_path: Path) -> None:
    content = item() + item("person", "1 1 5 5", "<difficult>1</difficult>") + item("dog", "9 9 8 30")
    kit(tmp_path, SIZE + content)
    assert voc.marks(tmp_path) == ["JPEGImages and Annotations"]
    assert voc.splits(tmp_path) == ["train", "val"]
    found = voc.read(tmp_path, "val")
    assert names(found, tmp_path) == ["JPEGImages/a.jpg"]
    assert (found.classes, found.ordered) == (("cat", "dog", "person"), False), "numbered over all splits"
    image = found.images[0]
    assert image.boxes == (Box(1, 10, 20, 40, 30, 300, False), Box(2, 0, 0, 5, 5, 25, True))
    assert (image.size, image.where) == ((100, 50), str(tmp_path / "Annotations/a.xml"))
    assert said(found) == {"boxes-without-area": ("warning", 1)}


def test_a_voc_set_without_lists_is_one_set(tmp_path: Path) -> None:
    kit(tmp_path, "", lists=False)
    assert voc.splits(tmp_path) == []
    found = voc.read(tmp_path, "")
    assert (names(found, tmp_path), found.images[0].boxes) == (["JPEGImages/a.jpg", "JPEGImages/b.png"], ())


@pytest.mark.parametrize(
    "files",
    [
        "images/a.jpg labels/a.txt", "images/a.jpg annotations/instances_val.json", "a.jpg b.xml", "a/x.jpg",
        "a.xml", "annotations/a.xml", "images/a.jpg",
    ],
)  # fmt: skip
def test_other_sets_are_no_voc_sets(tmp_path: Path, files: str) -> None:
    for name in files.split():
        touch(tmp_path / name)
        if name == "a.xml" or name.startswith("annotations/a"):
            write(tmp_path / name, "<annotation/>")
    write(tmp_path / "annotations.xml", "<annotations><image/></annotations>")  # CVAT's own format
    assert voc.marks(tmp_path) == []
    with pytest.raises(InvalidInput, match="is not a VOC data set"):
        voc.read(tmp_path, "")


@pytest.mark.parametrize(
    "line",
    [
        "a",
        "a  1",
        "a -1",
        "a.jpg",
        '"a"',
        "JPEGImages/a",
        "JPEGImages\\a.jpg",
        "../VOC2007/JPEGImages/a.jpg",
        "/x/a.jpg",
    ],
)
def test_the_ways_to_name_an_image_in_a_list(tmp_path: Path, line: str) -> None:
    write(kit(tmp_path, item()) / "ImageSets/Main/val.txt", f"{line}\n")
    assert names(voc.read(tmp_path, "val"), tmp_path) == ["JPEGImages/a.jpg"]


def test_names_in_lists_that_end_in_a_number(tmp_path: Path) -> None:
    kit(tmp_path, item())
    for name in ("photo", "photo 1"):
        touch(tmp_path / f"JPEGImages/{name}.jpg")
        write(tmp_path / f"Annotations/{name}.xml", f"<annotation>{item()}</annotation>")
    for text in ('"photo 1" 1\nphoto\n', "photo 1\nphoto 0\n"):
        write(tmp_path / "ImageSets/Main/val.txt", text)
        assert names(voc.read(tmp_path, "val"), tmp_path) == ["JPEGImages/photo 1.jpg", "JPEGImages/photo.jpg"]


@pytest.mark.parametrize(
    ("files", "filename", "image"),
    [
        ("other.jpg", "other.jpg", "other.jpg"),
        ("other.jpg", "/home/me/photos/other.jpg", "other.jpg"),
        ("other.jpg", "C:\\photos\\other.jpg", "other.jpg"),
        ("other.jpg", "other", "other.jpg"),
        ("other.jpg", "OTHER.JPG", "other.jpg"),
        ("c.JPEG", "other.jpg", "c.JPEG"),
        ("C.png", "", "C.png"),
        ("c.jpg c.png", "c.png", "c.png"),
        ("c.jpg c.png", "", "c.jpg"),
        ("c.gif c.png other.jpg", "other.jpg", "c.png"),
    ],
)
def test_the_image_of_an_xml_file(tmp_path: Path, files: str, filename: str, image: str) -> None:
    kit(tmp_path, item(), lists=False)
    for name in files.split():
        touch(tmp_path / "JPEGImages" / name)
    write(tmp_path / "Annotations/c.xml", f"<annotation><filename>{filename}</filename>{item()}</annotation>")
    found = voc.read(tmp_path, "")
    assert names(found, tmp_path)[2] == f"JPEGImages/{image}"
    assert voc.images(tmp_path, "") == tuple(one.path for one in found.images)


@pytest.mark.parametrize("name", ["../secret.jpg", "{outside}/secret.jpg", "..\\secret.jpg", "a/../../secret.jpg"])
def test_a_voc_file_cannot_reach_outside_its_folder(tmp_path: Path, name: str) -> None:
    touch(tmp_path / "secret.jpg")
    kit(tmp_path / "data", item(), lists=False)
    told = name.format(outside=tmp_path)
    write(tmp_path / "data/Annotations/c.xml", f"<annotation><filename>{told}</filename>{item()}</annotation>")
    found = voc.read(tmp_path / "data", "")
    assert names(found, tmp_path / "data") == ["JPEGImages/a.jpg", "JPEGImages/b.png"]
    assert said(found) == {"labels-without-image": ("warning", 1)}
    write(tmp_path / "data/ImageSets/Main/val.txt", f"{told}\n")
    with pytest.raises(InvalidInput, match=r"line 1: Annotations/secret\.xml is missing"):
        voc.read(tmp_path / "data", "val")


def test_images_are_listed_without_reading_the_xml_files(tmp_path: Path) -> None:
    kit(tmp_path, "<object>")  # no XML
    assert voc.images(tmp_path, "val") == (str(tmp_path / "JPEGImages/a.jpg"),)
    with pytest.raises(InvalidInput, match="not XML"):
        voc.read(tmp_path, "val")


def test_files_without_their_pair(tmp_path: Path) -> None:
    kit(tmp_path, item(), lists=False)
    touch(tmp_path / "JPEGImages/c.jpg")
    touch(tmp_path / "JPEGImages/d.dng")
    for name, filename in (("lost", ""), ("copy", "a.jpg")):
        write(tmp_path / f"Annotations/{name}.xml", f"<annotation><filename>{filename}</filename>{item()}</annotation>")
    found = voc.read(tmp_path, "")
    assert names(found, tmp_path) == ["JPEGImages/a.jpg", "JPEGImages/b.png"]
    assert said(found) == {
        "labels-without-image": ("warning", 2), "images-without-xml": ("warning", 1),
        "files-left-out": ("warning", 1),
    }  # fmt: skip
    for name in ("a.jpg", "b.png"):
        (tmp_path / "JPEGImages" / name).unlink()
    (tmp_path / "Annotations/copy.xml").unlink()
    with pytest.raises(InvalidInput, match=r"Annotations/a.xml: the image 'a.jpg' is missing"):
        voc.read(tmp_path, "")


def test_voc_lists_that_do_not_fit_the_files(tmp_path: Path) -> None:
    path = kit(tmp_path, item()) / "ImageSets/Main/val.txt"
    for text, why in (
        ("a\nc\n", "line 2: Annotations/c.xml is missing"),
        ("a\nc.jpg 1\n", "line 2: Annotations/c.xml is missing"),
        ('a\n"my c.v2" -1\n', "line 2: Annotations/my c.v2.xml is missing"),
        ("a\nother/b\n", "line 2: Annotations/other/b.xml is missing"),
        ("a\n\na\n", "line 3: 'a' is already in line 1"),
        ("a\na.jpg\n", "line 2: 'a' is already in line 1"),
    ):
        path.write_text(text)
        with pytest.raises(InvalidInput, match=f"val.txt, {why}"):
            voc.read(tmp_path, "val")
    path.write_text("a\n")
    (tmp_path / "JPEGImages/a.jpg").unlink()
    for reader in (voc.read, voc.images):
        with pytest.raises(InvalidInput, match=r"val.txt, line 1: the image 'a.jpg' is missing"):
            reader(tmp_path, "val")


# --- what an XML file says --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "crowd"),
    [("", False), ("0", False), ("Unspecified", False), ("false", False), ("1", True), ("True", True)],
)
def test_the_ways_to_write_difficult(tmp_path: Path, value: str, crowd: bool) -> None:
    kit(tmp_path, item(more=f"<difficult>{value}</difficult>"))
    assert [box.crowd for box in voc.read(tmp_path, "val").images[0].boxes] == [crowd]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (SIZE, (100, 50)), (SIZE.replace("100", "100.0"), (100, 50)), (SIZE.replace("100", "0"), None),
        ("<size><width>100</width></size>", None), ("", None), (SIZE.replace("50", "-5"), None),
    ],
)  # fmt: skip
def test_the_size_that_the_file_says(tmp_path: Path, text: str, size: Any) -> None:
    assert voc.read(kit(tmp_path, text + item()), "val").images[0].size == size


POLYGON = "<object><name>dog</name>{}</object>"


@pytest.mark.parametrize(
    "points",
    [
        "<polygon><x1>11</x1><y1>30</y1><x2>40</x2><y2>21</y2><x3>20.5</x3><y3>25</y3></polygon>",
        "<polygon><pt><x>11</x><y>21</y></pt><pt><x>40</x><y>30</y></pt></polygon>",
    ],
)
def test_boxes_around_polygons(tmp_path: Path, points: str) -> None:
    found = voc.read(kit(tmp_path, POLYGON.format(points)), "val")
    assert found.images[0].boxes == (Box(1, 10, 20, 40, 30, 300, False),)
    assert said(found) == {"polygons-as-boxes": ("note", 1)}


def test_a_bndbox_counts_before_a_polygon(tmp_path: Path) -> None:
    found = voc.read(kit(tmp_path, item(more="<polygon><x1>1</x1><y1>1</y1></polygon>")), "val")
    assert found.images[0].boxes == (Box(1, 10, 20, 40, 30, 300, False),)
    assert said(found) == {}


def test_repeated_boxes_are_kept(tmp_path: Path) -> None:
    found = voc.read(kit(tmp_path, item() * 3 + item("cat")), "val")
    assert len(found.images[0].boxes) == 4
    assert said(found) == {"duplicate-boxes": ("warning", 2)}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("<object>", r"line \d: this is not XML"),
        (item() + item("", "1 2 3 4"), "line 4: the object has no name"),
        (item("dog", "1 2 3"), "line 2: bndbox has no ymax"),
        (POLYGON.format(""), "line 2: bndbox has no xmin"),
        (item("dog", "1 2 3 x"), "line 2: bndbox is 1 2 3 x"),
        (item("dog", "1 2 3 inf"), "line 2: bndbox is 1 2 3 inf"),
        (item(more="<difficult>maybe</difficult>"), "line 2: difficult is 'maybe'"),
        (POLYGON.format("<robndbox><cx>1</cx></robndbox>"), r"line 2: it has a rotated box \(robndbox\)"),
        (POLYGON.format("<polygon><x1>1</x1></polygon>"), "line 2: it has no bndbox, and its polygon has no corners"),
        (POLYGON.format("<polygon><x1>a</x1><y1>1</y1></polygon>"), "line 2: it has no bndbox, and its polygon"),
    ],
)
def test_a_bad_voc_file_is_named_with_its_line(tmp_path: Path, content: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=f"a.xml, {why}") as caught:
        voc.read(kit(tmp_path, content), "val")
    assert caught.value.why and caught.value.fix


def test_a_document_of_another_kind(tmp_path: Path) -> None:
    write(kit(tmp_path, "") / "Annotations/a.xml", "<html/>")
    with pytest.raises(InvalidInput, match=r"a\.xml, line 1: the document is a <html>"):
        voc.read(tmp_path, "val")


@pytest.mark.parametrize("head", ['<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>', "<!doctype a>"])
def test_voc_files_with_entities_are_refused_unparsed(tmp_path: Path, head: str) -> None:
    write(kit(tmp_path, "") / "Annotations/a.xml", f"<?xml version='1.0'?>\n{head}\n<annotation>&x;</annotation>")
    with pytest.raises(IntegrityError, match=r"a\.xml, line 2: edgewright does not read"):
        voc.read(tmp_path, "val")


NAMED = "<?xml version='1.0' encoding='{}'?>\n{}"


@pytest.mark.parametrize(
    ("declared", "encoding", "name"),
    [
        ("ISO-8859-1", "latin-1", "caf\u00e9"), ("windows-1252", "cp1252", "\u20ac"), ("gb2312", "gb2312", "\u72d7"),
        ("GB2312", "gbk", "\u9555"), ("Shift_JIS", "shift_jis", "\u72ac"), ("UTF-16", "utf-16", "\u72d7"),
        ("utf-16", "utf-16-le", "\u72d7"), ("utf-16", "utf-8", "\u72d7"), ("utf-8", "utf-8-sig", "\u72d7"),
        ("ISO-8859-1", "utf-8-sig", "caf\u00e9"),
    ],
)  # fmt: skip
def test_an_xml_file_is_read_in_the_encoding_that_it_declares(
    tmp_path: Path, declared: str, encoding: str, name: str
) -> None:
    kit(tmp_path, "", lists=False)
    for stem in "ab":
        text = NAMED.format(declared, f"<annotation>{item(name)}</annotation>")
        (tmp_path / f"Annotations/{stem}.xml").write_bytes(text.encode(encoding))
    assert voc.read(tmp_path, "").classes == (name,)


def test_a_set_of_utf_16_alone_is_one(tmp_path: Path) -> None:
    touch(tmp_path / "images/a.jpg")
    write(tmp_path / "annotations/a.xml", "").write_bytes(f"<annotation>{item('dog')}</annotation>".encode("utf-16"))
    assert voc.marks(tmp_path) == ["images and annotations"]
    assert voc.read(tmp_path, "").classes == ("dog",)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (NAMED.format("klingon", "<annotation/>").encode(), "line 1: the encoding 'klingon' is not known"),
        (NAMED.format("unicode-escape", "<annotation/>").encode(), "line 1: the encoding 'unicode-escape' is not"),
        (NAMED.format("zlib", "<annotation/>").encode(), "line 1: the encoding 'zlib' is not known"),
        (NAMED.format("gb2312", "<annotation>\n\n").encode() + b"\xff\xff", "line 4: this line is not gb2312 text"),
        (b"<annotation>\n\xff", "line 2: this line is not UTF-8 text"),
        ("<annotation>\n".encode("utf-16") + b"\0", "line 2: this line is not UTF-16 text"),
    ],
)
def test_an_encoding_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, why: str) -> None:
    (kit(tmp_path, "") / "Annotations/a.xml").write_bytes(content)
    with pytest.raises(InvalidInput, match=rf"a\.xml, {why}"):
        voc.read(tmp_path, "val")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le", "utf-8-sig"])
def test_entities_are_refused_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    text = NAMED.format("utf-16", '<!DOCTYPE a [<!ENTITY x "y">]>\n<annotation>&x;</annotation>')
    (kit(tmp_path, "") / "Annotations/a.xml").write_bytes(text.encode(encoding))
    with pytest.raises(IntegrityError, match=r"a\.xml, line 2: edgewright does not read"):
        voc.read(tmp_path, "val")


def test_entities_hidden_by_an_encoding_are_refused(tmp_path: Path) -> None:
    text = NAMED.format("utf-7", "<annotation>+ADwAIQ-DOCTYPE a+AD4-</annotation>")
    (kit(tmp_path, "") / "Annotations/a.xml").write_text(text)
    with pytest.raises(InvalidInput, match="the encoding 'utf-7' is not known"):
        voc.read(tmp_path, "val")


def test_xml_files_that_are_dead_links_or_pipes_are_said(tmp_path: Path) -> None:
    kit(tmp_path, item(), lists=False)
    for name in "cd":
        touch(tmp_path / f"JPEGImages/{name}.jpg")
    (tmp_path / "Annotations/c.xml").symlink_to(tmp_path / "gone.xml")
    os.mkfifo(tmp_path / "Annotations/d.xml")
    found = voc.read(tmp_path, "")
    assert names(found, tmp_path) == ["JPEGImages/a.jpg", "JPEGImages/b.png"]
    assert said(found) == {"labels-unreadable": ("warning", 2), "images-without-xml": ("warning", 2)}


# --- numbers that mean something else ---------------------------------------------------------------------------------


def test_parts_of_the_image_are_no_pixels(tmp_path: Path) -> None:
    parts = "".join(item("dog", f"0.1 0.2 0.{k} 0.9") for k in (3, 4))
    kit(tmp_path, SIZE + parts)
    write(tmp_path / "Annotations/b.xml", f"<annotation>{item('cat', '0 0 1 1')}</annotation>")
    with pytest.raises(InvalidInput, match=r"a.xml, line 2: the box is 0.1 0.2 0.3 0.9: fractions"):
        voc.read(tmp_path, "val")
    kit(tmp_path, SIZE + parts)
    assert len(voc.read(tmp_path, "val").images[0].boxes) == 2, "the other file has pixels"


def test_widths_and_heights_are_no_corners(tmp_path: Path) -> None:
    kit(tmp_path, SIZE + item("dog", "60 20 30 25") + item("dog", "30 30 40 10"))
    write(tmp_path / "Annotations/b.xml", f"<annotation>{SIZE}{item('cat', '1 1 100 50')}</annotation>")
    with pytest.raises(
        InvalidInput, match=r"a.xml, line 2: bndbox is 60 20 30 25: the corners contain width and height"
    ):
        voc.read(tmp_path, "val")


@pytest.mark.parametrize(
    "content",
    [
        SIZE + item("dog", "60 20 30 25"),  # too few
        item("dog", "60 20 30 25") * 3,  # no size to tell by
        SIZE + item("dog", "60 20 30 25") * 2 + item() * 3,  # the less part
        SIZE + item("dog", "90 20 30 25") * 3,  # beyond the image as widths too
    ],
)
def test_other_boxes_without_an_area_are_left_out(tmp_path: Path, content: str) -> None:
    found = voc.read(kit(tmp_path, content), "val")
    count = content.count("<object>") - len(found.images[0].boxes)
    assert said(found)["boxes-without-area"] == ("warning", count) and count > 0


# --- classes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "text", "classes"),
    [
        ("labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\nzebra:1,2,3::\ndog:::\ncat:4,5,6::\n",
         ("zebra", "dog", "cat")),
        ("labelmap.txt", "a:b:1,2,3::\ndog\ncat\n", ("a:b", "dog", "cat")),
        ("classes.txt", "dog\n\ncat \n", ("dog", "cat")),
        ("Annotations/predefined_classes.txt", "dog\ncat\nyak", ("dog", "cat", "yak")),
    ],
)  # fmt: skip
def test_a_file_gives_the_order_of_the_classes(tmp_path: Path, file: str, text: str, classes: tuple[str, ...]) -> None:
    write(kit(tmp_path, item()) / file, text)
    found = voc.read(tmp_path, "val")
    assert (found.classes, found.ordered) == (classes, True)
    assert found.images[0].boxes[0].label == classes.index("dog")


@pytest.mark.parametrize(
    ("text", "why"),
    [("dog\n", "the class 'cat' is missing"), ("dog\ncat\ndog\n", "the class 'dog' is listed twice")],
)
def test_a_list_of_classes_that_does_not_fit(tmp_path: Path, text: str, why: str) -> None:
    write(kit(tmp_path, item()) / "classes.txt", text)
    with pytest.raises(InvalidInput, match=f"classes.txt: {why}"):
        voc.read(tmp_path, "val")
