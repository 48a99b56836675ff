"""What stays in float in a detector of rotated boxes: its head, and the layer before each angle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.boxes import protect
from edgewright.core.spec import ModelSpec

if TYPE_CHECKING:
    import onnx


def nodes(model: onnx.ModelProto) -> list[str]:
    """Return the names of the nodes that stay in float: those of the head."""
    return protect.nodes(model)


def score_layers(model: onnx.ModelProto, spec: ModelSpec) -> list[onnx.NodeProto]:
    """Return the layers that predict classes. The layers of angles, with one channel, are none of them."""
    found = protect.score_layers(model, spec)
    channels = {tensor.name: tensor.dims[0] for tensor in model.graph.initializer if tensor.dims}
    if spec.classes > 1:
        return [node for node in found if channels.get(node.input[2]) == spec.classes]
    angles = _makers(model, [output.name for output in model.graph.output[1:]])
    return [node for node in found if node.name not in angles]


def _makers(model: onnx.ModelProto, names: list[str]) -> set[str]:
    """Return the names of the nodes that lead to the tensors `names`, without those before the first convolution."""
    makers = {name: node for node in model.graph.node for name in node.output}
    found, wanted = set[str](), list(names)
    while wanted:
        node = makers.get(wanted.pop())
        if node is not None and node.name not in found:
            found.add(node.name)
            if node.op_type != "Conv":
                wanted += node.input
    return found
