"""The labels that instance segmentation needs: the boxes and masks of each image, which may be none."""

from __future__ import annotations

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.data import sets
from edgewright.data.sets import ImageSet, Item
from edgewright.data.wants import Wants

WANTS = Wants(masks=True)
NEEDS = "boxes with masks"
CLASSES = False
TURNED = ", and their boxes and masks were rotated back with them"


def found(images: ImageSet) -> ImageSet:
    """Return `images` unchanged, because the readers of data sets know these labels."""
    return images


def known(item: Item) -> bool:
    """Whether the objects of an image are known."""
    return item.boxes is not None


def match(images: ImageSet, spec: ModelSpec) -> ImageSet:
    """Return `images` with labels as indices of the model's classes.

    Raises `InvalidInput` if they do not match, or if an object has no mask.
    """
    for item in images.items:
        for box in item.boxes or ():
            if box.polygons is None and box.rle is None:
                raise InvalidInput(
                    f"{item.path}: an object of class {box.label} has a box but no mask.",
                    "A model of instance masks is evaluated on masks.",
                    "Add segmentation (COCO: polygons or RLE; YOLO: class x1 y1 x2 y2 ...), or use task detect.",
                )
    return sets.match_labels(images, spec)
