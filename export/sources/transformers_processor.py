"""The preprocessing of an image processor of transformers, as fields of `Preprocess` with the same pixels.

The processor is the library's own class, built from preprocessor_config.json. Its Pillow backend is the reference, as
the models were trained with it. The torchvision backend rounds resized pixels differently: mostly by one level, up to
six at single pixels of photos (bicubic). `fields` derives candidates from the processor's attributes, runs processor
and candidates on the same random images, and returns the candidate with the same 8-bit pixels. So a processor that does
something else is recognized, whatever its class.

A processor that keeps the aspect ratio gives inputs of different sizes. A bundle has one size. Photos are stretched to
it, and the pixels are the library's for photos of that aspect ratio.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import numpy as np
from PIL import Image

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Input, Preprocess
from edgewright.vision import preprocess

_SIZES = ((480, 640), (640, 480), (333, 500), (75, 64))
"""(height, width) of the images on which processor and description are compared; the first decides an open size."""
_EXACT = 0.02
"""The largest difference in levels of 8 bits: float rounding, never a pixel."""
_CLOSE = 8.0
"""The same for a processor without Pillow backend, whose resizing rounds differently."""
_ENOUGH = 3
"""The number of images of one aspect ratio that are compared."""
_MEAN = 0.6
"""The largest mean difference in levels, for such a processor."""


class Found(NamedTuple):
    """The fields of ``preprocess`` in a description, the input's (height, width), notes for the user, and whether id 0
    of masks does not count (ADE20K)."""

    preprocess: dict[str, Any]
    size: tuple[int, int]
    notes: tuple[str, ...]
    reduce_labels: bool


def fields(processor: Any, asked: tuple[int, int] | None = None) -> Found:
    """The description of the image `processor`. `asked`: (height, width), if the processor leaves them open.

    Raises `InvalidInput` if no description gives the processor's pixels.
    """
    name = type(processor).__name__
    images = [_noise(size) for size in _SIZES]
    truth = [_run(processor, image, name) for image in images]
    sizes = {pixels.shape[1:] for pixels in truth}
    open_size = len(sizes) > 1
    if asked is not None and not open_size and asked not in sizes:
        height, width = next(iter(sizes))
        raise InvalidInput(
            f"The source has size={asked[0]}x{asked[1]}, but {name} gives {height}x{width}.",
            "preprocessor_config.json fixes the size.", "Leave the option out.",
        )  # fmt: skip
    size = asked or truth[0].shape[1:]
    notes: tuple[str, ...] = ()
    if open_size:
        images, truth = _of_shape(processor, size, name)
        notes = (
            f"{name} keeps the aspect ratio of photos. The input is fixed to {size[0]}x{size[1]}: photos with that "
            "aspect ratio get the library's pixels, and others are stretched. Option: ?size=HEIGHTxWIDTH.",
        )
    allowed = (_EXACT, _EXACT) if name.endswith("Pil") else (_CLOSE, _MEAN)
    best = float("inf")
    for candidate in _candidates(processor, size, open_size):
        largest, mean = _difference(candidate, size, images, truth)
        best = min(best, largest)
        if largest <= allowed[0] and mean <= allowed[1]:
            if allowed[0] > _EXACT:
                notes += (f"{name} has no Pillow backend. Resized pixels differ by up to {largest:.1f} of 255 levels.",)
            return Found(candidate, size, notes, bool(getattr(processor, "do_reduce_labels", False)))
    raise InvalidInput(
        f"The preprocessing of {name} cannot be described: pixels differ by {min(best, 255):.0f} of 255 levels.",
        "edgewright resizes, crops, pads and normalizes; this processor does more, or in another order.",
        "Export the model to ONNX yourself and describe its preprocessing in a TOML.",
    )


def _noise(size: tuple[int, int]) -> Image.Image:
    random = np.random.default_rng(size[0])
    coarse = Image.fromarray(random.integers(0, 256, (size[0] // 4 + 1, size[1] // 4 + 1, 3), np.uint8))
    fine = random.integers(0, 64, (*size, 3), np.uint8)
    return Image.fromarray((np.asarray(coarse.resize((size[1], size[0]))) // 4 * 3 + fine).astype(np.uint8))


def _run(processor: Any, image: Image.Image, name: str) -> np.ndarray:
    """The float32 pixels (channels, height, width) that the processor gives for `image`."""
    try:
        found = np.asarray(processor(image, return_tensors="np")["pixel_values"])
    except Exception as error:  # the library's processors have no common error
        raise InvalidInput(
            f"{name} fails on a photo of {image.height}x{image.width} pixels: {' '.join(str(error).split())[:150]}",
            "Its preprocessor_config.json does not describe one complete processor.", "Correct that file.",
        ) from None  # fmt: skip
    found = found[0] if found.ndim == 4 else found
    if found.ndim != 3 or found.shape[0] != 3:
        raise InvalidInput(
            f"{name} gives an array of shape {list(found.shape)} for a photo.",
            "A model of one RGB image takes 3 x height x width.", "Export the model to ONNX and describe it in a TOML.",
        )  # fmt: skip
    return found.astype(np.float32)


def _of_shape(processor: Any, size: tuple[int, int], name: str) -> tuple[list[Image.Image], list[np.ndarray]]:
    """Photos of the aspect ratio of `size` for which `processor` gives that size, and its pixels."""
    images, truth = [], []
    for scale in (0.5, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0):
        for wide in (0, 1, -1):
            image = _noise((max(1, round(size[0] * scale)), max(1, round(size[1] * scale) + wide)))
            pixels = _run(processor, image, name)
            if pixels.shape[1:] == size:
                images.append(image)
                truth.append(pixels)
                break
        if len(images) == _ENOUGH:
            break
    if not images:
        raise InvalidInput(
            f"{name} never gives {size[0]}x{size[1]} pixels for a photo of that aspect ratio.",
            "preprocessor_config.json limits the sides or rounds them.",
            "Choose another size: ?size=HEIGHTxWIDTH",
        )
    return images, truth


def _candidates(processor: Any, size: tuple[int, int], open_size: bool) -> Iterator[dict[str, Any]]:
    """Descriptions that may fit, the likely ones first."""
    normalization = _normalization(processor)
    if normalization is None:
        return
    resample = getattr(processor, "resample", None)
    fixed = {
        "interpolation": Image.Resampling(int(resample if resample is not None else 2)).name.lower(), "exif": "apply",
        "rounding": "down", **normalization,
    }  # fmt: skip
    flipped = "BGR" if getattr(processor, "do_flip_channel_order", False) else "RGB"
    for resize in _resizes(processor, size, open_size):
        for color in dict.fromkeys((flipped, "RGB")):
            yield {**fixed, **resize, "color": color}


def _resizes(processor: Any, size: tuple[int, int], open_size: bool) -> Iterator[dict[str, Any]]:
    whole = {"resize": "exact", "resize_to": size}
    said = getattr(processor, "size", None)
    edge, crop = getattr(said, "shortest_edge", None), getattr(processor, "crop_size", None)
    exact = (getattr(said, "height", None), getattr(said, "width", None))
    cropped = (crop.height, crop.width) if crop is not None and getattr(crop, "height", None) else None
    if open_size:
        yield whole
        return
    if not getattr(processor, "do_resize", True):
        yield {"resize": "none", "crop": size}
        return
    share = getattr(processor, "crop_pct", None)
    if edge:
        zoomed = (int(edge / share),) if share else ()
        for side in dict.fromkeys((*zoomed, int(256 / 224 * edge), edge)):
            yield {"resize": "shorter", "resize_to": (side, side), "crop": cropped or size}
            yield {"resize": "shorter", "resize_to": (side, side), "crop": size}
    if all(exact) and share:
        side = int(exact[0] / share)
        yield {"resize": "shorter", "resize_to": (side, side), "crop": cropped or size}
    if all(exact) and cropped:
        yield {"resize": "exact", "resize_to": exact, "crop": cropped}
    yield whole


def _normalization(processor: Any) -> dict[str, Any] | None:
    """``divide``, ``mean`` and ``std``; None if the processor's values cannot be used."""
    factor = float(getattr(processor, "rescale_factor", 1 / 255) or 1 / 255)
    divide = 1.0 / factor if getattr(processor, "do_rescale", True) else 1.0
    divide = float(round(divide)) if abs(divide - round(divide)) < 1e-6 * divide else divide
    mean, std = np.zeros(3), np.ones(3)
    if getattr(processor, "do_rescale", True) and getattr(processor, "rescale_offset", False):
        mean += 1.0
    said = getattr(processor, "image_mean", None), getattr(processor, "image_std", None)
    shift, scale = (
        np.broadcast_to(np.asarray(default if value is None else value, np.float64), (3,))
        for value, default in zip(said, (0.0, 1.0))
    )
    if getattr(processor, "do_normalize", False):
        mean, std = mean + shift, std * scale
    if getattr(processor, "include_top", False):  # EfficientNet divides twice
        std = std * scale
    if (std <= 0).any():
        return None
    return {"divide": divide, "mean": tuple(map(float, mean)), "std": tuple(map(float, std))}


def _difference(
    candidate: dict[str, Any], size: tuple[int, int], images: list[Image.Image], truth: list[np.ndarray]
) -> tuple[float, float]:
    """The largest and the mean difference in levels of 8 bits between the candidate's pixels and `truth`."""
    p = msgspec.convert(candidate, Preprocess)
    i = Input(height=size[0], width=size[1], preprocess=p)
    level = np.asarray(p.std, np.float64)[:, None, None] * p.divide
    worst, mean = 0.0, 0.0
    for image, wanted in zip(images, truth):
        try:
            found = preprocess.preprocess(image, p, i)
        except InvalidInput:
            return float("inf"), float("inf")
        if found.shape != wanted.shape:
            return float("inf"), float("inf")
        gap = np.abs(found.astype(np.float64) - wanted) * level
        worst, mean = max(worst, float(gap.max())), max(mean, float(gap.mean()))
    return worst, mean
