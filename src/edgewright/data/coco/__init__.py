"""COCO's object detection JSON, read as pycocotools reads it, but strictly (https://cocodataset.org/#format-data).

The file is one of `NAMES` with the images in ``images/`` or beside it, or ``annotations/instances_<split>.json`` with
the images in ``images/``, ``<split>/`` or ``images/<split>/``; the year of ``instances_val2017.json`` is no part of the
split's name. Only images that the JSON lists count. Labels index the categories sorted by id (COCO's ids go to 90, its
classes are 80).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from .boxes import Annotations, Box, box, contained_image, finite, text_of, wrong

NAMES = ("instances.json", "_annotations.coco.json", "annotations.json")
_PREFIX = "instances_"


class _Image(msgspec.Struct):
    id: int
    file_name: str


class _Category(msgspec.Struct):
    id: int
    name: str


class _Annotation(msgspec.Struct):
    id: int
    image_id: int
    category_id: int
    bbox: list[float]
    area: float | None = None
    iscrowd: int | bool = 0


class _File(msgspec.Struct):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation]


def files(folder: Path) -> dict[str, Path]:
    """The annotation files of `folder` by split; a file for all of it has the split ""."""
    whole = next((path for name in NAMES if (path := folder / name).is_file()), None)
    found = {"": whole} if whole else {}
    by_stem = {
        path.stem.removeprefix(_PREFIX): path for path in sorted((folder / "annotations").glob(f"{_PREFIX}*.json"))
    }
    short = {stem: re.sub(r"_?(19|20)\d\d$", "", stem) or stem for stem in by_stem}
    for stem, path in by_stem.items():
        # val2014 beside val2017 keep their years: which of them "val" means is not clear.
        alone = list(short.values()).count(short[stem]) == 1
        found[short[stem] if alone else stem] = path
    return found


def read(path: Path, split: str = "") -> Annotations:
    """The images and boxes of one JSON file. Raises `InvalidInput` that names the file and the line, index or id."""
    content = _decoded(path)
    classes = sorted(content.categories, key=lambda category: category.id)
    label = {category.id: k for k, category in enumerate(classes)}
    _require_unique(path, "categories", [c.id for c in content.categories], "id")
    _require_unique(path, "images", [i.id for i in content.images], "id")
    _require_unique(path, "images", [i.file_name for i in content.images], "file_name")
    _require_unique(path, "annotations", [a.id for a in content.annotations], "id")
    folders = _image_folders(path, split)
    boxes: dict[int, list[Box]] = {image.id: [] for image in content.images}
    dropped = 0
    for k, annotation in enumerate(content.annotations):
        found = _box(f"{path}, annotations[{k}] (id {annotation.id})", annotation, label, boxes)
        if found is None:
            dropped += 1
        else:
            boxes[annotation.image_id].append(found)
    images = tuple(
        (contained_image(folders, image.file_name, f"{path}, images[{k}] (id {image.id})"), tuple(boxes[image.id]))
        for k, image in enumerate(content.images)
    )
    return Annotations(images=images, classes=tuple(category.name for category in classes), dropped=dropped)


def _decoded(path: Path) -> _File:
    text = text_of(path)
    try:
        return msgspec.json.decode(text, type=_File)
    except msgspec.ValidationError as error:
        message = str(error).replace("$.", "").replace(" - at `$`", "")
        raise wrong(str(path), message, "COCO's object detection format: images, categories, annotations") from None
    except msgspec.DecodeError as error:
        at = re.search(r"\(byte (\d+)\)", str(error))
        before = text.encode()[: int(at[1])] if at else text.rstrip().encode()
        line = before.count(b"\n") + 1
        raise wrong(f"{path}, line {line}", f"this is no JSON ({error})", "JSON (which knows no NaN)") from None


def _require_unique(path: Path, what: str, values: Iterable[int | str], field: str) -> None:
    first = dict[int | str, int]()
    for k, value in enumerate(values):
        if value in first:
            raise wrong(
                f"{path}, {what}[{k}]", f"{field} {value!r} stands in {what}[{first[value]}] already", f"a {field} once"
            )
        first[value] = k


def _image_folders(path: Path, split: str) -> list[Path]:
    if path.name in NAMES:
        return [folder for folder in (path.parent / "images", path.parent) if folder.is_dir()]
    root, stem = path.parent.parent, path.stem.removeprefix(_PREFIX)
    names = [f"{below}{name}" for below in ("", "images/") for name in dict.fromkeys((stem, split, f"{split}2017"))]
    found = [root / name for name in (*names, "images") if (root / name).is_dir()]
    return [*found, path.parent, root]


def _box(where: str, annotation: _Annotation, label: dict[int, int], images: dict[int, list[Box]]) -> Box | None:
    if annotation.image_id not in images:
        raise wrong(where, f"image_id {annotation.image_id} is the id of no image", "an id of `images`")
    if annotation.category_id not in label:
        raise wrong(where, f"category_id {annotation.category_id} is the id of no category", _known(sorted(label)))
    if len(annotation.bbox) != 4 or not finite(annotation.bbox):
        raise wrong(where, f"bbox is {annotation.bbox}", "four finite numbers: x, y, width, height in pixels")
    if annotation.area is not None and not finite([annotation.area]):
        raise wrong(where, f"area is {annotation.area}", "a finite number")
    x, y, width, height = annotation.bbox
    index = label[annotation.category_id]
    return box(index, (x, y, x + width, y + height), annotation.area, bool(annotation.iscrowd))


def _known(ids: Sequence[int]) -> str:
    return f"an id of `categories` ({', '.join(map(str, ids[:10]))}{' ...' if len(ids) > 10 else ''})"
