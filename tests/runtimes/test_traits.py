"""What runtimes are like: the steps in which channels save time."""

from __future__ import annotations

import pytest

from edgewright.runtimes import registry


@pytest.mark.parametrize(
    ("runtime", "precision", "isa", "block"),
    [
        ("openvino", "int8", ("avx2",), 8), ("onnxruntime", "f32", (), 8), ("openvino", "bf16", ("avx512f",), 16),
        ("tensorrt", "int8", (), 32), ("tensorrt", "f16", (), 8),
    ],
)  # fmt: skip
def test_a_block_of_channels(runtime: str, precision: str, isa: tuple[str, ...], block: int) -> None:
    assert registry.traits(runtime).channel_block(precision, isa) == block


def test_channels_of_an_int8_max_pool_come_in_larger_blocks() -> None:
    openvino = registry.traits("openvino")
    assert openvino.pooled_block("int8", ("avx2",)) == 32
    assert openvino.pooled_block("f32", ("avx2",)) == registry.traits("onnxruntime").pooled_block("int8") == 8
