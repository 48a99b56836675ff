"""What a data set must hold for detection: boxes, which may be none for an image."""

from __future__ import annotations

from edgewright.core.spec import ModelSpec
from edgewright.data import sets
from edgewright.data.sets import ImageSet, Item

NEEDS = "boxes"
CLASSES = False
TURNED = ", and their boxes were rotated back with them"


def found(images: ImageSet) -> ImageSet:
    """`images` as they are: the readers of data sets know this truth."""
    return images


def known(item: Item) -> bool:
    """Whether the boxes of an image are known."""
    return item.boxes is not None


def match(images: ImageSet, spec: ModelSpec) -> ImageSet:
    """`images` with the labels of boxes as indices of the model's classes; `InvalidInput` where they do not match."""
    return sets.match_labels(images, spec)
