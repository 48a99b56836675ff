"""The labels that a task reads from a data set."""

from __future__ import annotations

from typing import Literal

import msgspec

Pair = Literal["classes", "depth", "image"]
"""Files that belong to an image: a map of class ids, a depth map, or the image that a network restores."""


class Wants(msgspec.Struct, frozen=True, kw_only=True):
    """The labels that a task reads. The default is a class for each image, or boxes.

    `masks`: `Box.polygons` or `Box.rle`. `keypoints`: `Box.keypoints` and `ImageSet.skeleton`. `corners`:
    `Box.corners`. `pair`: the file `Item.pair`. A reader leaves all of them out if the task does not ask for them.
    """

    masks: bool = False
    keypoints: bool = False
    corners: bool = False
    pair: Pair | None = None


PLAIN = Wants()
"""A class for each image, or boxes."""
