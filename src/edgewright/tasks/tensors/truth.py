"""The labels that the task needs: none. The float model's outputs are the truth."""

from __future__ import annotations

from edgewright.core.spec import ModelSpec
from edgewright.data.items import ImageSet, Item
from edgewright.data.wants import PLAIN

WANTS = PLAIN
NEEDS = "nothing"
CLASSES = False
TURNED = ""


def found(images: ImageSet) -> ImageSet:
    """Return `images` unchanged."""
    return images


def known(item: Item) -> bool:
    """Return True, because no label is needed."""
    return True


def match(images: ImageSet, spec: ModelSpec) -> ImageSet:
    """Return `images` unchanged."""
    return images
