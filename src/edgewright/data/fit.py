"""Check annotations against the images: sizes, EXIF orientation, and boxes with impossible numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgewright.core.errors import InvalidInput

from . import photos
from .boxes import Annotated, Annotations, Box, scaled, turned, undone, wrong
from .items import Item
from .remarks import NAMED, Remark, remark

NEAR = 2.0
"""Accepted distance of a box beyond its image, in pixels, or as `PART` of its side. Tools round, and VOC counts from 1.
"""
PART = 0.01

FEWEST = 3
"""Fewer boxes are not enough to recognize wrong numbers."""

MANY = 0.3
"""If more than this fraction of boxes reach beyond their images, and none does with the numbers read as corners, the
numbers are corners."""


def fit(annotations: Annotations) -> tuple[tuple[Item, ...], list[Remark]]:
    """Return the items of a detection set, boxes in pixels of the upright images, and remarks on boxes outside.

    Only the headers of the files are read. A file without a readable header keeps no boxes, and is left out later.
    Raises `InvalidInput` if an image has another size than in the annotations, or if boxes contain other numbers than
    their format defines.
    """
    headers = photos.headers([image.path for image in annotations.images])
    _require_sizes(annotations.images, headers)
    items = tuple(_item(image, header) for image, header in zip(annotations.images, headers))
    _require_no_corners_as_sizes(annotations.images, items)
    beyond, away = list[str](), list[str]()
    for item in items:
        for box in item.boxes or ():
            if item.size and _is_beyond(box, item.size):
                (away if _is_away(box, item.size) else beyond).append(Path(item.path).name)
    text = "{count|box reaches|boxes reach} beyond the image by more than 2 pixels and 1%: kept, as in pycocotools."
    out = "{count|box is|boxes are} completely outside the image: each counts as missed."
    return items, [
        *remark("warning", "boxes-beyond", beyond, text), *remark("warning", "boxes-outside", away, out),
        *_shapes_beyond(annotations.images, items),
    ]  # fmt: skip


def _shapes_beyond(images: Sequence[Annotated], items: Sequence[Item]) -> list[Remark]:
    """Return remarks on polygons and keypoints outside their images. Raises `InvalidInput` for a mask of another
    size."""
    outlines, points = list[str](), list[str]()
    for image, item in zip(images, items):
        if item.size is None:
            continue
        name = Path(item.path).name
        for box in item.boxes or ():
            if box.rle is not None and (box.rle.width, box.rle.height) != item.size:
                raise wrong(
                    image.where, f"a mask has {box.rle.width}x{box.rle.height} pixels",
                    f"those of {item.path}: {item.size[0]}x{item.size[1]}",
                )  # fmt: skip
            outlines += [name for one in box.polygons or () if _reaches_out(one, item.size)]
            known = [(x, y) for x, y, visible in box.keypoints or () if visible]
            if _reaches_out([value for point in known for value in point], item.size):
                points.append(name)
    text = "{count|polygon reaches|polygons reach} beyond the image by more than 2 pixels and 1%: cut at its edge."
    out = "{count|object has|objects have} labeled keypoints outside the image: kept."
    return [*remark("warning", "polygons-beyond", outlines, text), *remark("warning", "keypoints-outside", points, out)]


def _reaches_out(values: Sequence[float], size: tuple[int, int]) -> bool:
    """Whether one of the points x1, y1, x2, y2 ... is outside an image by more than the accepted distance."""
    if not values:
        return False
    across, down = (max(NEAR, PART * side) for side in size)
    xs, ys = values[::2], values[1::2]
    return min(xs) < -across or min(ys) < -down or max(xs) > size[0] + across or max(ys) > size[1] + down


def as_stored(item: Item) -> Item:
    """Return `item` with boxes and `turn` for the stored image, for a model that sees photos without EXIF rotation."""
    if item.orientation == 1 or item.size is None:
        return item
    back, size = undone(item.orientation), item.size
    if item.pair is not None:
        item = msgspec.structs.replace(item, turn=back if item.turn == 1 else 1)
    if item.boxes is None:
        return item
    return msgspec.structs.replace(item, boxes=tuple(turned(box, back, size) for box in item.boxes))


def _item(image: Annotated, header: photos.Header | None) -> Item:
    if header is None:
        return Item(image.path, None, ())
    width, height = size = header.upright
    boxes = image.boxes
    if image.relative:
        boxes = tuple(scaled(box, width, height) for box in boxes)
    elif image.size == header.size != size:  # the annotations are for the image as stored
        boxes = tuple(turned(box, header.orientation, header.size) for box in boxes)
    return Item(image.path, None, boxes, header.orientation, size)


def _require_sizes(images: Sequence[Annotated], headers: Sequence[photos.Header | None]) -> None:
    wrong = [
        (image, header) for image, header in zip(images, headers)
        if header and image.size and image.size not in (header.size, header.upright)
    ]  # fmt: skip
    if wrong:
        image, header = wrong[0]
        assert image.size
        named = ", ".join(Path(image.path).name for image, _ in wrong[:NAMED]) + (" ..." if len(wrong) > NAMED else "")
        raise InvalidInput(
            f"{image.where}: the annotations are for an image of {image.size[0]}x{image.size[1]} pixels, and "
            f"{image.path} has {header.upright[0]}x{header.upright[1]}.",
            f"The boxes would be in other places. The same is true for {len(wrong)} of {len(images)} images: {named}.",
            "Use the annotated images, or scale the boxes and sizes with the images.",
        )


def _require_no_corners_as_sizes(images: Sequence[Annotated], items: Sequence[Item]) -> None:
    """Raise if widths and heights are coordinates of the second corner: [x1, y1, x2, y2] instead of [x, y, w, h]."""
    every = [
        (image, box, item.size)
        for image, item in zip(images, items)
        for box in item.boxes or ()
        if item.size and not box.crowd
    ]
    beyond = [(image, box) for image, box, size in every if _is_beyond(box, size)]
    if len(every) < FEWEST or len(beyond) <= MANY * len(every):
        return
    if all(_fits_as_corners(box, size, image.relative) for image, box, size in every):
        image, box = beyond[0]
        raise InvalidInput(
            f"{image.where}: {len(beyond)} of {len(every)} boxes reach beyond their image, such as "
            f"x {box.x1:.0f} to {box.x2:.0f}, y {box.y1:.0f} to {box.y2:.0f} in {Path(image.path).name}.",
            "As corners (x1, y1, x2, y2) all of them fit: the file holds corners instead of width and height.",
            "Write width and height: x2 - x1 and y2 - y1.",
        )


def _is_beyond(box: Box, size: tuple[int, int]) -> bool:
    across, down = (max(NEAR, PART * side) for side in size)
    return box.x1 < -across or box.y1 < -down or box.x2 > size[0] + across or box.y2 > size[1] + down


def _is_away(box: Box, size: tuple[int, int]) -> bool:
    return box.x2 <= 0 or box.y2 <= 0 or box.x1 >= size[0] or box.y1 >= size[1]


def _fits_as_corners(box: Box, size: tuple[int, int], centred: bool) -> bool:
    """Whether the box's first pair of numbers (center in YOLO, else corner) and its sides are two corners."""
    width, height = box.x2 - box.x1, box.y2 - box.y1
    x, y = ((box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2) if centred else (box.x1, box.y1)
    across, down = (max(NEAR, PART * side) for side in size)
    return x < width <= size[0] + across and y < height <= size[1] + down
