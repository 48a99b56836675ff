"""Remove Q/DQ pairs inside activation functions that the runtime fuses into the layer before.

OpenVINO fuses a convolution, its activation function and the quantization after it into one kernel. A pair between
convolution and function rounds twice, which costs MobileNetV3 most. (ONNX Runtime has no such kernel. There the pair
makes the convolution run in INT8.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.graph import clean
from edgewright.graph.index import readers_of

from .pairs import rewire

if TYPE_CHECKING:
    import onnx

FUNCTIONS = frozenset(
    {"Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Erf", "Gelu", "Elu", "LeakyRelu", "PRelu", "Mish"}
)
"""Functions that stay in float between a layer's INT8 product and the pair after them."""


def apply(model: onnx.ModelProto, reference: onnx.ModelProto) -> bool:
    """Remove the pairs on the tensors `inside` the functions of the float model `reference` from `model`, in place.

    Returns whether there were any. Tensors have the same names in both.
    """
    unwanted = inside(reference)
    graph = model.graph
    quantizers = {node.output[0]: node for node in graph.node if node.op_type == "QuantizeLinear"}
    renamed: dict[str, str] = {}
    gone: list[onnx.NodeProto] = []
    for node in graph.node:
        quantizer = quantizers.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if quantizer is not None and quantizer.input[0] in unwanted:
            renamed[node.output[0]] = quantizer.input[0]
            gone += [node] if quantizer in gone else [node, quantizer]
    rewire(graph, renamed, gone)
    clean.drop_unread(graph)
    return bool(gone)


def inside(model: onnx.ModelProto) -> set[str]:
    """The tensors of a float graph that only an activation function reads, or that are inside one.

    ``x * Sigmoid(x)``, the exported form of SiLU, is one function (as is ``x * HardSigmoid(x)``): x and the gate are
    inside.
    """
    readers = readers_of(model.graph)
    found = set()
    for name, nodes in readers.items():
        gates = {out for node in nodes if node.op_type in FUNCTIONS for out in node.output}
        products = [node for node in nodes if node.op_type == "Mul" and gates.intersection(node.input)]
        if gates and all(node.op_type in FUNCTIONS or node in products for node in nodes):
            found.add(name)
            found |= {gate for gate in gates if products and all(node in products for node in readers.get(gate, []))}
    return found - {value.name for value in (*model.graph.input, *model.graph.output)}
