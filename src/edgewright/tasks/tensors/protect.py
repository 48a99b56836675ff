"""Find what stays in float in a model of unknown meaning: coordinates, and small last layers.

GridSample, RoiAlign and deformable convolutions read a feature map at computed places. An error of a place moves the
result, however small it is next to the feature values. Therefore the nodes that compute places stay in float, back to
the layers before them, and on to the layers that read them: next to features, places would share their INT8 scale. So
do the last layers before each output if they are a small part of the work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgewright.graph.census import PRODUCTS
from edgewright.graph.index import constants_of, producers_of

if TYPE_CHECKING:
    import onnx

    from edgewright.core.spec import ModelSpec

PLACES = {"GridSample": (1,), "RoiAlign": (1,), "DeformConv": (2,), "MaxRoiPool": (1,), "GatherND": (1,)}
"""Operators that read at computed places, with the positions of the inputs that are places."""
SMALL = 0.05
"""The last layers stay in float if they have at most this share of all multiplications."""


def nodes(model: onnx.ModelProto) -> list[str]:
    """Return the names of the nodes that compute places and, if they are small, of the last layers and what follows."""
    makers = producers_of(model.graph)
    places = [node.input[k] for node in model.graph.node for k in PLACES.get(node.op_type, ()) if len(node.input) > k]
    found = _before(places, makers)
    found += _behind([name for node in found for name in node.output], model, found)
    last = _before([value.name for value in model.graph.output], makers)
    work = _work(model)
    total = sum(work.values())
    if sum(work.get(node.name, 0) for node in last) <= SMALL * total:
        found += last
    names = {node.name for node in found}
    return [node.name for node in model.graph.node if node.name in names]


def score_layers(model: onnx.ModelProto, spec: ModelSpec) -> list[onnx.NodeProto]:
    """Return no layers: nothing is known about the outputs."""
    return []


def _before(tensors: list[str], makers: dict[str, onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Return the nodes that compute `tensors`, back to the nearest layers with weights, with these layers."""
    found, waiting, seen = [], list(tensors), set[str]()
    while waiting:
        node = makers.get(name := waiting.pop())
        if node is None or name in seen:
            continue
        seen.update(node.output)
        found.append(node)
        if node.op_type not in PRODUCTS and node.op_type not in PLACES:
            waiting += node.input
    return found


def _behind(tensors: list[str], model: onnx.ModelProto, known: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Return the nodes that read `tensors`, up to the nearest layers with weights, with these layers."""
    reached, found = set(tensors), []
    inside = {node.output[0] for node in known}
    for node in model.graph.node:
        if node.output[0] in inside or not reached.intersection(node.input) or node.op_type in PLACES:
            continue
        found.append(node)
        if node.op_type not in PRODUCTS:
            reached.update(node.output)
    return found


def _work(model: onnx.ModelProto) -> dict[str, int]:
    """Return the multiplications of each layer with weights, by name; without known shapes, the number of weights."""
    import onnx

    constants = constants_of(model.graph)
    inferred = onnx.shape_inference.infer_shapes(model).graph
    sizes = {
        value.name: [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
        for value in (*inferred.value_info, *inferred.output)
    }
    work: dict[str, int] = {}
    for node in model.graph.node:
        if node.op_type in PRODUCTS and len(node.input) > 1 and node.input[1] in constants:
            dims = constants[node.input[1]].dims
            places = sizes.get(node.output[0], [])[2:] if node.op_type.startswith("Conv") else [1]
            work[node.name] = int(np.prod(dims)) * int(np.prod(places or [1]))
    return work
