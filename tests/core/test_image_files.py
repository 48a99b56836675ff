"""What is an image file, and how it is turned: as OpenCV's imread turns it."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from edgewright.core import image_files
from edgewright.core.errors import InvalidInput

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 31, 3), dtype=np.uint8)


def tagged(kind: str, orientation: int, **options: object) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, kind, exif=exif, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_images_are_turned_as_opencv_turns_them(kind: str, orientation: int) -> None:
    content = tagged(kind, orientation, **({"lossless": True} if kind == "WEBP" else {}))
    image = image_files.decoded(io.BytesIO(content), "x")
    assert image_files.orientation(image) == (1 if kind == "TIFF" else orientation), "Pillow turns TIFF itself"
    turned = image_files.upright(image)
    assert image_files.upright(turned) is turned, "it is turned once"
    truth = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(np.asarray(turned.convert("RGB")), truth)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_a_damaged_tag_turns_nothing(exif: bytes) -> None:
    image = Image.fromarray(PIXELS)
    image.info["exif"] = exif
    assert image_files.orientation(image) == 1
    assert image_files.upright(image) is image


def test_an_orientation_that_does_not_exist_turns_nothing() -> None:
    assert image_files.orientation(image_files.decoded(io.BytesIO(tagged("JPEG", 9)), "x")) == 1


@pytest.mark.parametrize("kind", [*image_files.FORMATS])
def test_the_first_bytes_say_what_is_an_image(kind: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, kind)
    assert image_files.is_image(buffer.getvalue()[: image_files.HEAD])


@pytest.mark.parametrize(
    "head", [b"", b"%PDF-1.7", b"Picture of a cat", b"P9\n1 1", b'{"images": []}', b"PK\x03\x04", b"0 0.5 0.5 0.1 0.1"]
)
def test_other_files_are_no_images(head: bytes) -> None:
    assert not image_files.is_image(head)


@pytest.mark.parametrize(
    ("head", "deep"),
    [
        (b"P6\n4 4\n65535\n", True), (b"P6\n4 4\n1023\n", True), (b"P3\n4 4\n65535\n", True),
        (b"P5\n4 4\n1023\n", True), (b"P6\n4 4\n255\n", False), (b"P6\n4 4\n100\n", False),
        (b"P3\n4 4\n255\n", False),
    ],
)  # fmt: skip
def test_netpbm_files_of_16_bits_are_refused(head: bytes, deep: bool) -> None:
    content = head + (b" 7" * 48 if head[:2] == b"P3" else bytes(96))
    if deep:
        with pytest.raises(InvalidInput, match="16 bits per channel"):
            image_files.decoded(io.BytesIO(content), "x")
    else:
        assert image_files.decoded(io.BytesIO(content), "x").mode == "RGB"


def test_a_text_that_is_too_long_for_a_path_is_shortened(tmp_path: Path) -> None:
    for name in (base64.encodebytes(bytes(9000)).decode(), "a" * 300):  # longer than a path, than a name in it
        with pytest.raises(InvalidInput) as caught:
            image_files.read(Path(name), f"Image {name}")
        assert "too long for a path" in caught.value.what
        assert len(caught.value.what) < 200
        assert len(str(caught.value).splitlines()) == 3


def test_heic_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "_register_heif", lambda: False)
    path = tmp_path / "photo.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    with pytest.raises(InvalidInput, match="pillow-heif"):
        image_files.read(path, str(path))
