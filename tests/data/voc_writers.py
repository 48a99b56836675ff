"""Pascal VOC files of the random sets of coco_writers.py, as tools lay them out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from .coco_writers import SPLITS, Drawn, Pictured, touch


def xml(image: Pictured, classes: tuple[str, ...]) -> str:
    """The annotation of `image`."""
    objects = "".join(
        f"<object><name>{escape(classes[label])}</name><pose>Unspecified</pose><difficult>Unspecified</difficult>"
        f"<bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>\n"
        for label, x1, y1, x2, y2 in image.boxes
    )
    size = f"<size><width>{image.size[0]}</width><height>{image.size[1]}</height><depth>3</depth></size>"
    return f"<annotation>\n<filename>{escape(image.name)}</filename>{size}\n{objects}</annotation>\n"


class Layout(NamedTuple):
    """Where a tool puts things. `line` is what it writes for an image into the lists of splits; None: no lists.

    `classes`: the file with the classes, and what is written for each.
    """

    images: str
    annotations: str
    line: Callable[[Pictured], str] | None = None
    lists: str = "ImageSets/Main/{split}.txt"
    classes: tuple[str, str] = ("", "")


def _stem(image: Pictured) -> str:
    return Path(image.name).stem


LAYOUTS = {
    "development kit": Layout("JPEGImages", "Annotations", _stem),
    "lists of a class": Layout("JPEGImages", "Annotations", lambda image: f"{_stem(image)}  1"),
    "lists of files": Layout("JPEGImages", "Annotations", lambda image: f"JPEGImages\\{image.name}"),
    "lists of other machines": Layout("JPEGImages", "Annotations", lambda image: f"/VOC2007/JPEGImages/{image.name}"),
    "cvat": Layout(
        "JPEGImages/a b", "Annotations/a b", lambda image: f'"a b/{_stem(image)}"', "ImageSets/Main/default.txt",
        ("labelmap.txt", "{}:1,2,3::"),
    ),
    "datumaro": Layout("JPEGImages", "Annotations", _stem, classes=("labelmap.txt", "{}:1,2,3::")),
    "small letters": Layout("images", "annotations", _stem, "imagesets/{split}.txt"),
    "label studio": Layout("images", "Annotations"),
    "fiftyone": Layout("data", "labels"),
    "flat": Layout("", "", classes=("classes.txt", "{}")),
    "images beside a folder": Layout("", "annotations"),
    "one folder": Layout("images", "images", classes=("predefined_classes.txt", "{}")),
    "folders by split": Layout("images/{split}", "annotations/{split}"),
}  # fmt: skip


def save(folder: Path, every: Drawn, layout: Layout) -> list[tuple[str, list[Pictured]]]:
    """Write `every` as `layout`; returns the images by the splits that a reader must find."""
    for image in every.images:
        touch(folder / layout.images.format(split=image.split) / image.name)
        path = folder / layout.annotations.format(split=image.split) / f"{_stem(image)}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(xml(image, every.classes), encoding="utf-8")
    if layout.classes[0]:
        lines = [layout.classes[1].format(name) for name in every.classes]
        head = ["# label:color_rgb:parts:actions", "background:0,0,0::"] if layout.classes[0] == "labelmap.txt" else []
        (folder / layout.classes[0]).write_text("\n".join([*head, *lines]) + "\n")
    by_split = [(split, [image for image in every.images if image.split == split]) for split in SPLITS]
    if "{split}" not in layout.annotations and (layout.line is None or "{split}" not in layout.lists):
        by_split = [("", list(every.images))]
    for split, images in by_split if layout.line else []:
        path = folder / layout.lists.format(split=split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{layout.line(image)}\n" for image in images))  # type: ignore[misc]
    return by_split
