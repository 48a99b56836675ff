"""The blocks of a graph: parts with one input tensor and one output tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from edgewright.core.lazy import require

from .census import LAYERS
from .index import constants_of

if TYPE_CHECKING:
    import onnx

MOST_LAYERS = 2
"""The most layers of a block. Two suffice for a residual block, an attention, a squeeze and excitation. With more,
depthwise layers would share a block with pointwise ones, which need another precision on most machines."""


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes of one block, by name and in the order of the graph. `name`: that of its first layer."""

    name: str
    nodes: tuple[str, ...]
    layers: tuple[str, ...]


def find(model: onnx.ModelProto, most: int = MOST_LAYERS) -> tuple[Block, ...]:
    """The blocks of `model` in the order of the graph. Every node is in exactly one, and every block has a layer.

    A block is the part between a tensor and the next one that all its paths lead through (single entry, single exit:
    the first dominates the second, the second postdominates the first). It is as large as possible with at most `most`
    layers; with 1 each layer is a block. A node outside them (activations, additions) joins the block of its last
    input. A layer is a convolution or matrix product with constant weights. Nodes must have names.
    """
    nodes = list(model.graph.node)
    constants = constants_of(model.graph)
    layers = {i for i, node in enumerate(nodes) if node.op_type in LAYERS and node.input[1] in constants}
    part: dict[int, int] = {}  # node -> the first node of its part
    for region in sorted(_regions(model), key=len, reverse=True):
        if len(layers & region) <= most and not any(i in part for i in region):
            part.update(dict.fromkeys(region, min(region)))
    for i in range(len(nodes)):
        part.setdefault(i, i)
    _join(nodes, layers, part)
    members: dict[int, list[int]] = {}
    for i in range(len(nodes)):
        members.setdefault(part[i], []).append(i)
    found = []
    for group in sorted(members.values(), key=min):
        own = tuple(nodes[i].name for i in group if i in layers)
        found.append(
            Block(name=(own or (nodes[group[0]].name,))[0], nodes=tuple(nodes[i].name for i in group), layers=own)
        )
    return tuple(found)


def _regions(model: onnx.ModelProto) -> list[set[int]]:
    """All sets of nodes between a node (excluded) and the nearest node that all its paths lead through."""
    networkx = require("networkx", "host")
    graph = networkx.DiGraph()
    makers = {name: i for i, node in enumerate(model.graph.node) for name in node.output}
    fed = {value.name for value in model.graph.input} - constants_of(model.graph).keys()
    for i, node in enumerate(model.graph.node):
        graph.add_edges_from(
            ("in" if name in fed else makers[name], i) for name in node.input if name in makers or name in fed
        )
    graph.add_edges_from((makers[value.name], "out") for value in model.graph.output if value.name in makers)
    if "in" not in graph or "out" not in graph:
        return []
    alive = networkx.descendants(graph, "in") & networkx.ancestors(graph, "out")  # without nodes on constants only
    graph = graph.subgraph([*alive, "in", "out"])
    before = networkx.immediate_dominators(graph, "in")
    behind = networkx.immediate_dominators(graph.reverse(copy=False), "out")
    return [
        {
            i
            for i in networkx.descendants(graph, first) & networkx.ancestors(graph, last) | {last}
            if i not in ("in", "out")
        }
        for first, last in behind.items()
        if first != "out" and last != first and last != "out" and before.get(last) == first
    ]


def _join(nodes: list[onnx.NodeProto], layers: set[int], part: dict[int, int]) -> None:
    """Add each node outside a part to the part of its last input, or, if it has none, to that of its first reader."""
    makers = {name: i for i, node in enumerate(nodes) for name in node.output}
    for forwards in (True, False):
        for i in range(len(nodes)) if forwards else reversed(range(len(nodes))):
            own = {j for j, first in part.items() if first == part[i]}
            if layers & own:
                continue
            if forwards:
                others = {makers[name] for j in own for name in nodes[j].input if name in makers} - own
            else:
                outputs = {name for j in own for name in nodes[j].output}
                others = {j for j, node in enumerate(nodes) if j not in own and outputs.intersection(node.input)}
            if others:
                part.update(dict.fromkeys(own, part[max(others) if forwards else min(others)]))
