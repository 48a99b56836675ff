"""The labels that depth estimation needs: a depth map for each image."""

from __future__ import annotations

import numpy as np

from edgewright.core.spec import ModelSpec
from edgewright.data import pairs, units
from edgewright.data.fit import as_stored
from edgewright.data.sets import ImageSet, Item
from edgewright.data.wants import Wants

from .spec import of

WANTS = Wants(pair="depth")
NEEDS = "a depth map"
CLASSES = False
TURNED = ", and their depth maps were rotated back with them"


def found(images: ImageSet) -> ImageSet:
    """Return `images` unchanged, because the readers of data sets know these labels."""
    return images


def known(item: Item) -> bool:
    """Whether an image has a depth map."""
    return item.pair is not None


def match(images: ImageSet, spec: ModelSpec) -> ImageSet:
    """Return `images` with depth maps as the model sees the photos: not turned if it does not turn them.

    Raises `InvalidInput` if depth maps of a sample are pictures, or are in another unit than meters.
    """
    images = units.require_meters(images, of(spec).truth_scale, relative=of(spec).unit == "relative")
    return images if spec.preprocess.turns else images.only(map(as_stored, images.items))


def meters(item: Item, spec: ModelSpec) -> np.ndarray:
    """Return the true depth in meters, (height, width) float32; NaN where it is unknown."""
    return pairs.depth_map(item, of(spec).truth_scale)
