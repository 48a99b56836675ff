"""The labels that restoration needs: the wanted image for each input, or a degradation that computes inputs."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import numpy as np
from PIL import Image

from edgewright.core import files
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.core.store import Store
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
"""The stage of computed inputs in the store."""


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
    items = images.items
    inputs = {
        "images": [digest for item, digest in zip(items, images.digests) if not known(item)], "scale": section.scale,
        "degrade": degradation(section), "sigma": section.sigma, "seed": section.seed, "turns": spec.preprocess.turns,
        "names": [Path(item.path).stem for item in items],
    }  # fmt: skip
    made = Store().stage(FOLDER, inputs, lambda folder: _write(folder, images, section, spec.preprocess.turns)).path
    return images.only(
        item if known(item) else _derived(item, made / _name(number, item), spec) for number, item in enumerate(items)
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


def _write(folder: Path, images: ImageSet, section: Restore, turn: bool) -> None:
    """Write the input for each image without a wanted image."""
    for number, (item, digest) in enumerate(zip(images.items, images.digests)):
        if not known(item):
            image = open_image(item.path, turn).convert("RGB")
            content = io.BytesIO()
            degraded(image, section, digest).save(content, "PNG", compress_level=1)
            files.write(folder / _name(number, item), content.getvalue())


def _name(number: int, item: Item) -> str:
    """Return the place of an input in the entry of the store. It keeps the name of its photo for reports."""
    return f"{number:05}/{Path(item.path).stem}.png"


def _derived(item: Item, path: Path, spec: ModelSpec) -> Item:
    turn = photos.look([item.path])[0].orientation if spec.preprocess.turns else 1
    return msgspec.structs.replace(item, path=str(path), pair=item.path, turn=turn, size=None, orientation=1)
