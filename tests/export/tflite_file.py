"""A small TFLite classifier, written with FlatBuffers: convolution, mean, fully connected, softmax."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np

FLOAT, INT8 = 0, 9
CONV, FULLY_CONNECTED, SOFTMAX, MEAN, CUSTOM = 3, 9, 25, 40, 32
SIZE, CHANNELS, CLASSES = 8, 4, 5


def tflite(custom: str = "", quantized: bool = False, metadata: bytes = b"") -> bytes:
    """The bytes of the model.

    `custom`: the name of an operator instead of the softmax. `quantized`: the input has a scale and type INT8.
    `metadata`: the buffer TFLITE_METADATA.
    """
    b, random = flatbuffers.Builder(4096), np.random.default_rng(0)
    weights = [
        b"",
        (random.standard_normal((CHANNELS, 3, 3, 3)) / 3).astype(np.float32).tobytes(),
        random.standard_normal(CHANNELS).astype(np.float32).tobytes(),
        np.asarray([1, 2], np.int32).tobytes(),
        random.standard_normal((CLASSES, CHANNELS)).astype(np.float32).tobytes(),
        random.standard_normal(CLASSES).astype(np.float32).tobytes(),
        metadata,
    ]
    shapes = [
        ("image", [1, SIZE, SIZE, 3], 0), ("kernel", [CHANNELS, 3, 3, 3], 1), ("bias", [CHANNELS], 2),
        ("conv", [1, SIZE, SIZE, CHANNELS], 0), ("axes", [2], 3), ("mean", [1, CHANNELS], 0),
        ("matrix", [CLASSES, CHANNELS], 4), ("offset", [CLASSES], 5), ("logits", [1, CLASSES], 0),
        ("scores", [1, CLASSES], 0),
    ]  # fmt: skip
    tensors = [_tensor(b, *shape, quantized and shape[0] == "image") for shape in shapes]
    operators = [
        _operator(b, 0, [0, 1, 2], [3], 1, _options(b, [(1, 1, "i"), (2, 1, "i"), (3, 1, "b")], 6)),
        _operator(b, 1, [3, 4], [5], 27, _options(b, [], 1)),
        _operator(b, 2, [5, 6, 7], [8], 8, _options(b, [], 1)),
        _operator(b, 3, [8], [9], 0 if custom else 9, None if custom else _options(b, [(0, 1.0, "f")], 1)),
    ]
    graph = _table(b, 5, {0: _tables(b, tensors), 1: _numbers(b, [0]), 2: _numbers(b, [9]), 3: _tables(b, operators)})
    codes = [_code(b, code, custom) for code in (CONV, MEAN, FULLY_CONNECTED, CUSTOM if custom else SOFTMAX)]
    buffers = _tables(b, [_table(b, 1, {0: b.CreateByteVector(content)} if content else {}) for content in weights])
    more = {6: _tables(b, [_metadata(b)])} if metadata else {}
    graphs, codes_ = _tables(b, [graph]), _tables(b, codes)
    b.StartObject(7)
    b.PrependUint32Slot(0, 3, 0)
    for field, value in {1: codes_, 2: graphs, 4: buffers, **more}.items():
        b.PrependUOffsetTRelativeSlot(field, value, 0)
    b.Finish(b.EndObject(), file_identifier=b"TFL3")
    return bytes(b.Output())


def metadata(mean: float, std: float) -> bytes:
    """A ModelMetadata with one input that is normalized."""
    b = flatbuffers.Builder(256)
    options = _table(b, 2, {0: _floats(b, [mean]), 1: _floats(b, [std])})
    b.StartObject(2)
    b.PrependUint8Slot(0, 1, 0)
    b.PrependUOffsetTRelativeSlot(1, options, 0)
    unit = b.EndObject()
    graph = _table(b, 3, {2: _tables(b, [_table(b, 5, {4: _tables(b, [unit])})])})
    b.Finish(_table(b, 4, {3: _tables(b, [graph])}), file_identifier=b"M001")
    return bytes(b.Output())


def _table(b: Any, size: int, fields: dict[int, int]) -> int:
    b.StartObject(size)
    for field, value in fields.items():
        b.PrependUOffsetTRelativeSlot(field, value, 0)
    return int(b.EndObject())


def _tables(b: Any, offsets: list[int]) -> int:
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return int(b.EndVector())


def _numbers(b: Any, values: list[int]) -> int:
    return int(b.CreateNumpyVector(np.asarray(values, np.int32)))


def _floats(b: Any, values: list[float]) -> int:
    return int(b.CreateNumpyVector(np.asarray(values, np.float32)))


def _metadata(b: Any) -> int:
    name = b.CreateString("TFLITE_METADATA")
    b.StartObject(2)
    b.PrependUOffsetTRelativeSlot(0, name, 0)
    b.PrependUint32Slot(1, 6, 0)
    return int(b.EndObject())


def _tensor(b: Any, name: str, shape: list[int], buffer: int, quantized: bool) -> int:
    called, sides = b.CreateString(name), _numbers(b, shape)
    scale = 0
    if quantized:
        zero = b.CreateNumpyVector(np.zeros(1, np.int64))
        scale = _table(b, 4, {2: _floats(b, [0.5]), 3: zero})
    b.StartObject(5)
    b.PrependUOffsetTRelativeSlot(0, sides, 0)
    b.PrependInt8Slot(1, INT8 if quantized else 2 if name == "axes" else FLOAT, 0)
    b.PrependUint32Slot(2, buffer, 0)
    b.PrependUOffsetTRelativeSlot(3, called, 0)
    if scale:
        b.PrependUOffsetTRelativeSlot(4, scale, 0)
    return int(b.EndObject())


def _options(b: Any, fields: list[tuple[int, float, str]], size: int) -> int:
    b.StartObject(size)
    for field, value, kind in fields:
        if kind == "f":
            b.PrependFloat32Slot(field, value, 0)
        elif kind == "i":
            b.PrependInt32Slot(field, int(value), 0)
        else:
            b.PrependInt8Slot(field, int(value), 0)
    return int(b.EndObject())


def _operator(b: Any, code: int, inputs: list[int], outputs: list[int], kind: int, options: int | None) -> int:
    into, out = _numbers(b, inputs), _numbers(b, outputs)
    b.StartObject(5)
    b.PrependUint32Slot(0, code, 0)
    b.PrependUOffsetTRelativeSlot(1, into, 0)
    b.PrependUOffsetTRelativeSlot(2, out, 0)
    if options is not None:
        b.PrependUint8Slot(3, kind, 0)
        b.PrependUOffsetTRelativeSlot(4, options, 0)
    return int(b.EndObject())


def _code(b: Any, code: int, custom: str) -> int:
    name = b.CreateString(custom) if code == CUSTOM else 0
    b.StartObject(4)
    b.PrependInt8Slot(0, code, 0)
    if name:
        b.PrependUOffsetTRelativeSlot(1, name, 0)
    b.PrependInt32Slot(2, 1, 0)
    b.PrependInt32Slot(3, code, 0)
    return int(b.EndObject())
