"""Sample files: the arrays of one sample by input name, in an .npz or .safetensors file.

They come from elsewhere, so nothing in them is trusted: no pickles, no header that claims more than the file holds, and
at most `MOST_BYTES` after decompression.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from edgewright.core.errors import InvalidInput

SUFFIXES = (".npz", ".safetensors")
"""The suffixes of sample files, in lower case."""
MOST_BYTES = 1 << 30
"""The most bytes of all arrays of a sample."""
MOST_ARRAYS = 64
_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1",
    "U16": "<u2", "U32": "<u4", "U64": "<u8", "BOOL": "?",
}  # fmt: skip
"""Element types of safetensors as numpy types."""
_HEADER = 1 << 20
"""The most bytes of the header of a .safetensors file."""


def is_sample(path: Any) -> bool:
    """Whether `path` is a path with the suffix of a sample file; without a suffix, the first bytes decide.

    Files that are sent to a device have no suffix.
    """
    if not isinstance(path, (str, os.PathLike)) or isinstance(name := os.fspath(path), bytes):
        return False
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - called for each image
    return suffix in SUFFIXES or (not suffix and _kind(Path(name)) != "")


def _kind(path: Path) -> str:
    """The suffix that a sample file without one would have; empty for another file."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        head = file.read(9)
    return ".npz" if head[:4] == b"PK\x03\x04" else ".safetensors" if head[8:] == b"{" and head[6:8] == b"\0\0" else ""


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of the sample file `path` by name: numbers and booleans of at most eight axes.

    Raises `InvalidInput`, which names the file, if it is missing, damaged, too large, or holds other objects.
    """
    place, name = Path(path), os.fspath(path)
    if not place.is_file():
        what = "is a folder" if place.is_dir() else "does not exist"
        raise InvalidInput(f"{name} {what}.", "A sample is an .npz or .safetensors file.", "Correct the path.")
    reader = _npz if (place.suffix.lower() or _kind(place)) == ".npz" else _safetensors
    try:
        found = dict(reader(place))
    except (MemoryError, InvalidInput):
        raise
    except Exception as error:  # zipfile and numpy raise any kind of error for damaged files
        raise _refused(
            name, f"It cannot be read: {' '.join(str(error).split())[:200] or type(error).__name__}."
        ) from None
    if not found:
        raise _refused(name, "It holds no arrays.")
    return found


def digest(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of the arrays in the sample file `path`. Raises `InvalidInput` as `read` does."""
    found = hashlib.sha256()
    for name, array in sorted(read(path).items()):
        found.update(f"{name} {array.dtype} {array.shape} ".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write `arrays` by name as an .npz file, which `read` reads."""
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # names are those of tensors


def _npz(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    room = MOST_BYTES
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) > MOST_ARRAYS or any(not member.filename.endswith(".npy") for member in members):
            _refuse(path, f"An .npz file holds at most {MOST_ARRAYS} arrays, and nothing else.")
        for member in members:
            with archive.open(member) as file:
                array = _npy(path, file, room)  # type: ignore[arg-type]  # a readable binary stream
            room -= array.nbytes
            yield member.filename.removesuffix(".npy"), array


def _npy(path: Path, file: BinaryIO, room: int) -> np.ndarray:
    """One array of an .npz file. Memory is allocated for the bytes that are there, not for those of the header."""
    readers: dict[tuple[int, int], Callable[..., Any]] = {
        (1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0,
    }  # fmt: skip
    version = np.lib.format.read_magic(file)
    if version not in readers:
        _refuse(path, "An array has a header of an unknown version.")
    shape, fortran, dtype = readers[version](file)
    return _array(path, shape, dtype, lambda size: file.read(size + 1), room, "F" if fortran else "C")


def _safetensors(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    room = MOST_BYTES
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > _HEADER:
            _refuse(path, f"Its header has {length} bytes.")
        header = json.loads(file.read(length))
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        if len(entries) > MOST_ARRAYS:
            _refuse(path, f"A sample holds at most {MOST_ARRAYS} arrays.")
        for name, entry in entries.items():
            kind, (start, end) = _TYPES.get(entry["dtype"]), entry["data_offsets"]
            if kind is None:
                _refuse(path, f"The array '{name}' has the type {entry['dtype']}.")
            shape, dtype = tuple(map(int, entry["shape"])), np.dtype(kind)
            if start < 0 or end - start != math.prod(shape) * dtype.itemsize:
                _refuse(path, f"The array '{name}' does not have the size that its shape needs.")
            file.seek(8 + length + start)
            array = _array(path, shape, dtype, file.read, room)
            room -= array.nbytes
            yield name, array


def _array(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], content: Callable[[int], bytes], room: int,
    order: Any = "C",
) -> np.ndarray:  # fmt: skip
    """The array of this shape and type, from the bytes that `content` reads."""
    if dtype.kind not in "fiub" or dtype.itemsize > 8 or len(shape) > 8:
        _refuse(path, f"It holds an array of type {dtype} with {len(shape)} axes.")
    size = math.prod(shape) * dtype.itemsize
    if size > room:
        _refuse(path, f"Its arrays have more than {MOST_BYTES >> 20} MB.")
    found = content(size)
    if len(found) != size:
        _refuse(path, f"An array of shape {shape} needs {size} bytes, and the file holds {len(found)}.")
    return np.frombuffer(found, dtype).reshape(shape, order=order).astype(dtype.newbyteorder("="), order="C")


def _refuse(path: Path, why: str) -> NoReturn:
    raise _refused(str(path), why)


def _refused(name: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"{name} is not a usable sample file.",
        why,
        "Write the arrays of one sample by input name: numpy.savez(path, name=array), or safetensors.numpy.save_file.",
    )
