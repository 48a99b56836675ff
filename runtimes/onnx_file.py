"""Check the bytes of an ONNX file without the onnx package, as on a device: the file must contain all its tensors.

The data of a tensor can be in another file ("external data"). ONNX Runtime up to 1.23 opens any such path; for a model
from bytes it is relative to the working directory. Later versions also accept an address in memory. Files of edgewright
have no external data, because `build` stores all data inside.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgewright.core.errors import IntegrityError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DEEPEST = 100
"""Depth of nested messages, equal to the limit of protobuf's parsers."""

NESTED: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto", 6: "GraphProto", 10: "TensorProto", 11: "GraphProto", 22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
}  # fmt: skip
"""The fields of ONNX messages that can contain a tensor (onnx.proto; a test compares with the onnx package)."""
NAME, EXTERNAL_DATA, DATA_LOCATION = 8, 13, 14
"""Fields of TensorProto."""
OP_TYPE = 4
"""Field of NodeProto."""


def require_whole(content: bytes, name: str) -> None:
    """Raise `IntegrityError` if `content` is not an ONNX file or refers to data outside the file."""
    try:
        tensor = next(_external(memoryview(content), "ModelProto", 0), None)
    except (IndexError, ValueError):
        raise IntegrityError(
            f"{name} is not an ONNX file.", "Its bytes are not a valid protobuf message.", "Copy the bundle again."
        ) from None
    if tensor is not None:
        raise IntegrityError(
            f"The data of tensor '{tensor}' is outside the file {name}.",
            "All data must be inside the files of a bundle, because other data is not verified.",
            "Build the bundle again with `edgewright compile`, or do not use a model from this origin.",
        )


def operators(content: bytes) -> set[str]:
    """Return the operators of the valid ONNX file `content` (`require_whole`), including those of subgraphs."""
    return set(_operators(memoryview(content), "ModelProto"))


def _operators(message: memoryview, kind: str) -> Iterator[str]:
    for field, value in _fields(message):
        if isinstance(value, memoryview):
            if kind == "NodeProto" and field == OP_TYPE:
                yield bytes(value).decode(errors="replace")
            elif NESTED[kind].get(field) in NESTED:
                yield from _operators(value, NESTED[kind][field])


def _external(message: memoryview, kind: str, depth: int) -> Iterator[str]:
    """Yield the names of tensors in `message` with data outside the file."""
    if depth > _DEEPEST:
        raise ValueError
    nested = NESTED.get(kind)
    if nested is None:
        yield from _tensor(message)
        return
    for field, value in _fields(message):
        if field in nested and isinstance(value, memoryview):
            yield from _external(value, nested[field], depth + 1)


def _tensor(message: memoryview) -> Iterator[str]:
    name, outside = "", False
    for field, value in _fields(message):
        if field == NAME and isinstance(value, memoryview):
            name = bytes(value).decode(errors="replace")
        outside = outside or field == EXTERNAL_DATA or (field == DATA_LOCATION and value != 0)
    if outside:
        yield name


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value (a number, or bytes) of each field. Raises `ValueError` for malformed bytes."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        field, wire = tag >> 3, tag & 7
        value: int | memoryview = 0
        if wire == _VARINT:
            value, at = _varint(message, at)
        elif wire == _BYTES:
            length, at = _varint(message, at)
            value, at = message[at : at + length], at + length
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        else:  # groups: no ONNX writer makes them
            raise ValueError
        if at > end or field == 0:
            raise ValueError
        yield field, value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
        if shift > 63:
            raise ValueError
