"""Cut the objects out of the images of a set, so that a network for one object is evaluated on it.

Top-down pose networks and landmark networks see one object. Here each object becomes an image file of its own, without
loss, and its labels move into the pixels of that file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import msgspec

from edgewright.core import files, image_files
from edgewright.core.errors import InvalidInput
from edgewright.core.store import Store

from . import photos
from .boxes import Box
from .items import ImageSet, Item
from .remarks import remark

_CONTENT = "crops.json"
_VERSION = 1
"""Increase it if the same objects give other crops."""
_LEAST = 1.0
"""A smaller side of an object counts as so many pixels."""


class Crops(msgspec.Struct, frozen=True, kw_only=True):
    """How to cut objects out. `scale`: how much larger than the object's box the crop is. `aspect`: its width divided
    by its height, reached by adding to the shorter side; None keeps that of the box. Outside the image, a crop is
    black."""

    scale: float = 1.25
    aspect: float | None = 1.0


def write(images: ImageSet, folder: Path, how: Crops) -> ImageSet:
    """Write a PNG file for each object of `images` into the empty `folder`, and return the set of these files.

    Boxes of `images` are in pixels of the upright images (before `match`). Crowds, objects without any labeled keypoint
    in a set with keypoints, and objects outside their image are left out; the last ones with a remark. Raises
    `InvalidInput` if no object is left, and if an image cannot be read.
    """
    by_path = {item.path: (number, item) for number, item in enumerate(images.items)}

    def one(path: str) -> list[Item]:
        number, item = by_path[path]
        return _cut(item, folder, f"{number:06d}", how)

    every = photos.each(one, list(by_path))
    items = tuple(item for found in every for item in found)
    wanted = {path: sum(1 for box in item.boxes or () if _counts(box)) for path, (_, item) in by_path.items()}
    lost = [Path(path).name for path, found in zip(by_path, every) for _ in range(wanted[path] - len(found))]
    if not items:
        raise InvalidInput(
            f"'{images.name}' has no object to cut out in {len(images.items)} images.",
            "An object needs a box inside its image, and in a set with keypoints a labeled one.",
            "Use a data set with labeled objects.",
        )
    text = "{count|object is|objects are} completely outside the image: left out of the crops."
    found = msgspec.structs.replace(images, items=items, folder="").noticed(
        remark("warning", "objects-outside", lost, text)
    )
    relative = tuple(msgspec.structs.replace(item, path=Path(item.path).name) for item in items)
    content = msgspec.structs.replace(found, items=relative)
    files.write(folder / _CONTENT, msgspec.json.encode(content))
    return found


def read(folder: Path) -> ImageSet:
    """Return the set that `write` wrote into `folder`."""
    found = msgspec.json.decode((folder / _CONTENT).read_bytes(), type=ImageSet)
    items = (msgspec.structs.replace(item, path=str(folder / item.path)) for item in found.items)
    return found.only(items)


def stored(images: ImageSet, how: Crops) -> ImageSet:
    """Return the set of the objects of `images`, which `write` writes into the cache once; `images` if it has none.

    An object is a box. Raises the errors of `write`.
    """
    if all(not item.boxes for item in images.items):
        return images
    boxes = [(item.boxes, item.orientation) for item in images.items]
    inputs = {"images": images.digests, "names": images.paths, "boxes": boxes, "how": how, "version": _VERSION}
    entry = Store().stage("crops", inputs, lambda folder: _written(images, folder, how))
    return msgspec.structs.replace(
        read(entry.path), name=images.name, split=images.split, wants=images.wants, skeleton=images.skeleton
    )


def _written(images: ImageSet, folder: Path, how: Crops) -> None:
    write(images, folder, how)


def region(box: Box, size: tuple[int, int], how: Crops) -> tuple[int, int, int, int] | None:
    """Return the corners (left, top, right, bottom) of an object's crop in an image of `size`, in whole pixels.

    They can be outside the image. None if the object is completely outside. The same region as in
    ``edgewright.points.crops.cut``, for a box inside the image.
    """
    x1, y1, x2, y2 = max(box.x1, 0.0), max(box.y1, 0.0), min(box.x2, float(size[0])), min(box.y2, float(size[1]))
    if x1 >= x2 or y1 >= y2:
        return None
    width, height = how.scale * max(x2 - x1, _LEAST), how.scale * max(y2 - y1, _LEAST)
    if how.aspect is not None:
        width, height = max(width, height * how.aspect), max(height, width / how.aspect)
    left, top = round((x1 + x2 - width) / 2), round((y1 + y2 - height) / 2)
    return left, top, left + math.ceil(width), top + math.ceil(height)


def moved(box: Box, x: float, y: float) -> Box:
    """Return `box` in an image that begins at the pixel (x, y) of its image. A mask as run lengths is left out."""

    def shifted(values: Iterable[float]) -> tuple[float, ...]:
        return tuple(value - (y if k % 2 else x) for k, value in enumerate(values))

    x1, y1, x2, y2 = shifted((box.x1, box.y1, box.x2, box.y2))
    points = box.keypoints
    return msgspec.structs.replace(
        box, x1=x1, y1=y1, x2=x2, y2=y2, rle=None,
        polygons=None if box.polygons is None else tuple(map(shifted, box.polygons)),
        keypoints=None if points is None else tuple((a - x, b - y, v) if v else (0.0, 0.0, 0) for a, b, v in points),
        corners=None if box.corners is None else shifted(box.corners),
    )  # fmt: skip


def _counts(box: Box) -> bool:
    """Whether an object is cut out if it is inside its image."""
    return not box.crowd and (box.keypoints is None or any(visible for _, _, visible in box.keypoints))


def _cut(item: Item, folder: Path, name: str, how: Crops) -> list[Item]:
    found = list[Item]()
    image = None
    for number, box in enumerate(item.boxes or ()):
        if not _counts(box) or item.size is None or (place := region(box, item.size, how)) is None:
            continue
        if image is None:
            image = image_files.upright(image_files.read(Path(item.path), item.path)).convert("RGB")
        path = folder / f"{name}_{number:03d}.png"
        crop = image.crop(place)
        crop.save(path, compress_level=1)
        found.append(Item(str(path), None, (moved(box, place[0], place[1]),), 1, crop.size))
    return found
