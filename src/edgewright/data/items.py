"""A data set after reading: images in a stable order with their labels or boxes."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Literal

import msgspec

from . import photos
from .boxes import Box, Skeleton
from .remarks import Remark, merged
from .wants import Wants


class Item(msgspec.Struct, frozen=True, omit_defaults=True):
    """One image: its absolute path, its class index where it is labeled, its boxes in a detection set (else None).

    Boxes are in pixels of the upright image (as its EXIF orientation wants it shown), whose (width, height) is `size`;
    `orientation` is the EXIF orientation. Both are known only in a detection set and with a `pair`. `truth`: what a
    task reads from files of its own, as numbers.

    `pair`: the absolute path of the file that belongs to the image (`Wants.pair`); `pairs` opens it. `turn`: the EXIF
    orientation by which the pixels of that file must be turned. `ids`: (value in the file, class) for each known value;
    None if values are classes.
    """

    path: str
    label: int | None
    boxes: tuple[Box, ...] | None = None
    orientation: int = 1
    size: tuple[int, int] | None = None
    truth: tuple[float, ...] | None = None
    pair: str | None = None
    turn: int = 1
    ids: tuple[tuple[int, int], ...] | None = None


class ImageSet(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The images of one split, in a stable order.

    `classes`: the names of the labels; empty if labels are bare indices of the model's classes, or absent. `order`: the
    source of the order of `classes`. "file": a file lists them in the order of the indices. "sorted": sorted names of
    class folders or annotations. "index": the indices themselves. `skeleton`: the keypoints of a set that has some.
    `folder`: the data folder. `read_split`: the split that was read; `split` has another name for a part of it.
    `wants`: the labels that were read; None if the task was not known. `unread`: what the folder has for other tasks,
    such as "masks/", if the task was not known.
    """

    name: str
    split: str
    items: tuple[Item, ...]
    classes: tuple[str, ...]
    order: Literal["file", "sorted", "index"] = "sorted"
    remarks: tuple[Remark, ...] = ()
    skeleton: Skeleton | None = None
    folder: str = ""
    read_split: str = ""
    wants: Wants | None = None
    unread: str = ""

    @property
    def paths(self) -> list[str]:
        """The paths of the images."""
        return [item.path for item in self.items]

    @functools.cached_property
    def digests(self) -> list[str]:
        """The SHA-256 of each image's decoded pixels (see `photos.Photo`), in the order of the items, computed once."""
        return [photo.digest for photo in photos.look(self.paths)]

    def only(self, items: Iterable[Item]) -> ImageSet:
        """Return this set with only `items` as images."""
        return msgspec.structs.replace(self, items=tuple(items))

    def noticed(self, remarks: Iterable[Remark]) -> ImageSet:
        """Return this set with additional `remarks`."""
        return msgspec.structs.replace(self, remarks=merged((*self.remarks, *remarks)))
