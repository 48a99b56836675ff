"""From an image to the model's input, with the same bits as the training library's evaluation transform.

Equal to timm's ``create_transform`` (crop modes "center" and "squash") and torchvision's ``ImageClassification``
presets on PIL images. The order of the float32 operations is theirs: divide, subtract, divide. Measured for 224 x 224:
three vectorised passes take 85 us beside 35 us for reaching the pixels; a table of 256 values a channel, which is
exact too, takes 150 us because numpy's gathers are scalar; one multiply-add would be faster and rounds differently.

Not used, because they change pixels: Pillow's ``reducing_gap``, JPEG draft mode, and a ``box`` that computes only
what the crop keeps (Pillow 13 orders its two passes by the sizes, and each pass rounds). Pillow 12 and older start with
the rows always, so between these versions a portrait photo squashed to a square differs by one level in a sixth of its
pixels (14 of 187 COCO photos at 224; none with the shorter side resized), in timm and torchvision as here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Input, ModelSpec, Preprocess

from .image import Source, open_image


def preprocess(image: Image.Image, p: Preprocess, i: Input) -> np.ndarray:
    """One image as the model takes it, without a batch axis: float32, or uint8 where the graph normalizes.

    `image` as `open_image` returns it. `p.mean` and `p.std` are in the order of the model's channels (`p.color`). Where
    `p.resize` is "shorter" and `p.resize_to` is not square, the image is scaled to just cover (height, width), as timm
    does. Raises `InvalidInput` where `p` and `i` contradict each other.
    """
    out = np.empty(i.shape()[1:], _dtype(p))
    _fill(out, image, p, i)
    return out


def batch(images: Sequence[Source], spec: ModelSpec) -> np.ndarray:
    """All `images` opened, preprocessed and stacked in the model's layout, with N first; C-contiguous."""
    out = np.empty(spec.input.shape(len(images)), _dtype(spec.preprocess))
    for row, source in zip(out, images):
        _fill(row, open_image(source), spec.preprocess, spec.input)
    return out


def _dtype(p: Preprocess) -> type[np.uint8] | type[np.float32]:
    return np.uint8 if p.normalize == "graph" else np.float32


def _fill(out: np.ndarray, image: Image.Image, p: Preprocess, i: Input) -> None:
    """Write the preprocessed image into `out`, a C-contiguous view of one row of the batch."""
    if i.channels != (1 if p.color == "L" else 3):
        raise _contradiction(f"the colour order {p.color} does not give {i.channels} channels")
    image = _sized(_colored(image, p), p)
    if image.size != (i.width, i.height):
        raise _contradiction(f"it gives {image.height}x{image.width} pixels, the input takes {i.height}x{i.width}")
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[..., None]  # one grey channel, repeated by broadcasting where the model takes three
    if p.color == "BGR":
        pixels = pixels[..., ::-1]
    planes = i.layout == "NCHW"
    out[...] = pixels.transpose(2, 0, 1) if planes else pixels
    if p.normalize == "host":
        _normalize(out, p, (-1, 1, 1) if planes else (-1,))


def _colored(image: Image.Image, p: Preprocess) -> Image.Image:
    """`image` as RGB or L. Grey stays one channel for an RGB model: each channel would be resized to the same bits."""
    if image.mode not in ("RGB", "L"):
        image = open_image(image)
    return image.convert("L") if p.color == "L" and image.mode != "L" else image


def _sized(image: Image.Image, p: Preprocess) -> Image.Image:
    """Resize and centre crop; beyond the image is black."""
    width, height = _target(image.size, p)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling[p.interpolation.upper()])
    crop_height, crop_width = p.crop or (height, width)
    if image.size == (crop_width, crop_height):
        return image
    left, top = _start(width, crop_width), _start(height, crop_height)
    return image.crop((left, top, left + crop_width, top + crop_height))


def _target(size: tuple[int, int], p: Preprocess) -> tuple[int, int]:
    """(width, height) to resize to: torchvision's ``Resize``, or timm's ``ResizeKeepRatio`` where it is not square."""
    width, height = size
    to_height, to_width = p.resize_to
    if p.resize == "none":
        return size
    if p.resize == "exact":
        return to_width, to_height
    if to_height != to_width:
        ratio = min(height / to_height, width / to_width)
        return round(width / ratio), round(height / ratio)
    if width <= height:
        return to_height, int(to_height * height / width)
    return int(to_height * width / height), to_height


def _start(size: int, crop: int) -> int:
    """Where torchvision's ``center_crop`` starts; negative: that many pixels of padding come first."""
    return -((crop - size) // 2) if crop > size else round((size - crop) / 2)


def _normalize(out: np.ndarray, p: Preprocess, shape: tuple[int, ...]) -> None:
    """(pixel / divide - mean) / std in place, each step rounded to float32 as torch does."""
    channels = 1 if p.color == "L" else 3
    if not len(p.mean) == len(p.std) == channels:
        raise _contradiction(f"mean and std must have {channels} values each, they have {len(p.mean)} and {len(p.std)}")
    if p.divide == 0 or 0 in p.std:
        raise _contradiction("divide and std must not be 0")
    out /= np.float32(p.divide)
    out -= np.asarray(p.mean, np.float32).reshape(shape)
    out /= np.asarray(p.std, np.float32).reshape(shape)


def _contradiction(why: str) -> InvalidInput:
    return InvalidInput(
        "The model's preprocessing does not fit its input.", f"As described, {why}.", "Correct the model's spec."
    )
