"""Image files: the formats and decoders, the EXIF orientation, and the errors of broken files.

Everything that opens a user's image uses this module, so that data sets, evaluation and SDK agree. A JPEG is always
decoded at full size: Pillow's draft mode is faster but gives other pixels.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import MAX_PIXELS
from edgewright.core.text import one_line

SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".jfif",
    ".jpe", ".mpo", ".avif", ".heic", ".heif",
)  # fmt: skip
"""The suffixes of image files, in lower case. A file without a suffix is an image if its first bytes match."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF")
"""Pillow's names of the allowed decoders. Others are excluded: EPS starts Ghostscript on a program inside the file."""

MAX_ASPECT = 100
"""The largest aspect ratio. Scaling the shorter side of a longer image to the model's size would take gigabytes."""

_USABLE = ("RGB", "L", "1", "CMYK", "LA", "La", "P", "PA", "RGBA", "RGBa", "RGBX", "YCbCr")

SHOWN = 60
"""The number of characters to show of a text that is too long for a path."""

HEAD = 16
"""The number of bytes that identify the kind of a file."""

_MAGIC = (
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM", b"II*\x00", b"MM\x00*", b"\xff\x4f\xff\x51",
    b"\x00\x00\x00\x0cjP  ",
)  # fmt: skip
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
_AVIF = (b"avif", b"avis")
_NETPBM = ("ppm", "ppm_plain")
"""Pillow's names of the decoders that scale values from 0 to the largest value in the file."""

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read(path: Path, name: str, deep: bool = False) -> Image.Image:
    """The decoded image of a file, in its own color mode, not turned. The file is closed again.

    Raises `InvalidInput`, which calls the file `name`, if it is missing, corrupt, truncated, no image, too large, or
    has 16 bits per channel. `deep`: 16 bits are allowed, as in depth maps.
    """
    try:
        # Checked first: a FIFO would block the reader, and the errno for a folder explains nothing.
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "is not a regular file" if path.exists() else "does not exist"
            do = (
                f"Give the paths of the images in it, for example {path}/*"
                if path.is_dir()
                else "Give the path of an image file."
            )
            raise InvalidInput(f"{name} {what}.", "An image file was expected.", do)
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise broken(name, "the file is empty")
            return decoded(file, name, deep)
    except PermissionError as error:
        raise InvalidInput(f"{name} cannot be read.", str(error.strerror), "Change its permissions.") from None
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise InvalidInput(
            f"{one_line(name[:SHOWN])}... ({len(name)} characters) is too long for a path.",
            "A text argument is the path of an image file.",
            "To pass an encoded image, pass its bytes, e.g. base64.b64decode(text).",
        ) from None


def decoded(file: BinaryIO | io.BytesIO, name: str, deep: bool = False) -> Image.Image:
    """As `read`, for an open file."""
    try:
        image = opened(file)
    except MemoryError:
        raise
    except Image.DecompressionBombError:
        raise bomb(name) from None
    except Exception as error:  # Pillow's parsers raise anything: SyntaxError, struct.error, ValueError, KeyError ...
        # Ultralytics wraps Image.open: it tries an unknown format with a plugin and raises if the plugin is missing.
        if isinstance(error, UnidentifiedImageError) or isinstance(error.__context__, UnidentifiedImageError):
            raise broken(name, _unknown(file)) from None
        raise broken(name, f"its header is corrupt ({error})") from error
    return loaded(image, name, deep)


def loaded(image: Image.Image, name: str, deep: bool = False) -> Image.Image:
    """`image` with its pixels decoded. Raises as `read` does."""
    if image.width * image.height > MAX_PIXELS:
        raise bomb(name)
    if not deep and _is_deep(image):
        raise unsupported(name, "has 16 bits per channel")
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # as above
        raise broken(name, f"it is truncated or corrupt ({error})") from error
    return image


def unusable(size: tuple[int, int], mode: str, name: Callable[[], str]) -> InvalidInput | None:
    """The error for a (width, height) `size` or color mode that no model takes; None if both are usable.

    `name` is a function, called only for an error: formatting an array's shape takes longer than resizing a small
    image.
    """
    width, height = size
    if min(size) < 2 or max(size) > MAX_ASPECT * min(size):
        return InvalidInput(
            f"{name()} is {width}x{height} pixels.",
            f"Each side needs at least 2 pixels, and the longer one at most {MAX_ASPECT} times the shorter.",
            "Leave this image out, or crop it to the relevant part.",
        )
    return None if mode in _USABLE else unsupported(name(), f"has color mode {mode}")


def broken(name: str, why: str) -> InvalidInput:
    """The error for an image that cannot be decoded."""
    return InvalidInput(f"{name} cannot be decoded.", f"The reason: {why}.", "Replace the file or leave it out.")


def bomb(name: str) -> InvalidInput:
    """The error for an image with too many pixels."""
    return InvalidInput(
        f"{name} has more than {MAX_PIXELS} pixels.",
        "Decoding such a file takes gigabytes of memory (a decompression bomb).",
        "If you trust the file, scale it down first.",
    )


def unsupported(name: str, what: str) -> InvalidInput:
    """The error for a color mode that no model is trained on."""
    return InvalidInput(
        f"{name} {what}.",
        "Models take 8-bit RGB or gray images, and there is no standard conversion of others to 8 bits.",
        "Convert it to 8-bit RGB in the same way as for training.",
    )


def opened(file: BinaryIO | io.BytesIO) -> Image.Image:
    """The image in `file`, with pixels not yet decoded. Raises Pillow's errors (`UnidentifiedImageError` ...).

    Reads HEIC if the package pillow-heif is installed.
    """
    head = file.read(HEAD)
    file.seek(0)
    formats = [*FORMATS, "HEIF"] if is_heif(head) and _register_heif() else list(FORMATS)
    return Image.open(file, formats=formats)


def is_heif(head: bytes) -> bool:
    """Whether a file that begins with `head` is HEIC, which Pillow reads only with the package pillow-heif."""
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF


def is_image(head: bytes) -> bool:
    """Whether a file that begins with `head` (`HEAD` bytes) is an image in a supported format."""
    if head.startswith(_MAGIC) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return True
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in (b"\n", b" ", b"\r", b"\t"):
        return True
    return head[4:8] == b"ftyp" and head[8:12] in (*_HEIF, *_AVIF)


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of `image`, from 1 (upright) to 8; 1 if it has none, or an unreadable one.

    XMP is ignored, as in OpenCV. Pillow turns TIFF files itself, so the result is 1 for them. The tag of a PNG file may
    come after its pixels, so load it first.
    """
    content = image.info.get("exif")
    if not content or image.format == "TIFF":
        return 1
    exif = Image.Exif()
    try:
        exif.load(content)
        found = exif.get(_ORIENTATION, 1)
    except Exception:  # Pillow's parser raises anything; OpenCV ignores unreadable tags, too
        return 1
    return found if found in _TURNS else 1


def upright(image: Image.Image) -> Image.Image:
    """`image` turned by its EXIF orientation, without the tag; the same image if it is upright."""
    if (turn := _TURNS.get(orientation(image))) is None:
        return image
    found = image.transpose(turn)
    found.info = {name: value for name, value in image.info.items() if name != "exif"}
    return found


def swaps(orientation: int) -> bool:
    """Whether this EXIF orientation swaps width and height."""
    return orientation >= 5


def _unknown(file: BinaryIO | io.BytesIO) -> str:
    file.seek(0)
    if is_heif(file.read(HEAD)):
        return "HEIC needs the package pillow-heif (pip install pillow-heif)"
    return f"it is not an image in one of the formats {', '.join(FORMATS)}"


def _is_deep(image: Image.Image) -> bool:
    """Whether the file has 16 bits per channel. Pillow reads 16-bit color as RGB and silently drops the low byte. Only
    the raw mode of the undecoded tiles shows it, or for PPM and PGM the largest value, their second argument."""
    tiles = getattr(image, "tile", ())
    if any(tile[0] in _NETPBM and isinstance(tile[3], tuple) and tile[3][1] > 255 for tile in tiles):
        return True
    raw = [tile[3][0] if isinstance(tile[3], tuple) else tile[3] for tile in tiles]
    return any(";16" in str(mode) and not str(mode).startswith("BGR") for mode in raw)  # BGR;16 is a 5-6-5 bitmap


def _register_heif() -> bool:
    """Register HEIC with Pillow. Returns whether that succeeded."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True
