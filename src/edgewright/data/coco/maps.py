"""COCO's panoptic and stuff annotations, read as a map of classes for each image.

The PNG files of panoptic annotations have the number of a segment in each pixel (R + 256 G + 65536 B), and the JSON has
the category of each segment. Stuff has a mask for each category, or PNG files of category ids
(``stuff_val2017_pixelmaps``). Classes are the categories sorted by id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from edgewright.data.boxes import Absent, Box, wrong
from edgewright.data.items import ImageSet, Item
from edgewright.data.lookup import Found, Lookup, place_remarks
from edgewright.data.paired import with_pairs
from edgewright.data.pairs import BORDER, IGNORE, Ids
from edgewright.data.remarks import remark

from . import schema, shapes
from .files import class_maps, image_folders

_PANOPTIC = "panoptic_"
_PIXELS = "_pixelmaps"


class _Segment(msgspec.Struct):
    id: int
    category_id: schema.Id


class _Annotation(msgspec.Struct):
    image_id: schema.Id
    file_name: str = ""
    segments_info: list[_Segment] = []
    category_id: schema.Id | None = None
    segmentation: msgspec.Raw = msgspec.Raw(b"null")


class _File(msgspec.Struct):
    images: list[schema.Image]
    categories: list[schema.Category]
    annotations: list[_Annotation]


def read(folder: Path, split: str, labels: bool) -> ImageSet:
    """Return the images of `split`; with `labels`, with their maps. Raises `InvalidInput` with file and place."""
    path = class_maps(folder)[split]
    content = schema.decoded(path, _File)
    located = _located(folder, path, split, content.images)
    remarks = place_remarks([(image.file_name, one) for image, one in zip(content.images, located)])
    if not labels:
        items = tuple(Item(one.path, None) for one in located)
        return ImageSet(name=folder.name, split=split, items=items, classes=(), remarks=tuple(remarks))
    categories = sorted(content.categories, key=lambda one: (str(type(one.id)), one.id))
    index = {schema.same(category.id): k for k, category in enumerate(categories)}
    places = {schema.same(image.id): k for k, image in enumerate(content.images)}
    where = [f"{path}, annotations[{k}]" for k in range(len(content.annotations))]
    for place, note in zip(where, content.annotations):
        if schema.same(note.image_id) not in places:
            raise wrong(place, f"image_id {note.image_id} is the id of no image", "an id of `images`")
        for id in (*(one.category_id for one in note.segments_info), *([note.category_id] if note.category_id else [])):
            if schema.same(id) not in index:
                raise wrong(place, f"category_id {id} is the id of no category", "an id of `categories`")
    images = [one.path for one in located]
    if path.name.startswith(_PANOPTIC):
        items = _panoptic(folder, path, images, content, index, places)
    elif pixels := _folder(folder, path, _PIXELS):
        ids: Ids = (*((int(id), k) for id, k in index.items() if isinstance(id, int)), (0, IGNORE), (BORDER, IGNORE))
        items = with_pairs([(image, _beside(pixels, image, path)) for image in images], "classes", ids)
    else:
        items = _painted(path, images, content, index, places)
    bare = [Path(item.path).name for item in items if item.pair is None]
    text = "{count|image has|images have} no annotation: left out."
    return ImageSet(
        name=folder.name, split=split, items=tuple(item for item in items if item.pair is not None), order="file",
        classes=tuple(str(category.name) for category in categories),
        remarks=(*remarks, *remark("warning", "images-left-out", bare, text)),
    )  # fmt: skip


def _located(folder: Path, path: Path, split: str, images: Sequence[schema.Image]) -> list[Found]:
    lookup = Lookup(image_folders(folder, path, split))
    found = list[Found]()
    for k, image in enumerate(images):
        one = lookup.find(image.file_name)
        if one is None:
            error = wrong(
                f"{path}, images[{k}]", f"the image '{image.file_name}' is missing",
                f"a file in {' or '.join(map(str, lookup.folders))}",
            )  # fmt: skip
            raise error if found else Absent(error.what, error.why, error.fix)
        found.append(one)
    return found


def _panoptic(
    folder: Path, path: Path, images: Sequence[str], content: _File, index: Mapping[schema.Id, int],
    places: Mapping[schema.Id, int],
) -> tuple[Item, ...]:  # fmt: skip
    """The items with the PNG files of segments."""
    below = _folder(folder, path, "")
    lookup = Lookup([*([below] if below else []), path.parent, folder])
    maps = dict[int, tuple[str, Ids]]()
    for k, note in enumerate(content.annotations):
        found = lookup.find(note.file_name)
        if found is None:
            expected = f"a file in {path.with_suffix('')}/"
            raise wrong(f"{path}, annotations[{k}]", f"the file '{note.file_name}' is missing", expected)
        ids = {0: IGNORE} | {one.id: index[schema.same(one.category_id)] for one in note.segments_info}
        maps[places[schema.same(note.image_id)]] = (found.path, tuple(ids.items()))
    known = [k for k in range(len(images)) if k in maps]
    items = {
        k: msgspec.structs.replace(item, ids=maps[k][1])
        for k, item in zip(known, with_pairs([(images[k], maps[k][0]) for k in known], "classes", None))
    }
    return tuple(items.get(k, Item(image, None)) for k, image in enumerate(images))


def _painted(
    path: Path, images: Sequence[str], content: _File, index: Mapping[schema.Id, int], places: Mapping[schema.Id, int]
) -> tuple[Item, ...]:
    """The items with a mask for each class. Their `pair` is the JSON file itself."""
    boxes: list[list[Box]] = [[] for _ in images]
    for k, note in enumerate(content.annotations):
        where, place = f"{path}, annotations[{k}]", places[schema.same(note.image_id)]
        size = content.images[place].size()
        if size is None:
            raise wrong(where, "its image has no width and height", "both, in `images`")
        _, rle = shapes.mask(where, note.segmentation, size, [])
        if rle is None or note.category_id is None:
            raise wrong(where, "its segmentation is no mask", "counts and size")
        label = index[schema.same(note.category_id)]
        boxes[place].append(Box(label, 0, 0, size[0], size[1], size[0] * size[1], rle=rle))
    return tuple(
        Item(image, None, tuple(found), size=entry.size(), pair=str(path))
        for image, found, entry in zip(images, boxes, content.images)
    )


def _folder(folder: Path, path: Path, ending: str) -> Path | None:
    """The folder that is called as the JSON file, with `ending`: next to it, or in the data folder."""
    name = path.stem + ending
    return next((place / name for place in (path.parent, folder) if (place / name).is_dir()), None)


def _beside(folder: Path, image: str, path: Path) -> str:
    found = folder / f"{Path(image).stem}.png"
    if not found.is_file():
        raise wrong(str(path), f"the file {found} is missing", "a PNG file for each image")
    return str(found)
