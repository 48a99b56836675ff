"""Put the nodes of a graph into the order in which they can run.

ONNX asks for it and onnx.checker refuses a file without; ONNX Runtime and OpenVINO do not care, so that writers of such
files (float16 converters, `yolo export half=True`, keras2onnx) never notice.
"""

from __future__ import annotations

from typing import Any

from edgewright.core.errors import InvalidInput


def apply(graph: Any, name: str) -> bool:
    """Sort the nodes of `graph` (or of a function) and of its nested graphs in place; returns whether any moved.

    Nodes that are in order keep it. Raises `InvalidInput` where nodes wait for one another in a circle; `name` is the
    model's, for the message.
    """
    moved = False
    for node in graph.node:
        for inner in nested(node):
            moved = apply(inner, name) or moved
    order = _order(graph, name)
    if order != list(range(len(order))):
        nodes = [type(graph.node[i]).FromString(graph.node[i].SerializeToString()) for i in order]
        del graph.node[:]
        graph.node.extend(nodes)
        moved = True
    return moved


def nested(node: Any) -> list[Any]:
    """The graphs inside the attributes of `node` (If, Loop, Scan)."""
    found = [a.g for a in node.attribute if a.HasField("g")]
    return found + [graph for a in node.attribute for graph in a.graphs]


def read(node: Any) -> set[str]:
    """The tensors that `node` needs, those that its nested graphs take from outside included."""
    found = set(node.input)
    for graph in nested(node):
        # A nested graph's own names are counted, too: names are unique in a valid model, so they lead nowhere.
        for inner in graph.node:
            found |= read(inner)
        found.update(value.name for value in graph.output)
    return found


def _order(graph: Any, name: str) -> list[int]:
    """The places of the nodes, each behind those that it reads from, otherwise as they stand."""
    maker = {out: i for i, node in enumerate(graph.node) for out in node.output if out}
    needs = [sorted({maker[name] for name in read(node) if name in maker} - {i}) for i, node in enumerate(graph.node)]
    order: list[int] = []
    state = [0] * len(needs)  # 0: not seen, 1: waits for what it reads, 2: placed
    for start in range(len(needs)):
        stack = [start]
        while stack:
            i = stack[-1]
            if state[i] == 0:
                state[i] = 1
                waiting = [k for k in needs[i] if state[k] != 2]
                if circle := [k for k in waiting if state[k] == 1]:
                    raise _circle(graph.node[circle[0]], name)
                stack += reversed(waiting)
            else:
                if state[i] == 1:
                    state[i] = 2
                    order.append(i)
                stack.pop()
    return order


def _circle(node: Any, name: str) -> InvalidInput:
    return InvalidInput(
        f"{name} computes '{node.output[0]}' from itself: its {node.op_type} is part of a circle of nodes.",
        "No runtime can run such a graph.",
        "Export the model again, or get an undamaged copy.",
    )
