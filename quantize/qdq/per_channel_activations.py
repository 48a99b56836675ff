"""A scale for each channel in front of depthwise convolutions, for runtimes that take it.

A depthwise convolution never adds channels up, so the scale of each can go into its weight's. Where channels have very
different ranges (behind a SiLU nothing evens them out) one scale leaves the narrow ones a few steps. NNCF places pairs
so for OpenVINO, whose kernels stay in INT8 by it and take no longer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgewright.graph.names import Names

if TYPE_CHECKING:
    import onnx

    from edgewright.quantize.calibration.statistics import ChannelRanges


def inputs(model: onnx.ModelProto) -> dict[str, int]:
    """The tensors that depthwise convolutions alone read, with the number of their channels (axis 1).

    Only those that make one channel of each: where there are several, OpenVINO 2026.4 applies the scales to the wrong
    ones (12 dB are left of its answers). None that comes out of a Concat, directly or behind one function: OpenVINO
    moves the quantization in front of the Concat with the scales of all channels for each part, and fails on it
    ("MoveFakeQuantize ... Argument shapes are inconsistent").
    """
    shapes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    outputs = {value.name for value in model.graph.output}
    found: dict[str, int] = {}
    others = set(outputs)
    for node in model.graph.node:
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        if node.op_type == "Conv" and groups > 1 and list(shapes.get(node.input[1], ())[:2]) == [groups, 1]:
            found[node.input[0]] = groups
            others.update(node.input[1:])
        else:
            others.update(node.input)
    makers = {name: node for node in model.graph.node for name in node.output}

    def is_joined(name: str, behind: int = 1) -> bool:
        node = makers.get(name)
        joined = node is not None and node.op_type == "Concat"
        return joined or bool(node is not None and behind and node.input and is_joined(node.input[0], 0))

    return {name: n for name, n in found.items() if name not in others and not is_joined(name)}


def apply(model: onnx.ModelProto, ranges: ChannelRanges) -> bool:
    """Give the u8 pairs on the tensors in `ranges` a scale and a zero point for each channel, in place.

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
    read = {name for node in graph.node for name in node.input}
    for unread in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(unread)
    return bool(changed)


def _grid(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scales (float32) and zero points (uint8) of channels with these ends, zero inside."""
    scale = np.maximum((high - low) / 255, np.finfo(np.float32).tiny)
    return scale.astype(np.float32), np.clip(np.rint(-low / scale), 0, 255).astype(np.uint8)
