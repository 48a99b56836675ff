"""How many channels a runtime computes at once: a layer takes as long as one whose channels fill the last block."""

from __future__ import annotations

from collections.abc import Sequence

CPU, WIDE_CPU = 8, 16
"""Without and with AVX-512. Measured with AVX2 (`tests/perf/test_latency_table.py`): with 49 to 55 outputs OpenVINO and
ONNX Runtime, float32 and INT8, take at least as long as with 56, and with 48 visibly less. Inputs matter less: ONNX
Runtime wants multiples of 4, OpenVINO takes any. With AVX-512 the blocked layouts of oneDNN
(nChw16c) and MLAS (NCHWc) have 16 channels, by their sources. Arm's were not measured."""
TENSORRT = {"int8": 32, "f16": 8, "bf16": 8, "f32": 4}
"""TensorRT's vectorized formats: kCHW32 in INT8, kHWC8 in FP16 (NVIDIA, TensorRT's "Data Format Descriptions"); in
float32 (TF32) four channels fill the 16 bytes that tensor cores want (NVIDIA, "Matrix Multiplication Background",
requirements for tensor cores)."""

POOLED = 32
"""OpenVINO without AVX-512 takes ten times as long for an INT8 max pool of more than 32 channels that are no multiple
of 32 (same script)."""


def channel_block(runtime: str, precision: str, isa: Sequence[str] = ()) -> int:
    """The step in which channels of a layer save time for `runtime`, in `precision` ("int8", "f32", "f16", "bf16").

    `isa`: the instruction sets of the CPU, by the names of a target.
    """
    if runtime == "tensorrt":
        return TENSORRT[precision]
    return WIDE_CPU if "avx512f" in isa else CPU


def pooled_block(runtime: str, precision: str, isa: Sequence[str] = ()) -> int:
    """The step for channels that a max pool reads; at least `channel_block`, whose arguments it takes."""
    block = channel_block(runtime, precision, isa)
    return max(block, POOLED) if runtime == "openvino" and precision == "int8" else block
