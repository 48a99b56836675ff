"""What a data set must hold for classification: a class an image."""

from __future__ import annotations

from edgewright.core.spec import ModelSpec
from edgewright.data import sets
from edgewright.data.sets import ImageSet, Item

NEEDS = "a class an image"
CLASSES = True
TURNED = ""


def found(images: ImageSet) -> ImageSet:
    """`images` as they are: the readers of data sets know this truth."""
    return images


def known(item: Item) -> bool:
    """Whether the class of an image is known."""
    return item.label is not None


def match(images: ImageSet, spec: ModelSpec) -> ImageSet:
    """`images` with labels as indices of the model's classes; `InvalidInput` where some have none or do not match."""
    return sets.match_labels(images, spec)
