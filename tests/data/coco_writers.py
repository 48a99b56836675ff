"""Random detection sets, and COCO files of them as tools write and lay them out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import strategies as st


class Pictured(NamedTuple):
    """An image: its split, its name, its (class, x1, y1, x2, y2), its (width, height)."""

    split: str
    name: str
    boxes: tuple[tuple[int, float, float, float, float], ...]
    size: tuple[int, int] = (640, 480)


class Drawn(NamedTuple):
    """A data set before it is written."""

    classes: tuple[str, ...]
    images: tuple[Pictured, ...]


SPLITS = ("train", "val")

_words = st.text(st.sampled_from("abcXYZ019é猫"), min_size=1, max_size=6)
_class_names = st.lists(
    st.one_of(_words, st.integers(0, 99).map(str), st.tuples(_words, _words).map(" ".join)),
    min_size=1, max_size=12, unique=True,
)  # fmt: skip
_file_names = st.builds(
    lambda words, suffix: " ".join(words) + suffix,
    st.lists(_words, min_size=1, max_size=3), st.sampled_from([".jpg", ".JPG", ".png", ".jpeg"]),
)  # fmt: skip


@st.composite
def drawn(draw: st.DrawFn) -> Drawn:
    """A set of two splits, in which each has an image and no two images share a stem, whatever the capitals."""
    classes = draw(_class_names)
    names = draw(st.lists(_file_names, min_size=2, max_size=6, unique_by=lambda name: Path(name).stem.casefold()))
    side = st.integers(2, 400)  # one pixel would look like a part of the image
    corner = st.integers(0, 400).map(lambda value: value / 4)
    box = st.builds(
        lambda label, x, y, w, h: (label, x, y, x + w, y + h),
        st.integers(0, len(classes) - 1), corner, corner, side, side,
    )  # fmt: skip
    boxes = st.lists(box, max_size=4, unique=True).map(tuple)
    return Drawn(tuple(classes), tuple(Pictured(SPLITS[k % 2], name, draw(boxes)) for k, name in enumerate(names)))


def touch(path: Path) -> None:
    """An empty file: no reader opens an image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def content(every: Drawn, images: list[Pictured], name: Callable[[str], str] = str) -> dict[str, Any]:
    """COCO's JSON of `images`, with holes in the ids and `name` of each file name."""
    notes = [(k, box) for k, image in enumerate(images) for box in image.boxes]
    return {
        "images": [
            {"id": 10 + 3 * k, "file_name": name(image.name), "width": image.size[0], "height": image.size[1]}
            for k, image in enumerate(images)
        ],
        "categories": [{"id": 2 * k + 1, "name": one} for k, one in enumerate(every.classes)],
        "annotations": [
            {"id": 5 + number, "image_id": 10 + 3 * k, "category_id": 2 * label + 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            for number, (k, (label, x1, y1, x2, y2)) in enumerate(notes)
        ],
    }


def write(path: Path, value: Any) -> None:
    """`value` as JSON at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


class Layout(NamedTuple):
    """Where a tool puts things; {split} stands for the split's name. `whole`: one file holds all images."""

    file: str
    images: str
    whole: bool = False
    name: Callable[[str], str] = str


def _textual(value: dict[str, Any]) -> dict[str, Any]:
    for note in value["annotations"]:
        note |= {"image_id": str(note["image_id"]), "category_id": float(note["category_id"]), "iscrowd": None}
    for image in value["images"]:
        image |= {"width": str(image["width"]), "height": float(image["height"])}
    return value


LAYOUTS = {
    "coco": Layout("annotations/instances_{split}2017.json", "{split}2017"),
    "coco without years": Layout("annotations/instances_{split}.json", "images/{split}"),
    "one folder of images": Layout("annotations/instances_{split}.json", "images"),
    "own names": Layout("annotations/{split}.json", "{split}"),
    "own names beside": Layout("my-{split}-set.json", "images", name=lambda name: f"images/{name}"),
    "plain": Layout("instances.json", "images", True),
    "plain beside": Layout("annotations.json", "", True),
    "roboflow's file": Layout("_annotations.coco.json", "", True),
    "cvat": Layout("annotations/instances_default.json", "images", True),
    "cvat with absolute names": Layout(
        "annotations/instances_default.json", "images", True, lambda n: f"/mnt/cvat/{n}"
    ),
    "datumaro": Layout("annotations/instances_default.json", "images/default", True),
    "label studio": Layout("result.json", "images", True, lambda name: f"images\\{name}"),
    "label studio elsewhere": Layout("result.json", "images", True, lambda name: f"../../data/upload/1/{name}"),
    "fiftyone": Layout("labels.json", "data", True),
    "any name": Layout("my export.json", "", True, lambda name: f"C:\\Users\\me\\{name}"),
    "supervisely": Layout("ann/coco.json", "images", True),
}


def save(folder: Path, every: Drawn, layout: Layout) -> list[tuple[str, list[Pictured]]]:
    """Write `every` as `layout`; returns the images by the splits that a reader must find."""
    parts = [("", list(every.images))]
    if not layout.whole:
        parts = [(split, [image for image in every.images if image.split == split]) for split in SPLITS]
    for split, images in parts:
        for image in images:
            touch(folder / layout.images.format(split=split) / image.name)
        write(folder / layout.file.format(split=split), _textual(content(every, images, layout.name)))
    return parts
