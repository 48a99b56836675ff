"""Opening images strictly: an 8-bit RGB or grey picture, or an error that names the file.

The EXIF orientation tag is ignored, as the training libraries do (timm's and torchvision's loaders are
``Image.open(...).convert("RGB")``): a model measured with one rule must not be served with another. A JPEG is always
decoded at full size: Pillow's draft mode is faster and gives other pixels.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image, UnidentifiedImageError

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import MAX_PIXELS

Source: TypeAlias = "str | Path | bytes | np.ndarray | Image.Image"
"""What `open_image` takes: a path, an encoded file's bytes, a uint8 array (HWC RGB, or HW grey), a PIL image."""

Picture: TypeAlias = "Image.Image | np.ndarray"
"""What `open_picture` gives: an array that came as one, else a PIL image of mode "RGB" or "L"."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000")
"""The decoders that a file may reach. Pillow has more, of which EPS starts Ghostscript on the file's own program."""

MAX_ASPECT = 100
"""A more elongated image is refused: scaling its shorter side to the model's size would take gigabytes."""

_CONVERTED = ("1", "LA", "La", "P", "PA", "RGBA", "RGBa", "RGBX", "YCbCr")


def open_image(source: Source) -> Image.Image:
    """The picture in `source`, decoded, as mode "RGB" or (where it is plain grey) "L".

    Palettes and transparency become RGB as ``convert("RGB")`` does it. Raises `InvalidInput` that names the file where
    there is no such file, where it is corrupt, truncated, no image, too large, below 2 pixels or over 100:1, CMYK, or
    has more than 8 bits a channel.
    """
    picture = open_picture(source)
    return Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture


def open_picture(source: Source) -> Picture:
    """As `open_image`, but an array is only checked and stays one: two copies of its pixels less."""
    image = _checked_array(source) if isinstance(source, np.ndarray) else _decoded(source, _name(source))
    width, height = size_of(image)
    if min(width, height) < 2 or max(width, height) > MAX_ASPECT * min(width, height):
        raise InvalidInput(
            f"{_name(source)} is {width}x{height} pixels.",
            f"A side must have at least 2 pixels and the longer one at most {MAX_ASPECT} times the shorter.",
            "Leave this image out, or crop it to the part that matters.",
        )
    if isinstance(image, np.ndarray) or image.mode in ("RGB", "L"):
        return image
    if image.mode in _CONVERTED:
        return image.convert("RGB" if image.mode != "1" else "L")
    raise _unsupported(_name(source), f"has colour mode {image.mode}")


def size_of(image: Picture) -> tuple[int, int]:
    """(width, height) in pixels."""
    return (image.shape[1], image.shape[0]) if isinstance(image, np.ndarray) else image.size


def picture_of(array: np.ndarray) -> Image.Image:
    """The PIL image of a contiguous `array` as `open_picture` gives it, to be read: of one channel it is its memory.

    ``Image.fromarray`` copies the array once more.
    """
    mode = "RGB" if array.ndim == 3 else "L"
    return Image.frombuffer(mode, size_of(array), array, "raw", mode, 0, 1)


def _name(source: Source) -> str:
    """What errors call it: told only then, since telling an array's shape takes longer than resizing a small image."""
    if isinstance(source, (str, Path)):
        return f"Image {source}"
    if isinstance(source, bytes):
        return f"The image in {len(source)} bytes"
    if isinstance(source, np.ndarray):
        return f"The image array {source.shape} {source.dtype}"
    return f"Image {getattr(source, 'filename', '') or '(PIL, in memory)'}"


def _decoded(source: str | Path | bytes | Image.Image, name: str) -> Image.Image:
    """The loaded PIL image; the file is closed again."""
    if isinstance(source, Image.Image):
        return _loaded(source, name)
    if isinstance(source, bytes):
        return _opened(io.BytesIO(source), name)
    path = Path(source)
    # Asked first: a FIFO would hang the reader, a folder gives an errno that says nothing.
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is no regular file" if path.exists() else "does not exist"
        raise InvalidInput(f"{name} {what}.", "An image file was expected.", "Give the path of an image file.")
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise _broken(name, "the file is empty")
            return _opened(file, name)
    except PermissionError as error:
        raise InvalidInput(f"{name} cannot be read.", str(error.strerror), "Change its permissions.") from None


def _opened(file: io.BufferedReader | io.BytesIO, name: str) -> Image.Image:
    try:
        image: Image.Image = Image.open(file, formats=FORMATS)
    except MemoryError:
        raise
    except Image.DecompressionBombError:
        raise _bomb(name) from None
    except UnidentifiedImageError:
        raise _broken(name, f"it is no image in one of the formats {', '.join(FORMATS)}") from None
    except Exception as error:  # Pillow's parsers let anything out: SyntaxError, struct.error, ValueError, KeyError ...
        if isinstance(error.__context__, UnidentifiedImageError):  # Ultralytics wraps Image.open to seek a plugin then
            raise _broken(name, f"it is no image in one of the formats {', '.join(FORMATS)}") from None
        raise _broken(name, f"its header is corrupt ({error})") from error
    return _loaded(image, name)


def _loaded(image: Image.Image, name: str) -> Image.Image:
    if image.width * image.height > MAX_PIXELS:
        raise _bomb(name)
    if _is_deep(image):
        raise _unsupported(name, "has 16 bits a channel")
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # as above
        raise _broken(name, f"it is truncated or corrupt ({error})") from error
    return image


def _is_deep(image: Image.Image) -> bool:
    """Whether the file has 16 bits a channel. Pillow reads 16-bit colour as mode RGB and drops the low byte in silence:
    only the raw mode of the undecoded tiles tells."""
    raw = [tile[3][0] if isinstance(tile[3], tuple) else tile[3] for tile in getattr(image, "tile", ())]
    return any(";16" in str(mode) and not str(mode).startswith("BGR") for mode in raw)  # BGR;16 is a 5-6-5 bitmap


def _checked_array(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise InvalidInput(
            f"{_name(array)} is no image.",
            "An array must be uint8, height x width x 3 (RGB) or height x width (grey).",
            "Convert it first, for instance (array * 255).round().astype('uint8') for floats from 0 to 1.",
        )
    if array.size == 0:
        raise _broken(_name(array), "it has no pixels")
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise _bomb(_name(array))
    return np.ascontiguousarray(array)


def _broken(name: str, why: str) -> InvalidInput:
    return InvalidInput(f"{name} cannot be decoded.", f"The reason: {why}.", "Replace the file or leave it out.")


def _bomb(name: str) -> InvalidInput:
    return InvalidInput(
        f"{name} has more than {MAX_PIXELS} pixels.",
        "Such a file takes gigabytes when it is decoded (a decompression bomb).",
        "Scale it down first, if you trust it.",
    )


def _unsupported(name: str, what: str) -> InvalidInput:
    return InvalidInput(
        f"{name} {what}.",
        "Models are trained on 8-bit RGB or grey images; how to map others to 8 bits is not ours to guess.",
        "Convert it to 8-bit RGB first, in the way that your training did.",
    )
