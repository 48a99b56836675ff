"""Keep what comes behind the last layer in INT8 in float.

An answer on a grid of 256 values has ties, and its order is lost; a layer in float reads rounded values for nothing.
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
    """Take the pairs behind the last layers in INT8 out."""
    return take_out(state.quantized, state.model, keep_convolutions=state.scheme.quantized_output)


def take_out(model: onnx.ModelProto, reference: onnx.ModelProto, keep_convolutions: bool) -> int:
    """Take the Q/DQ pairs behind the last INT8 layers out of `model`, in place; returns how many nodes went.

    A pair stays where it also clips: ONNX Runtime's quantizer drops a Relu whose work the pair does, and gives the
    layer another output than it has in the float model `reference`. `keep_convolutions`: the output of a last
    convolution stays quantized, since ONNX Runtime computes a convolution in INT8 only so (a matrix product's kernel
    can answer in float).
    """
    graph = model.graph
    readers = readers_of(graph)
    makers = producers_of(graph)
    originals = {node.name: list(node.output) for node in reference.graph.node}
    outputs = {value.name for value in graph.output}
    leads: set[str] = set()  # tensors from which a layer is reached
    integers = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    for node in reversed(graph.node):
        # To a layer in float a pair is only noise, and a kernel; but for what makes a layer before it run in INT8.
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
        # A pair on an answer takes its name, and what makes it gets another.
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
