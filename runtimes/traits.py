"""What a runtime is like, as data: whoever needs to know asks for this, and for no name.

Each runtime's module holds its own, as ``TRAITS``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from .options import Precision

CPU, WIDE_CPU = 8, 16
"""Channels that fill a CPU's vectors, without and with AVX-512. Measured with AVX2 (`tests/perf/test_latency_table.py`,
where 49 to 55 outputs take OpenVINO and ONNX Runtime, float32 and INT8, at least as long as 56, and 48 visibly less).
Inputs matter less: ONNX Runtime wants multiples of 4, OpenVINO takes any. With AVX-512 the blocked layouts of oneDNN
(nChw16c) and MLAS (NCHWc) have 16 channels, by their sources. Arm's were not measured."""


class Saturation(msgspec.Struct, frozen=True, kw_only=True):
    """How INT8 kernels add up on x86 without VNNI, where pairs of products leave 16 bits.

    `activations`: the types that are multiplied so. `fused`: a convolution runs in INT8 only where its output is
    quantized too. `padded`: the channels of each position of a window are filled up, so that no pair spans two of them.
    """

    activations: tuple[Literal["u8", "s8"], ...]
    fused: bool
    padded: bool


class Traits(msgspec.Struct, frozen=True, kw_only=True):
    """What holds of a runtime on every machine.

    `distribution`: what must be installed to compile for it; empty where the device itself compiles. `reference`: it
    is what others are compared with on the machine that exported a model, and never ships. `on_device`: only the device
    that runs an artifact can build the last of it (`finish`); elsewhere it is checked and its answers are emulated.
    `threads`: it can be told how many to use. `builder`: it takes a `Builder`, with a largest batch and 2:4 sparsity.
    `typed_graph`: it takes every precision from the graph, FP16 included. `beside_int8`: the precision of what is not
    quantized beside INT8 layers, where the device has it; None: each that the device has is tried.

    `saturation`: see there; None where nothing saturates. `prefers_hardswish`: it computes HardSwish faster than SiLU.
    `prefers_slices`: it computes a shuffle of pixels slower than what the shuffle can be replaced by. `blocks`: the
    channels that it computes at once, by precision; None: as many as fill the CPU's vectors. `pooled_int8`: the
    channels that an INT8 max pool computes at once, at least.
    """

    distribution: str = ""
    reference: bool = False
    on_device: bool = False
    threads: bool = True
    builder: bool = False
    typed_graph: bool = False
    beside_int8: Precision | None = None
    saturation: Saturation | None = None
    prefers_hardswish: bool = False
    prefers_slices: bool = False
    blocks: dict[str, int] | None = None
    pooled_int8: int = 1

    def channel_block(self, precision: str, isa: Sequence[str] = ()) -> int:
        """The step in which channels of a layer save time in `precision` ("int8", "f32", "f16", "bf16").

        A layer takes as long as one whose channels fill the last block. `isa`: the instruction sets of the CPU, by the
        names of a target.
        """
        if self.blocks is not None:
            return self.blocks[precision]
        return WIDE_CPU if "avx512f" in isa else CPU

    def pooled_block(self, precision: str, isa: Sequence[str] = ()) -> int:
        """The step for channels that a max pool reads; at least `channel_block`, whose arguments it takes."""
        block = self.channel_block(precision, isa)
        return max(block, self.pooled_int8) if precision == "int8" else block
