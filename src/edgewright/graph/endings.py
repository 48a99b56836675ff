"""The end of a graph: its last layers with weights, and all nodes after them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .census import PRODUCTS
from .index import constants_of, producers_of

if TYPE_CHECKING:
    import onnx


def of(model: onnx.ModelProto) -> list[tuple[onnx.NodeProto, bool]]:
    """Return the last layers on each path to an output and all later nodes, in the graph's order, and whether each is
    a layer."""
    constants = constants_of(model.graph)
    leads: set[str] = set()  # tensors that lead to a later layer
    found = []
    for node in reversed(model.graph.node):
        layer = node.op_type in PRODUCTS and any(name in constants for name in node.input)
        if leads.intersection(node.output):
            leads.update(node.input)
        else:
            found.append((node, layer))
            if layer:
                leads.update(node.input)
    return found[::-1]


def before(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the layers whose output reaches a last layer with no other layer between."""
    constants, makers = constants_of(model.graph), producers_of(model.graph)
    waiting = [name for node, layer in of(model) if layer for name in node.input if name not in constants]
    found: dict[str, onnx.NodeProto] = {}
    seen = set(waiting)
    while waiting:
        node = makers.get(waiting.pop())
        if node is None:
            continue
        if node.op_type in PRODUCTS and any(name in constants for name in node.input):
            found[node.output[0]] = node
            continue
        new = [name for name in node.input if name and name not in constants and name not in seen]
        seen.update(new)
        waiting += new
    return list(found.values())


def first_layers(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the layers with weights that read the image with no other layer before them."""
    constants = constants_of(model.graph)
    reached = {value.name for value in model.graph.input} - set(constants)
    found = []
    for node in model.graph.node:
        if not reached.intersection(node.input):
            continue
        if node.op_type in PRODUCTS and any(name in constants for name in node.input):
            found.append(node)
        else:
            reached.update(node.output)
    return found
