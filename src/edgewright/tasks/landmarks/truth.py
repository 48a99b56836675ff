"""The labels that landmarks need: one object with keypoints in each image."""

from __future__ import annotations

from pathlib import Path

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.data import crops
from edgewright.data.sets import ImageSet, Item
from edgewright.data.wants import Wants

from . import spec as section

WANTS = Wants(keypoints=True)
NEEDS = "one object with keypoints an image"
CLASSES = False
TURNED = ", and their points were rotated back with them"


def derived(images: ImageSet, spec: ModelSpec) -> ImageSet:
    """Return the objects of `images`, each cut out as an image of its own, if the section's `crop` says so."""
    crop = section.of(spec).crop
    if crop is None:
        return images
    return crops.stored(images, crops.Crops(scale=crop, aspect=spec.input.width / spec.input.height))


def found(images: ImageSet) -> ImageSet:
    """Return `images` unchanged, because the readers of data sets know these labels."""
    return images


def known(item: Item) -> bool:
    """Whether the image has an object with keypoints."""
    return any(box.keypoints is not None for box in item.boxes or ())


def match(images: ImageSet, spec: ModelSpec) -> ImageSet:
    """Return `images` with the one object of each. Raises `InvalidInput` if an image has several or none, and if the
    numbers of points differ."""
    d, kept = section.of(spec), list[Item]()
    for item in images.items:
        objects = [box for box in item.boxes or () if box.keypoints is not None and not box.crowd]
        name = Path(item.path).name
        if len(objects) != 1:
            raise InvalidInput(
                f"{name} has {len(objects)} objects with keypoints.",
                f"'{spec.name}' gives the points of one object for each image.",
                "Set crop = 1.25 in [landmarks] to cut each object out, or use the task pose.",
            )
        points = len(objects[0].keypoints or ())
        if points != d.points:
            raise InvalidInput(
                f"The object in {name} has {points} keypoints, but '{spec.name}' gives {d.points}.",
                "The points of the labels and of the model must be the same, in the same order.",
                "Correct points in the model's spec, or use labels of this model's points.",
            )
        kept.append(item)
    return images.only(kept)
