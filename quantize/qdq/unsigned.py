"""Convert signed activations to unsigned ones with the same values: the zero point and all integers shift by 128.

OpenVINO 2026.4 on x86 without VNNI computes networks with signed activations incorrectly (a YOLOX-nano loses nearly all
its boxes, and this pass restores them). With unsigned activations it agrees with the exact arithmetic of the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgewright.graph.index import constants_of
from edgewright.graph.names import Names

if TYPE_CHECKING:
    import onnx


def apply(model: onnx.ModelProto) -> bool:
    """Convert every s8 activation of `model` to u8, in place. Weights do not change. Returns whether there were any."""
    from onnx import numpy_helper

    graph = model.graph
    initial = constants_of(graph)
    signed = {
        node.output[0] for node in graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] not in initial
        and len(node.input) > 2 and numpy_helper.to_array(initial[node.input[2]]).dtype == np.int8
    }  # fmt: skip
    moved: dict[str, str] = {}
    names = Names(graph)
    for node in graph.node:
        quantizes = node.op_type == "QuantizeLinear" and node.output[0] in signed
        if not (quantizes or (node.op_type == "DequantizeLinear" and node.input[0] in signed)):
            continue
        name = node.input[2]
        if name not in moved:
            zero = numpy_helper.to_array(initial[name]).astype(np.int16) + 128
            moved[name] = names.free(f"{name}_unsigned")
            graph.initializer.append(numpy_helper.from_array(zero.astype(np.uint8), moved[name]))
        node.input[2] = moved[name]
    for value in [value for value in graph.value_info if value.name in signed]:
        graph.value_info.remove(value)
    read = {name for node in graph.node for name in node.input}
    for name in moved:
        if name not in read:
            graph.initializer.remove(initial[name])
    return bool(signed)
