"""The labels that rotated boxes need: the corners of each object of an image, which may have none."""

from __future__ import annotations

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.data import sets
from edgewright.data.sets import ImageSet, Item
from edgewright.data.wants import Wants

WANTS = Wants(corners=True)
NEEDS = "rotated boxes"
CLASSES = False
TURNED = ", and their boxes were rotated back with them"


def found(images: ImageSet) -> ImageSet:
    """Return `images` unchanged, because the readers of data sets know these labels."""
    return images


def known(item: Item) -> bool:
    """Whether the boxes of an image are known."""
    return item.boxes is not None


def match(images: ImageSet, spec: ModelSpec) -> ImageSet:
    """Return `images` with box labels as indices of the model's classes.

    Raises `InvalidInput` if they do not match, or if boxes have no corners.
    """
    upright = [item for item in images.items if any(box.corners is None for box in item.boxes or ())]
    if upright:
        raise InvalidInput(
            f"{upright[0].path} has a box without four corners.",
            "Rotated boxes need a data set with corners: DOTA's text files or YOLO's with eight numbers.",
            'Convert the labels, or use the model as a detector: task = "detect".',
        )
    return sets.match_labels(images, spec)
