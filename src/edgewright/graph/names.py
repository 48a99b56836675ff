"""Unique names for new tensors and nodes, and names that other tools can work with.

Tools derive new names from existing ones (`X_scale`, `X_bias`, `X_QuantizeLinear_Output`) without checking whether the
graph has them already. Models of MXNet, TensorFlow and Caffe do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from .order import nested


class Names:
    """Used names: of all tensors and nodes of `graph` and its nested graphs, `more`, and names from `free`."""

    def __init__(self, graph: Any = None, more: Iterable[str] = ()) -> None:
        self._taken = {*more, *(taken(graph) if graph is not None else ())}

    def free(self, wanted: str) -> str:
        """`wanted`, with a number appended if it is used; the result counts as used from now on."""
        found, number = wanted, 1
        while not found or found in self._taken:
            number += 1
            found = f"{wanted}_{number}"
        self._taken.add(found)
        return found


def free(graph: Any, wanted: str) -> str:
    """`wanted`, with a number appended if a tensor or node of `graph` (or of a nested graph) has that name."""
    return Names(graph).free(wanted)


def taken(graph: Any) -> set[str]:
    """All names of tensors and nodes in `graph` and its nested graphs."""
    found = {
        value.name for field in (graph.input, graph.output, graph.value_info, graph.initializer) for value in field
    }
    for node in graph.node:
        found.update((node.name, *node.input, *node.output))
        for inner in nested(node):
            found |= taken(inner)
    return found


def name_nodes(model: Any) -> None:
    """Give every node of `model` a unique name, in place; the first node with a name keeps it."""
    given, seen = Names(model.graph), set[str]()
    for i, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            node.name = given.free(f"{node.op_type}_{i}_{len(seen)}")
        seen.add(node.name)


class Aliases:
    """Short names for all tensors and nodes of a graph except its inputs and those of its nested graphs.

    A short name with any prefix or suffix is never another name in the graph.
    """

    def __init__(self, graph: Any) -> None:
        every = taken(graph)
        self._stem = next(s for n in range(1 << 30) if not any((s := f"t{n}x") in name for name in every))
        self._to: dict[str, str] = {}
        self._back: list[str] = []
        inputs = {value.name for value in graph.input}
        outputs = (name for node in graph.node for name in node.output)
        for name in (*(tensor.name for tensor in graph.initializer), *outputs):
            if name and name not in inputs and name not in self._to:
                self._to[name] = self._next(name)
        self._nodes = {node.name: self._next(node.name) for node in graph.node}
        inner = {name for node in graph.node for graph_in in nested(node) for name in taken(graph_in)}
        self._kept = (inputs | inner) - self._to.keys()

    def _next(self, name: str) -> str:
        self._back.append(name)
        return f"{self._stem}{len(self._back) - 1:07}"  # all of one length: none is a prefix of another

    def tensor(self, name: str) -> str:
        """The short name of the tensor `name`; an input keeps its name."""
        return self._to.get(name, name)

    def node(self, name: str) -> str:
        """The short name of the node `name`."""
        return self._nodes[name]

    def apply(self, graph: Any) -> None:
        """Rename everything in `graph` to the short names, in place."""
        for node in graph.node:
            node.name = self._nodes[node.name]
        _rename(graph, self.tensor)

    def restore(self, graph: Any) -> None:
        """Restore the old names in `graph`, which a tool has changed since, in place.

        New tensors of the tool get the names that it would have given, with a number appended if they are used.
        """
        pattern = re.compile(re.escape(self._stem) + r"(\d{7})")
        names = Names(more=(*self._back, *self._kept))
        known = {name: name for name in self._kept}

        def old_name(name: str) -> str:
            if name not in known:
                whole = pattern.fullmatch(name)
                text = pattern.sub(lambda found: self._back[int(found[1])], name)
                known[name] = text if whole else names.free(text)
            return known[name]

        _rename(graph, old_name)
        for node in graph.node:
            node.name = old_name(node.name)


def _rename(graph: Any, new: Callable[[str], str]) -> None:
    """Rename the tensors of `graph` in place, also where its nested graphs read them."""
    for field in (graph.input, graph.output, graph.value_info, graph.initializer):
        for value in field:
            value.name = new(value.name)
    for node in graph.node:
        node.input[:] = [new(name) if name else name for name in node.input]
        node.output[:] = [new(name) if name else name for name in node.output]
        for inner in nested(node):
            _rename(inner, new)
