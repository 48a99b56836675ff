"""Open the file that belongs to an image (`Item.pair`): a map of class ids, a depth map, or an image to restore.

Files are opened when their image is scored. Sizes were checked before, from the files' headers.
"""

from __future__ import annotations

import contextlib
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgewright.core import image_files
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import MAX_PIXELS

from .items import Item
from .runs import bits, rotated

IGNORE = 65535
"""The class of pixels that do not count."""

BORDER = 255
"""The value of such pixels in a file, in the format of Pascal VOC and most others."""

ARRAYS = (".npy", ".npz")
"""Suffixes of depth maps that are arrays."""

MILLIMETERS = 1000.0
"""Values per meter in a 16-bit PNG, if nothing else is known. KITTI has 256."""

_LARGEST, _UNKNOWN = 65535, 65534
"""The largest value of a file without colors, and the class of values that are not known."""

Ids = tuple[tuple[int, int], ...]
"""(value in a file, class) of each known value."""


def class_map(item: Item) -> NDArray[np.uint16]:
    """Return the class of each pixel of the image, (height, width); `IGNORE` where none is known.

    A value has the class in `item.ids`. Without ids, values are classes, and 255 is ignored. Raises `InvalidInput`
    with the file and the pixel if a value is unknown.
    """
    if item.pair is None:
        raise InvalidInput(f"{item.path} has no mask.", "Its classes are unknown.", "Add the mask.")
    if item.boxes is not None:
        return _painted(item)
    return _classes(values(item.pair), item)


def values(path: str) -> NDArray[Any]:
    """Return the values in a mask, (height, width), uint8 or uint32, as stored: indices of a palette, gray levels of 1,
    8 or 16 bits, or R + 256 G + 65536 B of a color image. Raises `InvalidInput` if it cannot be decoded."""
    image = image_files.read(Path(path), path, deep=True)
    if image.mode in ("LA", "PA", "La"):
        image = image.getchannel(0)
    elif image.mode in ("RGBA", "RGBX", "RGBa"):
        image = image.convert("RGB")
    if image.mode == "RGB":
        red, green, blue = (np.asarray(channel, np.uint32) for channel in image.split())
        return red + 256 * green + 65536 * blue
    if image.mode in ("L", "P"):
        return np.asarray(image)
    if image.mode in ("1", "I", "I;16", "I;16B", "I;16L"):
        return np.asarray(image).astype(np.uint32)
    raise InvalidInput(
        f"{path} has the color mode {image.mode}.",
        "A mask is a PNG file with a palette, with gray levels, or with the colors of labelmap.txt.",
        "Write the class ids as gray levels.",
    )


def depth_map(item: Item, scale: float = MILLIMETERS) -> NDArray[np.float32]:
    """Return the depth of each pixel in meters, (height, width); NaN if it is unknown.

    `scale`: values per meter in an image file with whole numbers. Arrays and images of floats have meters. Raises
    `InvalidInput` for a file with 8 bits or colors, and for an array that is not 2-D.
    """
    if item.pair is None:
        raise InvalidInput(f"{item.path} has no depth map.", "Its depth is unknown.", "Add the file.")
    found = depth_values(item.pair)
    depth = found.astype(np.float32)
    if found.dtype.kind in "iu":
        depth /= np.float32(scale)
    depth[~(np.isfinite(depth) & (depth > 0))] = np.nan
    _require_size(depth.shape, item)
    return rotated(depth, item.turn)


def depth_values(path: str) -> NDArray[Any]:
    """Return the numbers in a depth file, (height, width), as stored."""
    if path.lower().endswith(ARRAYS):
        found = _array(path)
        found = found.squeeze(0) if found.ndim == 3 and found.shape[0] == 1 else found
        found = found.squeeze(-1) if found.ndim == 3 and found.shape[-1] == 1 else found
        if found.ndim != 2 or found.dtype.kind not in "fiu":
            shape = "x".join(map(str, found.shape))
            raise InvalidInput(
                f"{path} is an array {shape} of {found.dtype}.",
                "A depth map has the shape (height, width) and numbers.",
                "Write one float in meters for each pixel.",
            )
        return found.astype(np.float32) if found.dtype.kind == "f" else found
    image = image_files.read(Path(path), path, deep=True)
    if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        found = np.asarray(image)
        return found if found.dtype.kind == "f" else found.astype(np.int64)
    raise _no_depth(path, image.mode)


def restored(item: Item) -> Image.Image:
    """Return the image that a network restores from `item.path`, as RGB."""
    if item.pair is None:
        raise InvalidInput(f"{item.path} has no target image.", "The right result is unknown.", "Add the file.")
    image = image_files.read(Path(item.pair), item.pair)
    image = image if image.mode == "RGB" else image.convert("RGB")
    return image if item.turn == 1 else Image.fromarray(np.ascontiguousarray(rotated(np.asarray(image), item.turn)))


def scale_of(item: Item) -> int:
    """Return how many times larger than its image the image to restore is, from the headers of both files."""
    size = size_of(item.pair) if item.pair else None
    if size is None or item.size is None:
        return 1
    return max(size) // max(item.size)


def size_of(path: str) -> tuple[int, int] | None:
    """Return the (width, height) of a pair's file from its header; None if it cannot be read."""
    try:
        if path.lower().endswith(ARRAYS):
            shape = [side for side in _array(path, only_shape=True).shape if side > 1]
            return (shape[-1], shape[-2]) if len(shape) >= 2 else None
        with Path(path).open("rb") as file:
            return image_files.opened(file).size
    except MemoryError:
        raise
    except Exception:  # Pillow's parsers raise any kind of error; the loader reports it
        return None


def _classes(found: NDArray[Any], item: Item) -> NDArray[np.uint16]:
    """Return the classes of the values in a file."""
    _require_size(found.shape, item)
    ids = item.ids or tuple((value, IGNORE if value == BORDER else value) for value in range(BORDER + 1))
    if max(value for value, _ in ids) <= _LARGEST:
        found = gray(found)
    keys, classes = (np.array(column, np.uint32) for column in zip(*sorted(ids)))
    if int(keys[-1]) <= _LARGEST and int(found.max(initial=0)) <= _LARGEST:
        table = np.full(256 if found.dtype == np.uint8 and keys[-1] < 256 else _LARGEST + 1, _UNKNOWN, np.uint16)
        table[keys] = classes
        result = table[found]
    else:
        place = np.minimum(np.searchsorted(keys, found), len(keys) - 1)
        result = np.where(keys[place] == found, classes[place], _UNKNOWN).astype(np.uint16)
    bad = result == _UNKNOWN
    if bad.any():
        raise _unknown(found, bad, item)
    return rotated(result, item.turn)


def _painted(item: Item) -> NDArray[np.uint16]:
    """Return the classes of an image whose file has a mask for each class (COCO stuff)."""
    assert item.size is not None
    width, height = item.size
    result = np.full((height, width), IGNORE, np.uint16)
    for box in item.boxes or ():
        if box.rle is not None:
            result[bits(box.rle)] = box.label
    return result


def _unknown(found: NDArray[Any], bad: NDArray[np.bool_], item: Item) -> InvalidInput:
    y, x = (int(place[0]) for place in np.nonzero(bad))
    value = int(found[y, x])
    shown = str(value) if value < 65536 else f"{value & 255},{value >> 8 & 255},{value >> 16}"
    known = [key for key, _ in item.ids or ()]
    allowed = f"{len(known)} values are known ({_listed(known)})." if known else "Ids are 0 to 254, and 255 is ignored."
    return InvalidInput(
        f"{item.pair}, pixel ({x}, {y}): the class id {shown} is unknown.",
        f"{allowed} {int(bad.sum())} pixels of the file have unknown ids.",
        "Correct the mask, or the list of classes.",
    )


def _listed(known: list[int]) -> str:
    if known and known == list(range(known[0], known[0] + len(known))):
        return f"{known[0]} to {known[-1]}"
    return ", ".join(map(str, known[:8])) + (" ..." if len(known) > 8 else "")


def _require_size(shape: tuple[int, ...], item: Item) -> None:
    """Raise if the file has another size than the image has, upright or as stored."""
    if item.size is None:
        return
    height, width = shape[:2]
    if (width, height) not in (item.size, item.size[::-1]):
        raise InvalidInput(
            f"{item.pair} has {width}x{height} pixels, and its image {item.path} has {item.size[0]}x{item.size[1]}.",
            "A mask or depth map has one value for each pixel of its image.",
            "Scale the one to the other (masks without interpolation).",
        )


def gray(found: NDArray[Any]) -> NDArray[Any]:
    """Return the gray levels of a color image with equal channels; other values as they are."""
    if found.dtype == np.uint8 or int(found.max(initial=0)) <= _LARGEST:
        return found
    levels = found & np.uint32(255)
    return levels if bool((levels * np.uint32(0x10101) == found).all()) else found


def _no_depth(path: str, mode: str) -> InvalidInput:
    if mode in ("L", "P", "1", "LA"):
        return InvalidInput(
            f"{path} has 8 bits: at most 256 different depths.",
            "That is a picture of depth for people. The depth in meters is lost.",
            "Use 16-bit PNG files in millimeters, or .npy files in meters.",
        )
    return InvalidInput(
        f"{path} has colors ({mode}).",
        "That is a picture of depth for people. The depth in meters is lost.",
        "Use 16-bit PNG files in millimeters, or .npy files in meters.",
    )


def _array(path: str, only_shape: bool = False) -> NDArray[Any]:
    """Return the array in a .npy file, or the only one (or ``depth``) in a .npz file. Pickles are refused."""
    try:
        with contextlib.ExitStack() as stack:
            open_ = _opener(path, stack)
            shape, dtype = _header(open_())
            if int(np.prod(shape, dtype=object)) > MAX_PIXELS:
                raise image_files.bomb(path)
            if only_shape:
                return np.broadcast_to(np.zeros((), dtype), shape)
            return np.lib.format.read_array(open_(), allow_pickle=False)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise InvalidInput(
            f"{path} cannot be read as an array.",
            f"The reason: {str(error).rstrip('.')}.",
            "Write it with numpy.save, without objects.",
        ) from None


def _opener(path: str, stack: contextlib.ExitStack) -> Any:
    """Return a function that opens the array's bytes at their beginning."""
    if path.lower().endswith(".npz"):
        archive = stack.enter_context(zipfile.ZipFile(path))
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        name = names[0] if len(names) == 1 else "depth.npy"
        return lambda: stack.enter_context(archive.open(name))
    if not Path(path).is_file():
        raise ValueError("it is not a regular file")
    return lambda: stack.enter_context(Path(path).open("rb"))


def _header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    return shape, dtype
