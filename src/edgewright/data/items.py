"""What a data set is once it is read: images in a stable order with their labels or boxes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from .boxes import Box
from .remarks import Remark, merged


class Item(msgspec.Struct, frozen=True):
    """One image: its absolute path, its class index where it is labelled, its boxes in a detection set (else None).

    Boxes are in pixels of the upright image (as its EXIF orientation wants it shown), whose (width, height) is `size`;
    `orientation` is the EXIF orientation. Both are known in a detection set only.
    """

    path: str
    label: int | None
    boxes: tuple[Box, ...] | None = None
    orientation: int = 1
    size: tuple[int, int] | None = None


class ImageSet(msgspec.Struct, frozen=True, kw_only=True):
    """The images of one split, in a stable order.

    `classes` names what the labels index; empty where labels are bare indices of the model's classes, or absent.
    `order` says where the places of `classes` come from: a file that lists them in the order of the indices ("file"),
    the sorted names of class folders or of annotations ("sorted"), or the indices themselves ("index").
    """

    name: str
    split: str
    items: tuple[Item, ...]
    classes: tuple[str, ...]
    order: Literal["file", "sorted", "index"] = "sorted"
    remarks: tuple[Remark, ...] = ()

    def noticed(self, remarks: Iterable[Remark]) -> ImageSet:
        """This set with further `remarks`."""
        return msgspec.structs.replace(self, remarks=merged((*self.remarks, *remarks)))
