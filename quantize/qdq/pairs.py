"""Q/DQ pairs taken out of a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.graph import files

if TYPE_CHECKING:
    import onnx


def without(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` in which activations pass by their Q/DQ pairs; quantized weights stay what they are."""
    copy = files.copy(model)
    quantizers = {node.output[0]: node for node in copy.graph.node if node.op_type == "QuantizeLinear"}
    behind = [node for node in copy.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in quantizers]
    renamed = {node.output[0]: quantizers[node.input[0]].input[0] for node in behind}
    rewire(copy.graph, renamed, [*behind, *quantizers.values()])
    return copy


def rewire(graph: onnx.GraphProto, renamed: dict[str, str], gone: list[onnx.NodeProto]) -> None:
    """Take the nodes `gone` out of `graph`, in place; who reads a tensor in `renamed` reads the one it stands for."""
    outputs = {value.name for value in graph.output}
    for node in gone:
        graph.node.remove(node)
    for new, old in renamed.items():
        if new in outputs:  # the pair made an output of the model: its source takes that name
            for node in graph.node:
                for names in (node.input, node.output):
                    names[:] = [new if name == old else name for name in names]
        else:
            for node in graph.node:
                node.input[:] = [old if name == new else name for name in node.input]
