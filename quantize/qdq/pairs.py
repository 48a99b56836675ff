"""Remove Q/DQ pairs from a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.graph import files

if TYPE_CHECKING:
    import onnx


def without(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` in which activations bypass their Q/DQ pairs. Quantized weights do not change."""
    copy = files.copy(model)
    quantizers = {node.output[0]: node for node in copy.graph.node if node.op_type == "QuantizeLinear"}
    behind = [node for node in copy.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in quantizers]
    renamed = {node.output[0]: quantizers[node.input[0]].input[0] for node in behind}
    rewire(copy.graph, renamed, [*behind, *quantizers.values()])
    return copy


def rewire(graph: onnx.GraphProto, renamed: dict[str, str], gone: list[onnx.NodeProto]) -> None:
    """Remove the nodes `gone` from `graph`, in place. Readers of a tensor in `renamed` read its replacement."""
    outputs = {value.name for value in graph.output}
    for node in gone:
        graph.node.remove(node)
    for new, old in renamed.items():
        if new in outputs:  # The pair wrote an output of the model: its source takes that name.
            for node in graph.node:
                for names in (node.input, node.output):
                    names[:] = [new if name == old else name for name in names]
        else:
            for node in graph.node:
                node.input[:] = [old if name == new else name for name in node.input]
