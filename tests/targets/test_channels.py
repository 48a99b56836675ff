"""The steps in which channels save time."""

from __future__ import annotations

import pytest

from edgewright.targets.channels import channel_block


@pytest.mark.parametrize(
    ("runtime", "precision", "isa", "block"),
    [
        ("openvino", "int8", ("avx2",), 8), ("onnxruntime", "f32", (), 8), ("openvino", "bf16", ("avx512f",), 16),
        ("tensorrt", "int8", (), 32), ("tensorrt", "f16", (), 8),
    ],
)  # fmt: skip
def test_a_block_of_channels(runtime: str, precision: str, isa: tuple[str, ...], block: int) -> None:
    assert channel_block(runtime, precision, isa) == block
