"""Sort the nodes of a graph topologically.

ONNX requires it, and onnx.checker refuses an unsorted file. ONNX Runtime and OpenVINO accept it, so tools that write
such files (float16 converters, `yolo export half=True`, keras2onnx) do not notice.
"""

from __future__ import annotations

from typing import Any

from edgewright.core.errors import InvalidInput


def apply(graph: Any, name: str) -> bool:
    """Sort the nodes of `graph` (or of a function) and of its nested graphs in place. Returns whether any moved.

    Sorted nodes keep their order. Raises `InvalidInput` for a cycle of nodes; `name` is the model's, for the message.
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
    """The tensors that `node` needs, including those that its nested graphs read from outside."""
    found = set(node.input)
    for graph in nested(node):
        # The own names of a nested graph are included: they are unique in a valid model, so they do no harm.
        for inner in graph.node:
            found |= read(inner)
        found.update(value.name for value in graph.output)
    return found


def _order(graph: Any, name: str) -> list[int]:
    """The indices of the nodes in topological order, otherwise in their old order."""
    maker = {out: i for i, node in enumerate(graph.node) for out in node.output if out}
    needs = [sorted({maker[name] for name in read(node) if name in maker} - {i}) for i, node in enumerate(graph.node)]
    order: list[int] = []
    state = [0] * len(needs)  # 0: not seen, 1: waits for its inputs, 2: placed
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
        f"{name} computes '{node.output[0]}' from itself: its {node.op_type} is part of a cycle of nodes.",
        "No runtime can run such a graph.",
        "Export the model again, or get an undamaged copy.",
    )
