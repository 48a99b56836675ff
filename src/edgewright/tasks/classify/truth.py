"""The labels that classification needs: one class per image."""

from __future__ import annotations

from edgewright.core.spec import ModelSpec
from edgewright.data import sets
from edgewright.data.sets import ImageSet, Item
from edgewright.data.wants import PLAIN

WANTS = PLAIN
NEEDS = "a class an image"
CLASSES = True
TURNED = ""


def found(images: ImageSet) -> ImageSet:
    """Return `images` unchanged, because the readers of data sets know these labels."""
    return images


def known(item: Item) -> bool:
    """Whether the class of an image is known."""
    return item.label is not None


def match(images: ImageSet, spec: ModelSpec) -> ImageSet:
    """Return `images` with labels as indices of the model's classes. Raises `InvalidInput` if labels are missing or
    differ."""
    return sets.match_labels(images, spec)
