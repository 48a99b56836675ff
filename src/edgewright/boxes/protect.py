"""Find the part of a detector that stays in float: its last layers, and all nodes that decode boxes from them.

Box distances and class logits have other ranges than features. In INT8, scores become lower although mAP may look fine.
The graph's structure decides, because node names differ between exports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.graph.census import PRODUCTS
from edgewright.graph.index import constants_of, producers_of

from . import spec as own

if TYPE_CHECKING:
    import onnx

    from edgewright.core.spec import ModelSpec

_MOVES = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity"})


def nodes(model: onnx.ModelProto) -> list[str]:
    """Return the names of the nodes of a detector's head: the last layers on each path to an output, and all later
    nodes.

    The convolution that computes the mean of a distribution over distances (DFL: one output channel, after a Softmax)
    is part of the decoding, not a layer.
    """
    return [node.name for node, _ in _head(model)]


def score_layers(model: onnx.ModelProto, spec: ModelSpec) -> list[onnx.NodeProto]:
    """Return a detector's last convolutions that predict classes or objectness, by their number of channels.

    One channel predicts objectness, and as many channels as classes predict classes. Four channels may be a box, so
    they are left out. There are none if scores come from a softmax, if one layer predicts boxes and classes (NanoDet),
    if a cell has several anchors, or if the last layers are not convolutions.
    """
    if own.of(spec).scores == "softmax":
        return []
    channels = {tensor.name: tensor.dims[0] for tensor in model.graph.initializer if tensor.dims}
    convolutions = [node for node in _last_layers(model) if node.op_type == "Conv" and len(node.input) > 2]
    return [node for node in convolutions if channels.get(node.input[2]) in {1, spec.classes} - {4}]


def _last_layers(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the layers among the nodes that `nodes` names."""
    return [node for node, is_layer in _head(model) if is_layer]


def _head(model: onnx.ModelProto) -> list[tuple[onnx.NodeProto, bool]]:
    graph = model.graph
    constants = constants_of(graph)
    makers = producers_of(graph)
    leads: set[str] = set()  # tensors that lead to a later layer
    found = []
    for node in reversed(graph.node):
        layer = (
            node.op_type in PRODUCTS
            and any(name in constants for name in node.input)
            and not _is_dfl(node, model, makers)
        )
        if leads.intersection(node.output):
            leads.update(node.input)
        else:
            found.append((node, layer))
            if layer:
                leads.update(node.input)
    return found[::-1]


def _is_dfl(node: onnx.NodeProto, model: onnx.ModelProto, makers: dict[str, onnx.NodeProto]) -> bool:
    weights = constants_of(model.graph).get(node.input[1]) if len(node.input) > 1 else None
    if node.op_type != "Conv" or weights is None or weights.dims[0] != 1:
        return False
    before = makers.get(node.input[0])
    while before is not None and before.op_type in _MOVES:
        before = makers.get(before.input[0])
    return before is not None and before.op_type == "Softmax"
