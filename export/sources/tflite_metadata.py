"""The metadata that TensorFlow Lite's tools write into a .tflite: normalization of the input, and labels.

A small reader of FlatBuffers, which checks every offset. The tables are those of TFLite's schema.fbs and
metadata_schema.fbs. Labels are a text file in a ZIP archive that follows the model in the same file.
"""

from __future__ import annotations

import io
import struct
import zipfile
from typing import Any

_NAME = "TFLITE_METADATA"
_NORMALIZATION = 1
"""The number of NormalizationOptions among the options of a process unit."""
_LABELS = 1 << 20
"""The most bytes of a file with labels."""
_TABLES = 256


class _Table:
    """One table of a FlatBuffer. Fields are numbered as in its schema."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at
        self.fields = at - self._number("<i", at)

    def _number(self, form: str, at: int) -> int:
        size = struct.calcsize(form)
        if not 0 <= at <= len(self.data) - size:
            raise ValueError(f"an offset of {at} in {len(self.data)} bytes")
        return int(struct.unpack_from(form, self.data, at)[0])

    def place(self, field: int) -> int:
        """The position of a field's value; 0 if the table lacks it."""
        slot = 4 + 2 * field
        if slot + 2 > self._number("<H", self.fields):
            return 0
        offset = self._number("<H", self.fields + slot)
        return self.at + offset if offset else 0

    def byte(self, field: int) -> int:
        """A field of one byte."""
        at = self.place(field)
        return self._number("<B", at) if at else 0

    def table(self, field: int) -> _Table | None:
        """A field that is a table."""
        at = self.place(field)
        return _Table(self.data, at + self._number("<I", at)) if at else None

    def _vector(self, field: int, size: int) -> tuple[int, int]:
        at = self.place(field)
        if not at:
            return 0, 0
        start = at + self._number("<I", at)
        count = self._number("<I", start)
        if count * size > len(self.data) - start - 4:
            raise ValueError(f"a vector of {count} elements")
        return start + 4, count

    def tables(self, field: int) -> list[_Table]:
        """A field that is a vector of tables."""
        start, count = self._vector(field, 4)
        places = range(start, start + 4 * min(count, _TABLES), 4)
        return [_Table(self.data, at + self._number("<I", at)) for at in places]

    def content(self, field: int) -> bytes:
        """A field that is a text or a vector of bytes."""
        start, count = self._vector(field, 1)
        return self.data[start : start + count]

    def floats(self, field: int) -> tuple[float, ...]:
        """A field that is a vector of float32."""
        start, count = self._vector(field, 4)
        return struct.unpack_from(f"<{count}f", self.data, start)


def read(content: bytes) -> dict[str, Any]:
    """The fields of a description that the metadata in the .tflite `content` gives: ``labels``, and ``preprocess`` with
    ``divide`` and, if they are needed, ``mean`` and ``std``; empty without metadata, or if it is damaged."""
    found: dict[str, Any] = {}
    try:
        if normalization := _normalization(content):
            found["preprocess"] = normalization
        if labels := _labels(content):
            found["labels"] = labels
    except (ValueError, struct.error, zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError):
        return {}  # the model itself is complete without it
    return found


def _root(data: bytes) -> _Table:
    return _Table(data, struct.unpack_from("<I", data)[0])


def _normalization(content: bytes) -> dict[str, Any]:
    model = _root(content)
    buffers = model.tables(4) if any(m.content(0) == _NAME.encode() for m in model.tables(6)) else []
    for entry in model.tables(6):
        at = entry.place(1)
        index = entry._number("<I", at) if at else 0
        if entry.content(0) != _NAME.encode() or index >= len(buffers):
            continue
        for graph in _root(buffers[index].content(0)).tables(3)[:1]:
            for unit in (unit for tensor in graph.tables(2)[:1] for unit in tensor.tables(4)):
                options = unit.table(1)
                if unit.byte(0) == _NORMALIZATION and options is not None:
                    return _as_preprocess(options.floats(0), options.floats(1))
    return {}


def _as_preprocess(mean: tuple[float, ...], std: tuple[float, ...]) -> dict[str, Any]:
    """(pixel - mean) / std as fields of `Preprocess`, whose pixels are divided first."""
    if not mean or len(mean) != len(std) or min(std) <= 0:
        return {}
    if not any(mean) and len(set(std)) == 1:
        return {"divide": std[0]}
    three = [values * 3 if len(values) == 1 else values for values in (mean, std)]
    return {"divide": 1.0, "mean": three[0], "std": three[1]}


def _labels(content: bytes) -> tuple[str, ...]:
    stream = io.BytesIO(content)
    if not zipfile.is_zipfile(stream):
        return ()
    with zipfile.ZipFile(stream) as archive:
        texts = [one for one in archive.infolist() if one.filename.endswith(".txt") and one.file_size <= _LABELS]
        if len(texts) != 1:
            return ()
        lines = archive.read(texts[0]).decode("utf-8", "replace").splitlines()
    return tuple(line.strip() for line in lines if line.strip())
