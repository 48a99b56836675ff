"""Properties of a runtime as data. Other code reads these properties and never compares names of runtimes.

Each module of a runtime defines its own ``TRAITS``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from .options import Precision

CPU, WIDE_CPU = 8, 16
"""Channels that fill a CPU's vectors, without and with AVX-512. Measured with AVX2
(`tests/perf/test_latency_table.py`): in OpenVINO and ONNX Runtime, float32 and INT8, 49 to 55 output channels take at
least as long as 56, and 48 take clearly less. Input channels matter less: ONNX Runtime prefers multiples of 4, OpenVINO
accepts any number. With AVX-512, the blocked layouts of oneDNN (nChw16c) and MLAS (NCHWc) have 16 channels, by their
source code. Arm was not measured."""


class Saturation(msgspec.Struct, frozen=True, kw_only=True):
    """How INT8 kernels add products on x86 without VNNI, where the sum of two products saturates at 16 bits.

    `activations`: the activation types that are computed in this way. `fused`: a convolution runs in INT8 only if its
    output is quantized too. `padded`: the channels at each window position are padded, so no pair spans two positions.
    """

    activations: tuple[Literal["u8", "s8"], ...]
    fused: bool
    padded: bool


class Traits(msgspec.Struct, frozen=True, kw_only=True):
    """Properties of a runtime that are the same on every machine.

    `distribution`: the package that is needed to compile for it; empty if the device compiles. `reference`: the runtime
    is the reference on the machine that exported a model, and is never shipped. `on_device`: only the device can finish
    an artifact (`finish`); other machines check it and emulate its outputs. `threads`: the number of threads can be
    set. `builder`: it accepts a `Builder`, with a largest batch and 2:4 sparsity. `typed_graph`: it takes every
    precision from the graph, FP16 included. `beside_int8`: precision of the float layers in an INT8 model, if the
    device supports it; None: each precision of the device is tried.

    `saturation`: see `Saturation`; None if nothing saturates. `prefers_hardswish`: HardSwish is faster than SiLU.
    `prefers_slices`: a channel shuffle is slower than its replacement. `blocks`: channels that are computed at once, by
    precision; None: as many as fill the CPU's vectors. `pooled_int8`: minimum number of channels that an INT8 max pool
    computes at once.
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
        """Return the block size of channels in `precision` ("int8", "f32", "f16", "bf16").

        A layer takes as long as a layer whose channels fill the last block. `isa`: instruction sets of the CPU, by the
        names of a target.
        """
        if self.blocks is not None:
            return self.blocks[precision]
        return WIDE_CPU if "avx512f" in isa else CPU

    def pooled_block(self, precision: str, isa: Sequence[str] = ()) -> int:
        """Return the block size of the channels that a max pool reads, at least `channel_block` (same arguments)."""
        block = self.channel_block(precision, isa)
        return max(block, self.pooled_int8) if precision == "int8" else block
