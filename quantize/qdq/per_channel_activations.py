"""One scale per channel for the inputs of depthwise convolutions, for runtimes that support it.

A depthwise convolution never sums over channels, so the scale of each channel can be folded into that of its weight. If
channels have very different ranges (after a SiLU nothing equalizes them), one common scale leaves the narrow ones few
steps. NNCF places pairs this way for OpenVINO, whose kernels stay in INT8 and take no longer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgewright.graph import clean
from edgewright.graph.names import Names

if TYPE_CHECKING:
    import onnx

    from edgewright.quantize.calibration.statistics import ChannelRanges


def apply(model: onnx.ModelProto, ranges: ChannelRanges) -> bool:
    """Give the u8 pairs on the tensors in `ranges` one scale and zero point per channel, in place.

    Returns whether there were any.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    changed: dict[str, tuple[str, str]] = {}
    names = Names(graph)
    for node in graph.node:
        tensor = node.input[0] if node.op_type == "QuantizeLinear" else ""
        if tensor in ranges:
            scale, zero_point = (names.free(f"{tensor}_channels_{what}") for what in ("scale", "zero_point"))
            changed[node.output[0]] = (scale, zero_point)
            for name, array in zip(changed[node.output[0]], _grid(*ranges[tensor])):
                graph.initializer.append(numpy_helper.from_array(array, name))
    for node in graph.node:
        quantized = (node.output if node.op_type == "QuantizeLinear" else node.input)[:1]
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and quantized[0] in changed:
            node.input[1:] = changed[quantized[0]]
            node.attribute.append(helper.make_attribute("axis", 1))
    clean.drop_unread(graph)
    return bool(changed)


def _grid(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scales (float32) and zero points (uint8) of channels with these ends, zero included."""
    scale = np.maximum((high - low) / 255, np.finfo(np.float32).tiny)
    return scale.astype(np.float32), np.clip(np.rint(-low / scale), 0, 255).astype(np.uint8)
