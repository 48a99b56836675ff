"""Files that belong to an image: ids, depths and targets, turned with their image; hostile files are refused."""

from __future__ import annotations

import io
import pickle  # noqa: TID251 - what the attack is made of
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgewright.core.errors import InvalidInput
from edgewright.data import pairs
from edgewright.data.items import Item
from edgewright.data.pairs import IGNORE

IDS = np.array([[0, 1, 2], [255, 1, 0]], np.uint8)


def item(path: Path, size: tuple[int, int] = (3, 2), **more: object) -> Item:
    return Item("photo.jpg", None, size=size, pair=str(path), **more)  # type: ignore[arg-type]


def palette(ids: np.ndarray) -> Image.Image:
    image = Image.fromarray(ids)
    image.putpalette([value for k in range(256) for value in (k * 7 % 256, k * 3 % 256, k)])
    return image


@pytest.mark.parametrize("form", ["gray", "palette", "gray as color", "16 bits"])
def test_ids_are_read_as_stored_and_255_is_ignored(tmp_path: Path, form: str) -> None:
    images = {
        "gray": Image.fromarray(IDS), "palette": palette(IDS), "gray as color": Image.fromarray(IDS).convert("RGB"),
        "16 bits": Image.fromarray(IDS.astype(np.uint16)),
    }  # fmt: skip
    images[form].save(path := tmp_path / "mask.png")
    wanted = np.where(IDS == 255, IGNORE, IDS.astype(np.uint16))
    assert (pairs.class_map(item(path)) == wanted).all()


def test_ids_map_values_and_colors_to_classes(tmp_path: Path) -> None:
    Image.fromarray(IDS).save(path := tmp_path / "mask.png")
    shifted = ((0, IGNORE), (1, 0), (2, 1), (255, IGNORE))
    assert pairs.class_map(item(path, ids=shifted)).tolist() == [[IGNORE, 0, 1], [IGNORE, 0, IGNORE]]
    colors = np.array([[[128, 0, 0], [0, 0, 0], [0, 3, 1]]], np.uint8)
    Image.fromarray(colors).save(path)
    ids = ((128, 1), (0, 0), (256 * 3 + 65536, 2))
    assert pairs.class_map(item(path, (3, 1), ids=ids)).tolist() == [[1, 0, 2]]


def test_an_unknown_id_is_an_error_with_its_pixel(tmp_path: Path) -> None:
    Image.fromarray(IDS).save(path := tmp_path / "mask.png")
    with pytest.raises(InvalidInput, match=r"mask.png, pixel \(2, 0\): the class id 2 is unknown"):
        pairs.class_map(item(path, ids=((0, 0), (1, 1), (255, IGNORE))))
    Image.fromarray(np.array([[[1, 2, 3]]], np.uint8)).save(path)
    with pytest.raises(InvalidInput, match="class id 1,2,3 is unknown"):
        pairs.class_map(item(path, (1, 1)))


def test_a_map_turns_with_its_photo(tmp_path: Path) -> None:
    stored = np.arange(6, dtype=np.uint8).reshape(2, 3)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(stored).save(path := tmp_path / "mask.png", exif=exif)
        from edgewright.core import image_files

        with Image.open(path) as opened:
            opened.load()
            wanted = np.asarray(image_files.upright(opened))
        size = (wanted.shape[1], wanted.shape[0])
        assert (pairs.class_map(item(path, size, turn=orientation)) == wanted).all(), orientation


def test_depth_is_in_meters_and_zero_is_missing(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1500], [250, 65535]], np.uint16)).save(path := tmp_path / "depth.png")
    found = pairs.depth_map(item(path, (2, 2)))
    assert np.isnan(found[0, 0]) and np.allclose(found[0, 1], 1.5) and np.allclose(found[1], [0.25, 65.535])
    assert np.allclose(pairs.depth_map(item(path, (2, 2)), 256)[0, 1], 1500 / 256)
    np.save(path := tmp_path / "depth.npy", np.array([[np.nan, 1.5], [-1, np.inf]]))
    assert np.isnan(found := pairs.depth_map(item(path, (2, 2)))).sum() == 3 and found[0, 1] == 1.5
    np.savez(path := tmp_path / "depth.npz", depth=np.full((1, 2, 2), 2.5, np.float32))
    assert (pairs.depth_map(item(path, (2, 2))) == 2.5).all() and pairs.size_of(str(path)) == (2, 2)


def test_pictures_of_depth_are_refused(tmp_path: Path) -> None:
    Image.fromarray(IDS).save(path := tmp_path / "depth.png")
    with pytest.raises(InvalidInput, match="has 8 bits"):
        pairs.depth_map(item(path))
    Image.fromarray(IDS).convert("RGB").save(path)
    with pytest.raises(InvalidInput, match="has colors"):
        pairs.depth_map(item(path))


def test_a_map_of_another_size_is_refused(tmp_path: Path) -> None:
    Image.fromarray(IDS).save(path := tmp_path / "mask.png")
    with pytest.raises(InvalidInput, match=r"has 3x2 pixels, and its image photo\.jpg has 4x2"):
        pairs.class_map(item(path, (4, 2)))


class Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('ran')",)


def zipped(path: Path, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("depth.npy", content)
    return path


def header(shape: tuple[int, ...], kind: str = "<f4") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue()


def test_arrays_run_no_code_and_are_limited_before_they_are_read(tmp_path: Path) -> None:
    np.save(path := tmp_path / "code.npy", np.array([[Code()]], dtype=object), allow_pickle=True)
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps(Code()))
    (tmp_path / "cut.npy").write_bytes(header((4, 4)) + b"0000")
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "zip.npz").write_bytes(b"PK")
    zipped(tmp_path / "object.npz", path.read_bytes())
    zipped(tmp_path / "cut.npz", header((4, 4)))
    for path in sorted(tmp_path.glob("*.np?")):
        with pytest.raises(InvalidInput, match="cannot be read as an array"):
            pairs.depth_map(item(path))
    (tmp_path / "big.npy").write_bytes(header((1 << 20, 1 << 20)))
    zipped(tmp_path / "bomb.npz", header((1 << 20, 1 << 14)) + bytes(1 << 22))
    for name in ("big.npy", "bomb.npz"):
        with pytest.raises(InvalidInput, match="pixels"):
            pairs.depth_map(item(tmp_path / name))
        assert pairs.size_of(str(tmp_path / name)) is None


def test_a_small_file_with_many_pixels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(1 << 17, 1 << 17))
    for read in (pairs.class_map, pairs.depth_map):
        with pytest.raises(InvalidInput, match="pixels"):
            read(item(path))


def png_header(width: int, height: int) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000)))


def test_an_array_that_is_no_map_is_refused(tmp_path: Path) -> None:
    for number, found in enumerate((np.zeros((2, 2, 3)), np.zeros(4), np.array([["a", "b"]]))):
        np.save(path := tmp_path / f"{number}.npy", found)
        with pytest.raises(InvalidInput, match="is an array"):
            pairs.depth_map(item(path))
