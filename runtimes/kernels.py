"""A self-test of ONNX Runtime's INT8 kernels on this processor.

ONNX Runtime 1.22 to 1.24 uses wrong kernels on x86 with AMX or AVX-VNNI (microsoft/onnxruntime, pull request 27671,
fixed in 1.25). Some convolutions are wrong by half of their range, without an error. Python 3.10 has no version newer
than 1.23. So a few small layers run in two forms: fused into INT8 kernels, and unfused in float. This needs no list of
versions and processors.

The code writes the layers as ONNX itself, because a device has no onnx package. All scales are powers of two and all
sums are below 2^24, so both forms are exact. Weights have 7 bits, because without VNNI, x86 kernels saturate sums of
two products at 16 bits. The audit checks that separately (docs/reference/audit.md).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from edgewright.core.lazy import require

from .options import failure

TOLERANCE = 1
"""Allowed difference in quantization steps: kernels round ties differently."""
_TYPES: dict[str, tuple[Any, int]] = {
    "u8": (np.uint8, 2),
    "s8": (np.int8, 3),
    "s32": (np.int32, 6),
    "f32": (np.float32, 1),
}
"""The NumPy type and its number in ONNX (TensorProto.DataType)."""
_NOT_FUSED = {"session.disable_quant_qdq": "1"}
"""Session options that keep quantized layers in float: Q/DQ pairs stay, all other optimizations run."""


class Layer(NamedTuple):
    """One quantized layer of the self-test: shapes of its input and weights, their types (u8 or s8)."""

    operator: str
    activations: str
    weights: str
    input: tuple[int, ...]
    kernel: tuple[int, ...]

    def __str__(self) -> str:
        sides = ("x".join(map(str, shape)) for shape in (self.input, self.kernel))
        return f"{self.operator} {self.activations}{self.weights} {' by '.join(sides)}"


_IMAGE = (1, 3, 32, 32)
LAYERS = (
    *(Layer("Conv", "u8", "s8", _IMAGE, (channels, 3, 3, 3)) for channels in (20, 24, 28, 52, 56, 60)),
    Layer("Conv", "u8", "u8", _IMAGE, (24, 3, 3, 3)),
    Layer("Conv", "s8", "s8", _IMAGE, (24, 3, 3, 3)),
    Layer("Conv", "u8", "s8", (1, 16, 16, 16), (24, 16, 1, 1)),
    Layer("Conv", "u8", "s8", (1, 64, 8, 8), (56, 64, 1, 1)),
    Layer("Gemm", "u8", "s8", (38, 27), (24, 27)),
    Layer("MatMul", "u8", "s8", (38, 64), (64, 60)),
    Layer("MatMul", "u8", "u8", (38, 27), (27, 24)),
    Layer("MatMul", "s8", "s8", (38, 27), (27, 24)),
)
"""The first six shapes are wrong in ONNX Runtime 1.23 on AMX. Kernels compute 4, 6, 12 or 32 rows at once, and 38 rows
leave a remainder of two for all of them. On x86, ONNX Runtime computes s8s8 in float."""


def unfuse(settings: Any) -> None:
    """Change the session options so that quantized layers run in float, with their Q/DQ pairs."""
    for key, value in _NOT_FUSED.items():
        settings.add_session_config_entry(key, value)


@functools.cache
def wrong_layers() -> tuple[Layer, ...]:
    """Return the layers with wrong INT8 results on this machine. Runs once per process."""
    ort = require("onnxruntime", "onnxruntime")
    try:
        fused, exact = (_outputs(ort, fuse) for fuse in (True, False))
    except Exception as error:
        raise failure("ONNX Runtime", "run the self-test of its INT8 kernels", error) from error
    apart = (int(np.abs(a.astype(np.int32) - b).max()) for a, b in zip(fused, exact))
    return tuple(layer for layer, steps in zip(LAYERS, apart) if steps > TOLERANCE)


def fault() -> str:
    """Return a message about wrong INT8 kernels with a remedy; empty if all kernels are right."""
    wrong = wrong_layers()
    if not wrong:
        return ""
    version = require("onnxruntime", "onnxruntime").__version__
    return (
        f"The INT8 kernels of onnxruntime {version} give wrong results on this processor: {len(wrong)} of "
        f"{len(LAYERS)} layers of a self-test ({wrong[0]}). Versions 1.22 to 1.24 have this error. Install 1.25 or "
        "newer, which needs Python 3.11 or newer."
    )


def _outputs(ort: Any, fuse: bool) -> list[np.ndarray]:
    """Return the output of each layer, in quantization steps."""
    settings, level = ort.SessionOptions(), ort.GraphOptimizationLevel
    settings.graph_optimization_level = level.ORT_ENABLE_ALL if fuse else level.ORT_DISABLE_ALL
    settings.intra_op_num_threads, settings.log_severity_level = 1, 3
    session = ort.InferenceSession(model(), settings, providers=["CPUExecutionProvider"])
    found: list[np.ndarray] = session.run(None, {f"{i}.x": _values(layer, i) for i, layer in enumerate(LAYERS)})
    return found


def _values(layer: Layer, seed: int) -> np.ndarray:
    """Return the input of the layer, over the full range of its type."""
    kind = _TYPES[layer.activations][0]
    return _noise(layer.input, seed, np.iinfo(kind).min, 8).astype(kind)


def _noise(shape: tuple[int, ...], seed: int, lowest: int, bits: int) -> np.ndarray:
    """Return pseudo-random integers of `bits` bits from `lowest` on. The import of numpy.random takes too long."""
    x = np.arange(math.prod(shape), dtype=np.uint32) + np.uint32(seed * 100_003 + 1)
    for factor in (
        0x7FEB352D,
        0x846CA68B,
    ):  # a hash: every bit of the input changes half of the output
        x = (x ^ (x >> np.uint32(16))) * np.uint32(factor)
    return (x >> np.uint32(32 - bits)).astype(np.int64).reshape(shape) + lowest


@functools.cache
def model() -> bytes:
    """Return the layers as one ONNX file, each with the Q/DQ pairs that quantizers write."""
    # ModelProto: 1 ir_version, 7 graph, 8 opset_import (2 version)
    parts = [part for number, layer in enumerate(LAYERS) for part in _layer(layer, f"{number}.", number)]
    return _message([(1, 8), (7, _message([(2, "kernels"), *parts])), (8, _message([(2, 13)]))])


def _layer(layer: Layer, name: str, seed: int) -> Iterable[tuple[int, bytes]]:
    """Return the fields of GraphProto for `layer`. Its tensors and nodes have the prefix `name`."""
    channel_axis = 1 if layer.operator == "MatMul" else 0
    channels, terms = layer.kernel[channel_axis], math.prod(layer.kernel) // layer.kernel[channel_axis]
    per_channel = layer.operator == "Conv" and layer.weights == "s8"
    middle = 128 if layer.weights == "u8" else 0
    scales = np.exp2(-(np.arange(channels) % 2)) if per_channel else np.ones(())
    zero = 117 if layer.activations == "u8" else -11
    step = np.exp2(round(math.log2(74 * 37 * math.sqrt(terms) / 50)))  # deviations of input and weights, of 255 steps
    constants: dict[str, tuple[str, Any]] = {
        "one": ("f32", 1), "xz": (layer.activations, zero), "ws": ("f32", scales),
        "wz": (layer.weights, np.full(scales.shape, middle)), "ys": ("f32", step), "yz": (layer.activations, zero),
        "w": (layer.weights, _noise(layer.kernel, 100 + seed, -64, 7) + middle),
    }  # fmt: skip
    axis = _attribute("axis", 0) if per_channel else b""
    inputs = ["xd", "wd"]
    yield 1, _node("DequantizeLinear", [name + n for n in ("x", "one", "xz")], name + "xd")
    yield 1, _node("DequantizeLinear", [name + n for n in ("w", "ws", "wz")], name + "wd", axis)
    if layer.operator != "MatMul":
        constants["b"] = ("s32", _noise((channels,), 200 + seed, -8192, 14))
        inputs.append("bd")
        yield 1, _node("DequantizeLinear", [name + n for n in ("b", "ws")], name + "bd", axis)
    how = {"Conv": _attribute("pads", [layer.kernel[-1] // 2] * 4), "Gemm": _attribute("transB", 1)}
    yield 1, _node(layer.operator, [name + n for n in inputs], name + "y", how.get(layer.operator, b""))
    yield 1, _node("QuantizeLinear", [name + n for n in ("y", "ys", "yz")], name + "q")
    for constant, (kind, value) in constants.items():
        yield 5, _tensor(name + constant, kind, value)
    image = layer.operator == "Conv"
    shape = (1, channels, *layer.input[2:]) if image else (layer.input[0], channels)
    yield 11, _value_info(name + "x", layer.activations, layer.input)
    yield 12, _value_info(name + "q", layer.activations, shape)


# ONNX's messages (onnx.proto), by the numbers of their fields.


def _node(operator: str, inputs: list[str], output: str, attribute: bytes = b"") -> bytes:
    attributes = [(5, attribute)] if attribute else []
    return _message([*((1, name) for name in inputs), (2, output), (4, operator), *attributes])


def _attribute(name: str, value: int | list[int]) -> bytes:
    if isinstance(value, int):
        return _message([(1, name), (3, value), (20, 2)])
    return _message([(1, name), *((8, number) for number in value), (20, 7)])


def _tensor(name: str, kind: str, value: Any) -> bytes:
    dtype, number = _TYPES[kind]
    array = np.asarray(value).astype(np.dtype(dtype).newbyteorder("<"))
    return _message([*((1, side) for side in array.shape), (2, number), (8, name), (9, array.tobytes())])


def _value_info(name: str, kind: str, shape: tuple[int, ...]) -> bytes:
    sides = [(1, _message([(1, side)])) for side in shape]
    tensor = _message([(1, _TYPES[kind][1]), (2, _message(sides))])
    return _message([(1, name), (2, _message([(1, tensor)]))])


def _message(fields: Iterable[tuple[int, int | str | bytes]]) -> bytes:
    """A protobuf message of (number, value)."""
    out = bytearray()
    for number, value in fields:
        if isinstance(value, int):
            out += _varint(number << 3) + _varint(value)
        else:
            content = value.encode() if isinstance(value, str) else value
            out += _varint(number << 3 | 2) + _varint(len(content)) + content
    return bytes(out)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
