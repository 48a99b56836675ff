"""Depthwise convolutions: layers without sums over channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .index import producers_of

if TYPE_CHECKING:
    import onnx


def inputs(model: onnx.ModelProto) -> dict[str, int]:
    """The tensors that only depthwise convolutions read, with their number of channels (axis 1).

    Only convolutions with one output channel per input channel: with more, OpenVINO 2026.4 applies the scales to the
    wrong channels (12 dB SQNR remain). Outputs of a Concat, direct or after one function, are excluded. OpenVINO moves
    the quantization in front of the Concat with the scales of all channels for each part, and fails ("MoveFakeQuantize
    ... Argument shapes are inconsistent").
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
    makers = producers_of(model.graph)

    def is_joined(name: str, behind: int = 1) -> bool:
        node = makers.get(name)
        joined = node is not None and node.op_type == "Concat"
        return joined or bool(node is not None and behind and node.input and is_joined(node.input[0], 0))

    return {name: n for name, n in found.items() if name not in others and not is_joined(name)}
