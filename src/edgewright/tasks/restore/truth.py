"""The labels that restoration needs: the wanted image for each input, or a degradation that computes inputs."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import msgspec
import numpy as np
from PIL import Image

from edgewright.core import files
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.core.store import default_root
from edgewright.data import pairs, photos
from edgewright.data.choosing import spread
from edgewright.data.fit import as_stored
from edgewright.data.sets import ImageSet, Item
from edgewright.data.wants import Wants
from edgewright.vision.image import open_image

from .spec import Restore, degradation, of

WANTS = Wants(pair="image")
NEEDS = "a wanted image"
CLASSES = False
TURNED = ", and the wanted images were rotated back with them"
SAMPLE = 16
"""Images whose scale is checked before a run."""
MORE = 15
"""Pixels that a wanted image may have more than its input times the scale: the rest of a division."""
FOLDER = "degraded"
"""The folder for computed inputs, in the cache."""


def found(images: ImageSet) -> ImageSet:
    """Return `images` unchanged, because the readers of data sets know these labels."""
    return images


def known(item: Item) -> bool:
    """Whether the wanted image is known."""
    return item.pair is not None


def match(images: ImageSet, spec: ModelSpec) -> ImageSet:
    """Return `images` with wanted images as the model sees the photos: not turned if it does not turn them.

    Raises `InvalidInput` if the wanted images of a sample have another scale than the model.
    """
    scale = of(spec).scale
    for item in spread(images.items, SAMPLE):
        if item.pair is not None and item.size is not None and (found := pairs.scale_of(item)) != scale:
            raise InvalidInput(
                f"{item.pair} has {found} times the size of {item.path}, and the scale of '{spec.name}' is {scale}.",
                "The wanted image must have `scale` times the size of the input.",
                "Use the inputs of this scale (LR/x2 for 2), or correct `scale` in [restore].",
            )
    return images if spec.preprocess.turns else images.only(map(as_stored, images.items))


def derived(images: ImageSet, spec: ModelSpec) -> ImageSet:
    """Return `images` as inputs of the model, each computed from its photo, which is then the wanted image.

    Images with a wanted image are returned unchanged, and so are all if the description names no degradation. The
    inputs are PNG files in the cache.
    """
    section = of(spec)
    if degradation(section) == "none" or all(map(known, images.items)):
        return images
    digests = dict(zip(images.paths, images.digests))
    return images.only(
        item if known(item) else _derived(item, digests[item.path], section, spec) for item in images.items
    )


def degraded(image: Image.Image, section: Restore, digest: str = "") -> Image.Image:
    """Return the input for the wanted `image`. `digest`: a text that selects the noise of this image."""
    if section.scale > 1:
        width, height = (side // section.scale for side in image.size)
        if not min(width, height):
            raise InvalidInput(
                f"An image of {image.width}x{image.height} pixels cannot be reduced by {section.scale}.",
                "Nothing would be left.", "Leave it out.",
            )  # fmt: skip
        whole = image.crop((0, 0, width * section.scale, height * section.scale))
        image = whole.resize((width, height), Image.Resampling.BICUBIC)
    if degradation(section) == "noise":
        random = np.random.default_rng([section.seed, *digest.encode()])
        noisy = np.asarray(image, np.float32) + random.normal(0, section.sigma, np.asarray(image).shape)
        image = Image.fromarray(np.rint(np.clip(noisy, 0, 255)).astype(np.uint8))
    return image


def _derived(item: Item, digest: str, section: Restore, spec: ModelSpec) -> Item:
    settings = (section.scale, degradation(section), section.sigma, section.seed, spec.preprocess.turns)
    key = hashlib.sha256(repr((digest, settings)).encode()).hexdigest()[:16]
    path = default_root() / FOLDER / key / f"{Path(item.path).stem}.png"
    turn = 1 if not spec.preprocess.turns else photos.look([item.path])[0].orientation
    if not path.is_file():
        image = open_image(item.path, spec.preprocess.turns).convert("RGB")
        content = io.BytesIO()
        degraded(image, section, digest).save(content, "PNG")
        files.write(path, content.getvalue())
    return msgspec.structs.replace(item, path=str(path), pair=item.path, turn=turn, size=None, orientation=1)
