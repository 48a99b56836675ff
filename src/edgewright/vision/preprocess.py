"""From an image to the model's input, with the same bits as the training library's evaluation transform.

Equal to timm's ``create_transform`` (crop modes "center" and "squash") and torchvision's ``ImageClassification``
presets on PIL images, and to Ultralytics' ``LetterBox`` with OpenCV. The order of the float32 operations is theirs:
divide, subtract, divide. Measured for 224 x 224:
three vectorized passes take 85 us, reading the pixels 35 us; a table of 256 values a channel, which is
exact too, takes 150 us because numpy's gathers are scalar; one multiply-add would be faster and rounds differently.

Not used, because they change pixels: Pillow's ``reducing_gap``, JPEG draft mode, and a ``box`` that computes only
what the crop keeps (Pillow 13 orders its two passes by the sizes, and each pass rounds). Pillow 12 and older start with
the rows always, so between these versions a portrait photo squashed to a square differs by one level in a sixth of its
pixels (14 of 187 COCO photos at 224; none with the shorter side resized), in timm and torchvision as here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Input, ModelSpec, Preprocess

from . import tiles
from .image import ImageSource, Picture, open_image, open_picture, picture_of, size_of
from .resize import Planes, bilinear, planes


class Placement(msgspec.Struct, frozen=True):
    """Where an image is in the model's input: x there is x in the image times `scale_x` plus `left`, in pixels."""

    scale_x: float
    scale_y: float
    left: int
    top: int


def preprocess(image: Picture, p: Preprocess, i: Input) -> np.ndarray:
    """One image as the model takes it, without a batch axis: the pixels in the input's type where the graph normalizes,
    else float32.

    `image` as `open_picture` returns it. `p.mean` and `p.std` are in the order of the model's channels (`p.color`).
    Where `p.resize` is "shorter" and `p.resize_to` is not square, the image is scaled to just cover (height, width), as
    timm does. Raises `InvalidInput` if `p` and `i` contradict each other.
    """
    out = np.empty(i.shape()[1:], _dtype(p, i))
    _fill(out, image, p, i)
    return out


def batch(images: Sequence[ImageSource], spec: ModelSpec) -> np.ndarray:
    """All `images` opened, preprocessed and stacked in the model's layout, with N first; C-contiguous."""
    out = np.empty(spec.input.shape(len(images)), _dtype(spec.preprocess, spec.input))
    for row, source in zip(out, images):
        _fill(row, open_picture(source, spec.preprocess.turns), spec.preprocess, spec.input)
    return out


def placement(size: tuple[int, int], p: Preprocess, i: Input) -> Placement:
    """Where preprocessing puts an image of (width, height) `size`.

    The scale is that of the resized pixels. Their numbers are whole, so the two scales of a letterbox differ a little.

    Raises `InvalidInput` if `p` and `i` contradict each other.
    """
    width, height = _target(size, p)
    scale_x, scale_y = width / size[0], height / size[1]
    left, top = 0, 0
    if p.resize == "letterbox":
        left, top = _margins((width, height), p)
        height, width = p.resize_to
    if p.crop:
        left, top = left - _start(width, p.crop[1], p), top - _start(height, p.crop[0], p)
        height, width = p.crop
    _check_size(height, width, i)
    return Placement(scale_x, scale_y, left, top)


def _dtype(p: Preprocess, i: Input) -> np.dtype[Any]:
    return np.dtype(i.dtype if p.normalize == "graph" else np.float32)


def _fill(out: np.ndarray, image: Picture, p: Preprocess, i: Input) -> None:
    """Write the preprocessed image into `out`, a C-contiguous view of one row of the batch.

    Only the part that the image reaches is normalized; what is around it is one color.
    """
    if i.channels != (1 if p.color == "L" else 3):
        raise _contradiction(f"the color order {p.color} does not give {i.channels} channels")
    image = _colored(image, p)
    if p.resize == "tiles":  # one row holds one tile
        image = tiles.center(image, (i.height, i.width))
    place = placement(size_of(image), p, i)
    rows = out if i.layout == "NHWC" else out.transpose(1, 2, 0)  # (height, width, channels), whatever is in memory
    pixels = _resized(image, p, _room(rows, size_of(image), place, p))
    if pixels.ndim == 2:
        pixels = pixels[..., None]  # one gray channel, repeated by broadcasting where the model takes three
    top, left = max(place.top, 0), max(place.left, 0)
    pixels = pixels[top - place.top :, left - place.left :][: i.height - top, : i.width - left]
    bottom, right = top + pixels.shape[0], left + pixels.shape[1]
    inside = rows[top:bottom, left:right]
    if p.normalize == "host":
        _normalize(inside.transpose(2, 0, 1), planes(pixels)[:: -1 if p.color == "BGR" else 1], p)
    elif not np.may_share_memory(inside, pixels):
        inside[...] = pixels[..., ::-1] if p.color == "BGR" else pixels
    if (i.height, i.width) != pixels.shape[:2]:
        around = _around(p, i).reshape(-1)
        for border in (rows[:top], rows[bottom:], rows[top:bottom, :left], rows[top:bottom, right:]):
            # Of one gray, as most are, a fill; a color's channels are written one by one.
            border[...] = around[0] if (around == around[0]).all() else around


def _around(p: Preprocess, i: Input) -> np.ndarray:
    """The color outside the image, (channels, 1, 1), as the model takes it: a letterbox's, or black around a crop."""
    color = np.empty((i.channels, 1, 1), _dtype(p, i))
    color[...] = np.reshape(p.pad if p.resize == "letterbox" else 0, (-1, 1, 1))
    if p.normalize == "host":
        _normalize(color, color.copy(), p)
    return color


def _room(rows: np.ndarray, size: tuple[int, int], place: Placement, p: Preprocess) -> np.ndarray | None:
    """The part of `rows` that an image of (width, height) `size` fills as it is when resized; None if it must be
    copied there: where it is cut off, or channels, type or memory are in another order."""
    width, height = _target(size, p)
    if min(place.left, place.top) < 0 or p.color != "RGB" or rows.dtype != np.uint8:
        return None
    room = rows[place.top : place.top + height, place.left : place.left + width]
    return room if room.shape[:2] == (height, width) and room.flags.c_contiguous else None


def _colored(image: Picture, p: Preprocess) -> Picture:
    """`image` as RGB or L. Gray stays one channel for an RGB model: each channel would be resized to the same bits."""
    if isinstance(image, np.ndarray):
        if p.color != "L" or image.ndim == 2:
            return image
        image = picture_of(image)
    if image.mode not in ("RGB", "L"):
        image = open_image(image, p.turns)
    return image.convert("L") if p.color == "L" and image.mode != "L" else image


def _resized(image: Picture, p: Preprocess, into: np.ndarray | None) -> np.ndarray:
    """The resized pixels, (height, width) or (height, width, 3); where that is faster, they are in `into`."""
    width, height = _target(size_of(image), p)
    if p.interpolation == "opencv":
        pixels = np.asarray(image)
        return bilinear(pixels, width, height, into if pixels.ndim == 3 else None)
    if size_of(image) == (width, height):
        return np.asarray(image)
    if isinstance(image, np.ndarray):
        image = picture_of(image)
    return np.asarray(image.resize((width, height), Image.Resampling[p.interpolation.upper()]))


def _target(size: tuple[int, int], p: Preprocess) -> tuple[int, int]:
    """(width, height) to resize to: torchvision's ``Resize``, or timm's ``ResizeKeepRatio`` where it is not square;
    Ultralytics' ``LetterBox`` for a letterbox, before its margins are added."""
    width, height = size
    to_height, to_width = p.resize_to
    if p.resize in ("none", "tiles"):
        return size
    if p.resize == "exact":
        return to_width, to_height
    if p.resize == "letterbox":
        scale = min(to_height / height, to_width / width)
        return max(1, round(width * scale)), max(1, round(height * scale))
    if to_height != to_width:
        ratio = min(height / to_height, width / to_width)
        return round(width / ratio), round(height / ratio)
    if width <= height:
        return to_height, int(to_height * height / width)
    return int(to_height * width / height), to_height


def _margins(size: tuple[int, int], p: Preprocess) -> tuple[int, int]:
    """Where a letterbox puts the resized image of (width, height) `size`: (left, top). An odd pixel goes behind it."""
    if p.align == "corner":
        return 0, 0
    (width, height), (to_height, to_width) = size, p.resize_to
    return round((to_width - width) / 2 - 0.1), round((to_height - height) / 2 - 0.1)


def _start(size: int, crop: int, p: Preprocess) -> int:
    """Where the center crop starts, in torchvision's ``center_crop`` or in transformers'; negative: that many pixels of
    padding come first."""
    if p.rounding == "down":
        return (size - crop) // 2
    return -((crop - size) // 2) if crop > size else round((size - crop) / 2)


def _check_size(height: int, width: int, i: Input) -> None:
    if (height, width) != (i.height, i.width):
        raise _contradiction(f"it gives {height}x{width} pixels, the input takes {i.height}x{i.width}")


def _normalize(out: np.ndarray, pixels: Planes, p: Preprocess) -> None:
    """(pixel / divide - mean) / std, each step rounded to float32 as in torch, from `pixels` into `out`, both
    (channels, height, width); one plane of pixels serves all channels. Plane by plane, each stays in the cache."""
    channels = 1 if p.color == "L" else 3
    if not len(p.mean) == len(p.std) == channels:
        raise _contradiction(f"mean and std must have {channels} values each, they have {len(p.mean)} and {len(p.std)}")
    if p.divide == 0 or 0 in p.std:
        raise _contradiction("divide and std must not be 0")
    for number in range(len(out)):
        plane = pixels[number % len(pixels)]
        if p.divide == 1:
            out[number] = plane  # a third of a division's time
        else:
            np.divide(plane, np.float32(p.divide), out=out[number], dtype=np.float32)
        mean, std = np.float32(p.mean[number % channels]), np.float32(p.std[number % channels])
        if mean:  # detectors often have neither, and each pass over the pixels takes time
            out[number] -= mean
        if std != 1:
            out[number] /= std


def _contradiction(why: str) -> InvalidInput:
    return InvalidInput(
        "The model's preprocessing does not fit its input.", f"As described, {why}.", "Correct the model's spec."
    )
