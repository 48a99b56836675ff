"""The labels that poses need: the boxes of each image with keypoints."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.data import crops, sets
from edgewright.data.sets import ImageSet, Item
from edgewright.data.wants import Wants

from . import spec as section

WANTS = Wants(keypoints=True)
NEEDS = "boxes with keypoints"
CLASSES = False
TURNED = ", and their keypoints were rotated back with them"


def derived(images: ImageSet, spec: ModelSpec) -> ImageSet:
    """Return the objects of `images`, each cut out as an image of its own, if the section's `crop` says so."""
    crop = section.of(spec).crop
    if crop is None:
        return images
    return crops.stored(images, crops.Crops(scale=crop, aspect=spec.input.width / spec.input.height))


def found(images: ImageSet) -> ImageSet:
    """Return `images` with the set's OKS sigmas as `Item.truth`."""
    skeleton = images.skeleton
    if skeleton is None or not skeleton.sigmas:
        return images
    items = [msgspec.structs.replace(item, truth=skeleton.sigmas) for item in images.items]
    return msgspec.structs.replace(images, items=tuple(items))


def known(item: Item) -> bool:
    """Whether the boxes of an image, if there are any, have keypoints."""
    return item.boxes is not None and all(box.keypoints is not None for box in item.boxes)


def match(images: ImageSet, spec: ModelSpec) -> ImageSet:
    """Return `images` with the model's class indices. Raises `InvalidInput` if classes or numbers of points differ."""
    d = section.of(spec)
    for item in images.items:
        other = next((n for box in item.boxes or () if (n := len(box.keypoints or ())) not in (0, d.points)), None)
        if other is not None:
            raise InvalidInput(
                f"An object in {Path(item.path).name} has {other} keypoints, but '{spec.name}' gives {d.points}.",
                "The points of the labels and of the model must be the same, in the same order.",
                "Correct points in the model's spec, or use labels of this model's points.",
            )
    return sets.match_labels(images, spec)
