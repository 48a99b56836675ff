"""The labels that detection needs: the boxes of each image, which may be none."""

from __future__ import annotations

from edgewright.core.spec import ModelSpec
from edgewright.data import sets
from edgewright.data.sets import ImageSet, Item
from edgewright.data.wants import PLAIN

WANTS = PLAIN
NEEDS = "boxes"
CLASSES = False
TURNED = ", and their boxes were rotated back with them"


def found(images: ImageSet) -> ImageSet:
    """Return `images` unchanged, because the readers of data sets know these labels."""
    return images


def known(item: Item) -> bool:
    """Whether the boxes of an image are known."""
    return item.boxes is not None


def match(images: ImageSet, spec: ModelSpec) -> ImageSet:
    """Return `images` with box labels as indices of the model's classes. Raises `InvalidInput` if they do not match."""
    return sets.match_labels(images, spec)
