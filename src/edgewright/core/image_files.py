"""Image files: which are read, by which decoders, how they say that they are turned, and what is wrong with them.

Everything that opens an image of the user's goes through here, so that the readers of data sets, the evaluation and
the SDK agree on what an image is. A JPEG is always decoded at full size: Pillow's draft mode is faster and gives other
pixels.
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
"""The endings of image files, in lower case. A file without an ending is an image if its first bytes say so."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF")
"""Pillow's names of the decoders that a file may reach. Pillow has more, of which EPS starts Ghostscript on the file's
own program."""

MAX_ASPECT = 100
"""A more elongated image is refused: scaling its shorter side to the model's size would take gigabytes."""

_USABLE = ("RGB", "L", "1", "CMYK", "LA", "La", "P", "PA", "RGBA", "RGBa", "RGBX", "YCbCr")

SHOWN = 60
"""So many characters of a text that is too long for a path are shown."""

HEAD = 16
"""So many bytes tell the kind of a file."""

_MAGIC = (
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM", b"II*\x00", b"MM\x00*", b"\xff\x4f\xff\x51",
    b"\x00\x00\x00\x0cjP  ",
)  # fmt: skip
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
_AVIF = (b"avif", b"avis")
_NETPBM = ("ppm", "ppm_plain")
"""Pillow's names of the decoders that scale values from 0 to the largest of the file."""

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


def read(path: Path, name: str) -> Image.Image:
    """The decoded image of a file, in its own colour mode, not turned; the file is closed again.

    Raises `InvalidInput` that calls it `name` where there is no such file, where it is corrupt, truncated, no image,
    too large, or has 16 bits a channel.
    """
    try:
        # Asked first: a FIFO would hang the reader, a folder gives an errno that says nothing.
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "is no regular file" if path.exists() else "does not exist"
            do = "Give the paths of the images in it." if path.is_dir() else "Give the path of an image file."
            raise InvalidInput(f"{name} {what}.", "An image file was expected.", do)
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise broken(name, "the file is empty")
            return decoded(file, name)
    except PermissionError as error:
        raise InvalidInput(f"{name} cannot be read.", str(error.strerror), "Change its permissions.") from None
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise InvalidInput(
            f"{one_line(name[:SHOWN])}... ({len(name)} characters) is too long for a path.",
            "A text is taken for the path of an image file.",
            "Give the bytes of an encoded image, for instance base64.b64decode(text).",
        ) from None


def decoded(file: BinaryIO | io.BytesIO, name: str) -> Image.Image:
    """As `read`, of an open file."""
    try:
        image = opened(file)
    except MemoryError:
        raise
    except Image.DecompressionBombError:
        raise bomb(name) from None
    except Exception as error:  # Pillow's parsers let anything out: SyntaxError, struct.error, ValueError, KeyError ...
        # Ultralytics wraps Image.open: what Pillow does not know is tried with a plugin, whose absence is the error.
        if isinstance(error, UnidentifiedImageError) or isinstance(error.__context__, UnidentifiedImageError):
            raise broken(name, _unknown(file)) from None
        raise broken(name, f"its header is corrupt ({error})") from error
    return loaded(image, name)


def loaded(image: Image.Image, name: str) -> Image.Image:
    """`image` with its pixels decoded; raises as `read` does."""
    if image.width * image.height > MAX_PIXELS:
        raise bomb(name)
    if _is_deep(image):
        raise unsupported(name, "has 16 bits a channel")
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # as above
        raise broken(name, f"it is truncated or corrupt ({error})") from error
    return image


def unusable(size: tuple[int, int], mode: str, name: Callable[[], str]) -> InvalidInput | None:
    """The error for an image of a (width, height) `size` or colour mode that no model takes; None where all is well.

    `name` is called only then: telling an array's shape takes longer than resizing a small image.
    """
    width, height = size
    if min(size) < 2 or max(size) > MAX_ASPECT * min(size):
        return InvalidInput(
            f"{name()} is {width}x{height} pixels.",
            f"A side must have at least 2 pixels and the longer one at most {MAX_ASPECT} times the shorter.",
            "Leave this image out, or crop it to the part that matters.",
        )
    return None if mode in _USABLE else unsupported(name(), f"has colour mode {mode}")


def broken(name: str, why: str) -> InvalidInput:
    """The error for an image that cannot be decoded."""
    return InvalidInput(f"{name} cannot be decoded.", f"The reason: {why}.", "Replace the file or leave it out.")


def bomb(name: str) -> InvalidInput:
    """The error for an image that is too large."""
    return InvalidInput(
        f"{name} has more than {MAX_PIXELS} pixels.",
        "Such a file takes gigabytes when it is decoded (a decompression bomb).",
        "Scale it down first, if you trust it.",
    )


def unsupported(name: str, what: str) -> InvalidInput:
    """The error for a colour mode that no model is trained on."""
    return InvalidInput(
        f"{name} {what}.",
        "Models are trained on 8-bit RGB or grey images; how to map others to 8 bits is not ours to guess.",
        "Convert it to 8-bit RGB first, in the way that your training did.",
    )


def opened(file: BinaryIO | io.BytesIO) -> Image.Image:
    """The image in `file`, its pixels not yet decoded. Raises what Pillow raises (`UnidentifiedImageError` ...).

    HEIC is read where the package pillow-heif is installed.
    """
    head = file.read(HEAD)
    file.seek(0)
    formats = [*FORMATS, "HEIF"] if is_heif(head) and _register_heif() else list(FORMATS)
    return Image.open(file, formats=formats)


def is_heif(head: bytes) -> bool:
    """Whether a file that begins with `head` is HEIC, which Pillow reads with the package pillow-heif only."""
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF


def is_image(head: bytes) -> bool:
    """Whether a file that begins with `head` (`HEAD` bytes) is an image in a format that can be read."""
    if head.startswith(_MAGIC) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return True
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in (b"\n", b" ", b"\r", b"\t"):
        return True
    return head[4:8] == b"ftyp" and head[8:12] in (*_HEIF, *_AVIF)


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of `image`, 1 (upright) to 8; 1 where it has none or one that cannot be read.

    XMP is not asked, as OpenCV does not ask it. Pillow turns TIFF files itself, with every library that uses it, so
    these have none here; a PNG file may have its tag behind the pixels, so load it first.
    """
    content = image.info.get("exif")
    if not content or image.format == "TIFF":
        return 1
    exif = Image.Exif()
    try:
        exif.load(content)
        found = exif.get(_ORIENTATION, 1)
    except Exception:  # Pillow's parser lets anything out; a tag that cannot be read turns nothing in OpenCV either
        return 1
    return found if found in _TURNS else 1


def upright(image: Image.Image) -> Image.Image:
    """`image` as its EXIF orientation wants it shown, without the tag; itself where it is upright."""
    if (turn := _TURNS.get(orientation(image))) is None:
        return image
    found = image.transpose(turn)
    found.info = {name: value for name, value in image.info.items() if name != "exif"}
    return found


def swaps(orientation: int) -> bool:
    """Whether an image of this EXIF orientation has width and height swapped when it is shown."""
    return orientation >= 5


def _unknown(file: BinaryIO | io.BytesIO) -> str:
    file.seek(0)
    if is_heif(file.read(HEAD)):
        return "HEIC needs the package pillow-heif (pip install pillow-heif)"
    return f"it is no image in one of the formats {', '.join(FORMATS)}"


def _is_deep(image: Image.Image) -> bool:
    """Whether the file has 16 bits a channel. Pillow reads 16-bit colour as mode RGB and drops the low byte in silence:
    only the raw mode of the undecoded tiles tells, or (PPM, PGM) the largest value, which is their second argument."""
    tiles = getattr(image, "tile", ())
    if any(tile[0] in _NETPBM and isinstance(tile[3], tuple) and tile[3][1] > 255 for tile in tiles):
        return True
    raw = [tile[3][0] if isinstance(tile[3], tuple) else tile[3] for tile in tiles]
    return any(";16" in str(mode) and not str(mode).startswith("BGR") for mode in raw)  # BGR;16 is a 5-6-5 bitmap


def _register_heif() -> bool:
    """Teach Pillow HEIC; whether that is possible."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True
