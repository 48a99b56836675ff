"""How many channels a runtime computes at once: a layer takes as long as one whose channels fill the last block."""

from __future__ import annotations

from collections.abc import Sequence

CPU, WIDE_CPU = 8, 16
"""Without and with AVX-512. Measured with AVX2 (`tests/perf/test_latency_table.py`): OpenVINO and ONNX Runtime, float32
and INT8, take at 49 channels what they take at 56, and at 48 a fifth less. With AVX-512 the blocked layouts of oneDNN
(nChw16c) and MLAS (NCHWc) have 16 channels, by their sources. Arm's were not measured."""
TENSORRT = {"int8": 32, "f16": 8, "bf16": 8, "f32": 4}
"""TensorRT's vectorized formats: kCHW32 in INT8, kHWC8 in FP16; in float32 (TF32) four channels fill the 16 bytes that
tensor cores want (NVIDIA, "Matrix Multiplication Background", requirements for tensor cores)."""


def channel_block(runtime: str, precision: str, isa: Sequence[str] = ()) -> int:
    """The step in which channels of a layer save time for `runtime`, in `precision` ("int8", "f32", "f16", "bf16").

    `isa`: the instruction sets of the CPU, by the names of a target.
    """
    if runtime == "tensorrt":
        return TENSORRT[precision]
    return WIDE_CPU if "avx512f" in isa else CPU
