"""Keep everything after the last INT8 layer in float.

An output on a grid of 256 values has ties, so its order is lost. A layer in float that reads rounded values gains
nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.graph.census import PRODUCTS
from edgewright.graph.index import producers_of, readers_of
from edgewright.quantize.state import Int8State
from edgewright.quantize.steps import FloatTail

from .pairs import rewire

if TYPE_CHECKING:
    import onnx


def apply(_step: FloatTail, state: Int8State) -> int:
    """Remove the pairs after the last INT8 layers."""
    return take_out(state.quantized, state.model, keep_convolutions=state.scheme.quantized_output)


def take_out(model: onnx.ModelProto, reference: onnx.ModelProto, keep_convolutions: bool) -> int:
    """Remove the Q/DQ pairs after the last INT8 layers of `model`, in place; return the number of removed nodes.

    A pair stays if it also clips: ONNX Runtime's quantizer drops a Relu whose work the pair does, and then the layer's
    output differs from the float model `reference`. `keep_convolutions`: the output of a last convolution stays
    quantized, because ONNX Runtime needs that to run the convolution in INT8 (a matrix product can write float).
    """
    graph = model.graph
    readers = readers_of(graph)
    makers = producers_of(graph)
    originals = {node.name: list(node.output) for node in reference.graph.node}
    outputs = {value.name for value in graph.output}
    leads: set[str] = set()  # tensors from which a path leads to a layer
    integers = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    for node in reversed(graph.node):
        # Before a layer in float a pair only adds noise and a kernel, unless the layer before it needs it for INT8.
        is_layer = node.op_type in PRODUCTS and (keep_convolutions or node.input[1] in integers)
        if is_layer or leads.intersection(node.output):
            leads.update(node.input)
    renamed: dict[str, str] = {}
    gone: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type != "QuantizeLinear" or leads.intersection(node.output):
            continue
        maker = makers.get(node.input[0])
        if maker is None:
            continue
        # A pair on an output takes its name; the tensor before it gets another name.
        names = [pair.output[0] if pair.output[0] in outputs else node.input[0] for pair in readers[node.output[0]]]
        if not set(names) <= set(originals.get(maker.name, ())):
            continue
        if keep_convolutions and maker.op_type in ("Conv", "ConvTranspose", "Relu", "Clip"):
            continue
        for pair in readers[node.output[0]]:
            renamed[pair.output[0]] = node.input[0]
            gone.append(pair)
        gone.append(node)
    rewire(graph, renamed, gone)
    return len(gone)
