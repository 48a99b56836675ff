"""Use zero points only where they pay: activations get a signed grid around zero if that costs little accuracy.

On processors with AMX a convolution with u8 inputs and a zero point takes longer than one with s8 inputs and none (it
must compensate for the zero point and the padding). Without AMX both take the same time. A grid around zero has coarser
steps, up to twice as long: after a SiLU that loses one bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgewright.graph import clean
from edgewright.graph.index import constants_of
from edgewright.graph.names import Names

if TYPE_CHECKING:
    import onnx

COARSER = 1.25
"""How many times coarser a grid without a zero point may be: 1.9 dB of a tensor's noise."""


def apply(model: onnx.ModelProto, coarser: float = COARSER) -> set[str]:
    """Convert u8 pairs with a zero point to s8 pairs without, in place, if no step gets more than `coarser` times as
    long.

    Returns the changed tensors (before the pairs).
    """
    from onnx import numpy_helper

    graph = model.graph
    constants, names = constants_of(graph), Names(graph)
    changed: dict[str, tuple[str, str]] = {}
    tensors: set[str] = set()
    made: dict[tuple[str, str], tuple[str, str]] = {}
    for node in graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0] in constants:
            continue
        scale, zero = (numpy_helper.to_array(constants[name]) for name in node.input[1:3])
        if zero.dtype != np.uint8 or not zero.any():
            continue
        below, above = zero.astype(np.float64), 255 - zero.astype(np.float64)
        times = np.maximum(below / 128, above / 127)
        if (times > coarser).any():
            continue
        key = node.input[1], node.input[2]
        if key not in made:
            made[key] = names.free(f"{key[0]}_signed"), names.free(f"{key[1]}_signed")
            for name, value in zip(made[key], ((scale * times).astype(np.float32), np.zeros_like(zero, np.int8))):
                graph.initializer.append(numpy_helper.from_array(value, name))
        changed[node.output[0]] = made[key]
        tensors.add(node.input[0])
    for node in graph.node:
        quantized = (node.output if node.op_type == "QuantizeLinear" else node.input)[:1]
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and quantized[0] in changed:
            node.input[1:] = changed[quantized[0]]
    clean.drop_unread(graph)
    return tensors
