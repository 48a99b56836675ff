"""Whatever is no 8-bit picture is refused with an error that names the file."""

from __future__ import annotations

import base64
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from edgewright.core import image_files
from edgewright.core.errors import InvalidInput
from edgewright.vision import image as vision_image
from edgewright.vision.image import open_image

RNG = np.random.default_rng(0)
PICTURE = Image.fromarray(RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, bits: int, colour: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = (png_chunk(b"IHDR", header), png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def damaged_png() -> bytes:
    data = bytearray(encoded(PICTURE, "PNG"))
    at = data.index(b"IDAT") + 40
    data[at : at + 30] = bytes(30)
    return bytes(data)


TIFF_FLOAT = encoded(Image.fromarray(RNG.random((8, 8), dtype=np.float32)), "TIFF")
BAD = {
    "empty.jpg": (b"", "the file is empty"),
    "text.jpg": (b"this is no image\n" * 50, "not an image in one of the formats"),
    "page.eps": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
        "not an image in one of",
    ),
    "truncated.jpg": (encoded(PICTURE, "JPEG")[:700], "truncated"),
    "truncated.png": (encoded(PICTURE, "PNG")[:-3000], "truncated"),
    "truncated.webp": (encoded(PICTURE, "WEBP", lossless=True)[:-1000], "cannot be decoded"),
    "header-only.jpg": (encoded(PICTURE, "JPEG")[:20], "cannot be decoded"),
    "damaged.png": (damaged_png(), "corrupt"),
    "dot.png": (encoded(Image.new("RGB", (1, 1)), "PNG"), "is 1x1 pixels"),
    "line.png": (encoded(Image.new("RGB", (400, 1)), "PNG"), "is 400x1 pixels"),
    "strip.png": (encoded(Image.new("L", (2, 3000)), "PNG"), "is 2x3000 pixels"),
    "lab.tiff": (encoded(Image.new("LAB", (9, 9)), "TIFF"), "LAB"),
    "grey16.png": (encoded(Image.fromarray(RNG.integers(0, 65536, (9, 9), dtype=np.uint16)), "PNG"), "16"),
    "rgb16.png": (png(4, 4, 16, 2, (b"\0" + bytes(range(24))) * 4), "16 bits per channel"),
    "grey16.tiff": (encoded(Image.fromarray(RNG.integers(0, 65536, (9, 9), dtype=np.uint16)), "TIFF"), "16"),
    "float.tiff": (TIFF_FLOAT, "mode F"),
    "bomb.png": (png(60_000, 60_000, 1, 0, bytes(1000)), "decompression bomb"),
    "warned-bomb.png": (png(10_000, 10_000, 1, 0, bytes(1000)), "decompression bomb"),
}


def test_a_library_that_wraps_pillows_open_does_not_change_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Image.open

    def wrapped(*args: object, **kwargs: object) -> Image.Image:
        """As Ultralytics does it: what Pillow does not know is tried again with a plugin, which is not installed."""
        try:
            return plain(*args, **kwargs)  # type: ignore[arg-type]
        except UnidentifiedImageError:
            raise ModuleNotFoundError("No module named 'pi_heif'")  # noqa: B904

    monkeypatch.setattr(Image, "open", wrapped)
    (tmp_path / "text.jpg").write_text("no image at all, but text")
    with pytest.raises(InvalidInput, match="not an image in one of the formats"):
        open_image(tmp_path / "text.jpg")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_named(tmp_path: Path, name: str) -> None:
    content, why = BAD[name]
    path = tmp_path / name
    path.write_bytes(content)
    for source in (path, str(path)):
        with pytest.raises(InvalidInput) as caught:
            open_image(source)
        assert str(path) in caught.value.what
        assert why in str(caught.value)
        assert caught.value.fix
    with pytest.raises(InvalidInput):
        open_image(content)


def test_folder_missing_and_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path, why in (
        (tmp_path, "is a folder"),
        (tmp_path / "no.jpg", "not exist"),
        (tmp_path / "pipe.jpg", "regular"),
    ):
        with pytest.raises(InvalidInput, match=why) as caught:
            open_image(path)
        assert str(path) in caught.value.what


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((8, 8, 3), np.float32), np.zeros((8, 8, 4), np.uint8), np.zeros((3, 8, 8), np.uint8),
        np.zeros((8, 8), np.uint16), np.zeros((8,), np.uint8), np.zeros((0, 8, 3), np.uint8),
        np.zeros((1, 1), np.uint8),
    ],
)  # fmt: skip
def test_wrong_arrays_are_refused(array: np.ndarray) -> None:
    with pytest.raises(InvalidInput, match="image array"):
        open_image(array)


def test_a_large_array_is_refused_like_a_large_file(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (vision_image, image_files):
        monkeypatch.setattr(module, "MAX_PIXELS", 50)
    with pytest.raises(InvalidInput, match="50 pixels"):
        open_image(np.zeros((8, 8), np.uint8))


@pytest.mark.parametrize(
    ("mode", "becomes"),
    [("RGBA", "RGB"), ("P", "RGB"), ("LA", "RGB"), ("L", "L"), ("1", "L"), ("CMYK", "RGB")],
)
def test_other_8_bit_modes_become_what_pillow_makes_of_them(tmp_path: Path, mode: str, becomes: str) -> None:
    image = PICTURE.convert(mode)
    name = "image.tiff" if mode == "CMYK" else "image.png"
    image.save(tmp_path / name)
    opened = open_image(tmp_path / name)
    assert opened.mode == becomes
    assert opened.tobytes() == image.convert(becomes).tobytes()


def test_path_bytes_array_and_pil_give_the_same_pixels(tmp_path: Path) -> None:
    (tmp_path / "image.bmp").write_bytes(encoded(PICTURE, "BMP"))
    sources = (tmp_path / "image.bmp", encoded(PICTURE, "BMP"), np.asarray(PICTURE), PICTURE)
    assert {open_image(source).tobytes() for source in sources} == {PICTURE.tobytes()}
    assert open_image(np.asarray(PICTURE)[::2, ::-1]).tobytes() == np.asarray(PICTURE)[::2, ::-1].tobytes()


def test_small_files_with_16_in_their_layout_are_not_taken_for_deep(tmp_path: Path) -> None:
    small = PICTURE.resize((16, 16)).convert("L")
    for kind in ("BMP", "TIFF", "PPM"):
        assert open_image(encoded(small, kind)).tobytes() == small.tobytes()


def test_exif_orientation_is_ignored_as_in_training() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    assert open_image(encoded(PICTURE, "JPEG", exif=exif)).size == PICTURE.size


class Failing(io.BytesIO):
    """A file on a medium that fails."""

    def __init__(self, error: Exception, seeks: bool = True) -> None:
        super().__init__(encoded(PICTURE, "PNG"))
        self.error, self.seeks = error, seeks

    def seek(self, *_: int) -> int:
        if self.seeks:
            return 0
        raise self.error

    def read(self, *_: int | None) -> bytes:
        raise self.error


def closed() -> io.BytesIO:
    file = io.BytesIO(encoded(PICTURE, "PNG"))
    file.close()
    return file


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (closed(), "closed file"), (Failing(OSError(5, "Input/output error")), "Input/output error"),
        (Failing(ValueError("bad chunk")), "bad chunk"), (Failing(ValueError("no seek"), seeks=False), "no seek"),
        (Failing(OSError(29, "Illegal seek"), seeks=False), "Illegal seek"), (Failing(OSError()), "OSError"),
        (memoryview(encoded(PICTURE, "PNG"))[::2], "image in one of the formats"), ("a\0b.png", "does not exist"),
        (base64.b64encode(RNG.bytes(9000)).decode(), "too long for a path"),
    ],
)  # fmt: skip
def test_files_and_bytes_that_cannot_be_read_are_refused(source: object, why: str) -> None:
    with pytest.raises(InvalidInput, match=why) as caught:
        open_image(source)
    assert len(str(caught.value).splitlines()) == 3


def test_a_pipe_is_read_from_where_it_stands_and_a_memoryview_with_steps_as_its_bytes() -> None:
    class Pipe(io.BytesIO):
        def seek(self, *_: int) -> int:
            raise io.UnsupportedOperation("seek")

    content = encoded(PICTURE, "PNG")
    doubled = memoryview(bytes(byte for pair in zip(content, content) for byte in pair))[::2]
    assert open_image(Pipe(content)).tobytes() == open_image(doubled).tobytes() == PICTURE.tobytes()


def test_subclasses_of_a_tensor_are_tensors() -> None:
    import torch

    class Marked(torch.Tensor):
        """As torchvision's tv_tensors.Image: a subclass in another module."""

    pixels = torch.from_numpy(np.array(PICTURE)).permute(2, 0, 1)
    for tensor in (pixels, pixels.as_subclass(Marked), torch.nn.Parameter(pixels, requires_grad=False)):
        assert open_image(tensor).tobytes() == PICTURE.tobytes()


def test_tensors_without_an_array_behind_them_are_refused() -> None:
    import torch

    pixels = torch.ones(3, 8, 8, dtype=torch.uint8)
    for tensor, why in ((pixels.to_sparse(), "torch.sparse_coo"), (pixels.to("meta"), "meta")):
        with pytest.raises(InvalidInput, match=why) as caught:
            open_image(tensor)
        assert len(str(caught.value).splitlines()) == 3


def test_what_only_looks_like_a_tensor_is_refused() -> None:
    class Tensor:
        shape, dtype = (3, 8, 8), "torch.uint8"

    with pytest.raises(InvalidInput, match="type Tensor is not an image"):
        open_image(Tensor())


def test_the_file_is_closed(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "image.png")
    before = len(list(Path("/proc/self/fd").iterdir()))
    images = [open_image(tmp_path / "image.png") for _ in range(20)]
    assert len(images) == 20
    assert len(list(Path("/proc/self/fd").iterdir())) == before
