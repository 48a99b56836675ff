"""Opening images strictly: an 8-bit RGB or gray picture, or an error that names the file."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from PIL import Image

from edgewright.core import image_files
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import MAX_PIXELS

File: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO"
"""An image file: its path, its bytes, or an open file (mode "rb")."""

ImageSource: TypeAlias = "File | np.ndarray | Image.Image | Any"
"""What `open_image` takes: a `File`, a uint8 array (HWC RGB, or HW gray), a uint8 torch tensor (3HW, or HW), a PIL
image. Any: torch is not imported here."""

Picture: TypeAlias = "Image.Image | np.ndarray"
"""What `open_picture` gives: an array that came as one, else a PIL image of mode "RGB" or "L"."""


def open_image(source: ImageSource, turn: bool = False) -> Image.Image:
    """The picture in `source`, decoded, as mode "RGB" or (where it is plain gray) "L".

    `turn`: apply the EXIF orientation (a spec says this: `Preprocess.turns`). Palettes, transparency and CMYK become
    RGB as ``convert("RGB")`` does it. Raises `InvalidInput` that names the file where there is no such file, where it
    is corrupt, truncated, no image, too large, below 2 pixels or over 100:1, or has more than 8 bits a channel.
    """
    picture = open_picture(source, turn)
    return Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture


def open_picture(source: ImageSource, turn: bool = False) -> Picture:
    """As `open_image`, but an array is only checked and stays one: two copies of its pixels less."""
    if not isinstance(source, _KNOWN):
        source = _converted(source)
    image = _checked_array(source) if isinstance(source, np.ndarray) else _decoded(source, _name(source))
    mode = "RGB" if isinstance(image, np.ndarray) else image.mode
    if error := image_files.unusable(size_of(image), mode, lambda: _name(source)):
        raise error
    if isinstance(image, np.ndarray):
        return image
    if turn:
        image = image_files.upright(image)
    return image if image.mode in ("RGB", "L") else image.convert("L" if image.mode == "1" else "RGB")


def size_of(image: Picture) -> tuple[int, int]:
    """(width, height) in pixels."""
    return (image.shape[1], image.shape[0]) if isinstance(image, np.ndarray) else image.size


def picture_of(array: np.ndarray) -> Image.Image:
    """The PIL image of a contiguous `array` as `open_picture` gives it, to be read: of one channel it is its memory.

    ``Image.fromarray`` copies the array once more.
    """
    mode = "RGB" if array.ndim == 3 else "L"
    return Image.frombuffer(mode, size_of(array), array, "raw", mode, 0, 1)


_KNOWN = (str, os.PathLike, bytes, bytearray, np.ndarray, Image.Image)


def _converted(source: Any) -> Any:
    """`source` where it is an open file, the array of a torch tensor, the bytes of a memoryview (which may have steps).

    Raises `InvalidInput` for anything else.
    """
    if isinstance(source, memoryview):
        return source.tobytes()
    kind = type(source)
    if any(base.__name__ == "Tensor" and base.__module__ == "torch" for base in kind.__mro__):  # tv_tensors.Image, too
        return _array_of_tensor(source)
    if callable(getattr(source, "read", None)):
        return source
    raise InvalidInput(
        f"A value of type {kind.__name__} is not an image.",
        "An image is a path, the bytes of an image file (bytes, bytearray, memoryview), an open file, a PIL image, a "
        "uint8 array (height, width, 3) or a uint8 torch tensor (3, height, width). Several are a list or a tuple.",
        "Convert it to one of these, for instance list(images) for a generator.",
    )


def _array_of_tensor(tensor: Any) -> np.ndarray:
    """A uint8 torch tensor in torchvision's order (channels, height, width) as an array (height, width, channels)."""
    shape = tuple(tensor.shape)
    if str(tensor.dtype) != "torch.uint8" or not (len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3))):
        raise InvalidInput(
            f"The tensor {shape} {tensor.dtype} is not an image.",
            "A tensor must be uint8, (3, height, width) in RGB or (height, width) in gray; give several as a list.",
            "Convert it first, for instance (tensor * 255).round().to(torch.uint8) for floats from 0 to 1.",
        )
    try:
        array: np.ndarray = tensor.detach().cpu().numpy()
    except (TypeError, NotImplementedError):  # a sparse one, one on the device "meta"
        raise InvalidInput(
            f"The tensor {shape} ({tensor.layout}, device {tensor.device}) cannot be read.",
            "A tensor must be dense and hold its values.",
            "Convert a sparse tensor with tensor.to_dense(). A tensor on the device meta has no values.",
        ) from None
    if array.ndim == 2:
        return array
    return array[0] if shape[0] == 1 else array.transpose(1, 2, 0)


def _name(source: ImageSource) -> str:
    """Its name in errors, made only then: the text of an array's shape takes longer than resizing a small image."""
    if isinstance(source, (str, os.PathLike)):
        return f"Image {os.fspath(source)}"
    if isinstance(source, (bytes, bytearray)):
        return f"The image in {len(source)} bytes"
    if callable(getattr(source, "read", None)) and not isinstance(source, Image.Image):
        return f"The image in {getattr(source, 'name', '') or 'the open file'}"
    if isinstance(source, np.ndarray):
        return f"The image array {source.shape} {source.dtype}"
    return f"Image {getattr(source, 'filename', '') or '(PIL, in memory)'}"


def _decoded(source: Any, name: str) -> Image.Image:
    """The loaded PIL image of a path, bytes, an open file or a PIL image."""
    if isinstance(source, Image.Image):
        return image_files.loaded(source, name)
    if isinstance(source, (str, os.PathLike)):
        return image_files.read(Path(source), name)
    content = source if isinstance(source, (bytes, bytearray)) else _read(source, name)
    if not len(content):
        raise image_files.broken(name, "it is empty")
    return image_files.decoded(io.BytesIO(content), name)


def _read(file: BinaryIO, name: str) -> bytes:
    """All bytes of an open file, from its beginning: an upload was often read before, to check it."""
    try:
        if hasattr(file, "seek"):
            with contextlib.suppress(OSError):  # a pipe or socket cannot, and is read from where it stands
                file.seek(0)
        content = file.read()
    except (OSError, ValueError) as error:  # a medium or connection that fails; a closed file; a text file
        why = str(error).rstrip(".") or type(error).__name__
        raise InvalidInput(
            f"{name} cannot be read.", f"The reason: {why}.", 'Give a file that is open with mode "rb", or its bytes.'
        ) from error
    if not isinstance(content, bytes):
        raise InvalidInput(f"{name} gives text.", "An image file is binary.", 'Open the file with mode "rb".')
    return content


def _checked_array(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise InvalidInput(
            f"{_name(array)} is not an image.",
            "An array must be uint8, height x width x 3 (RGB) or height x width (gray).",
            "Convert it first, for instance (array * 255).round().astype('uint8') for floats from 0 to 1.",
        )
    if array.size == 0:
        raise image_files.broken(_name(array), "it has no pixels")
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise image_files.bomb(_name(array))
    return np.ascontiguousarray(array)
