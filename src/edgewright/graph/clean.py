"""Clean a foreign or newly exported model: no inputs for weights, no traces of source code, no unused parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import inputs
from .files import nodes, refill
from .index import producers_of, reads_of

if TYPE_CHECKING:
    import onnx


def apply(model: onnx.ModelProto) -> None:
    """Clean `model` in place; its own metadata (the spec) stays."""
    _inline_functions(model)
    refill(model.graph.input, inputs.real(model))
    # Stack traces and doc strings contain paths of the exporting machine, and make equal models differ.
    _strip(model.graph)
    model.ClearField("doc_string")
    _remove_dead(model.graph)
    model.ir_version = max(model.ir_version, 4)  # before 4, initializers had to be inputs


def drop_unread(graph: Any) -> None:
    """Remove the constants of `graph` that nothing reads, in place."""
    read = reads_of(graph)
    if any(tensor.name not in read for tensor in graph.initializer):
        refill(graph.initializer, [tensor for tensor in graph.initializer if tensor.name in read])


def _inline_functions(model: onnx.ModelProto) -> None:
    if not model.functions:
        return
    import onnx.inliner

    kept = list(model.metadata_props)
    model.CopyFrom(onnx.inliner.inline_local_functions(model))
    refill(model.metadata_props, kept)
    used = {"", *(node.domain for node in nodes(model.graph))}
    refill(model.opset_import, [opset for opset in model.opset_import if opset.domain in used])


def _strip(graph: Any) -> None:
    for node in nodes(graph):
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
        for attribute in node.attribute:
            attribute.ClearField("doc_string")
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    _strip_values(inner)
    _strip_values(graph)


def _strip_values(graph: Any) -> None:
    graph.ClearField("doc_string")
    graph.ClearField("metadata_props")
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.ClearField("doc_string")
        value.ClearField("metadata_props")


def _remove_dead(graph: Any) -> None:
    """Remove nodes and initializers that no output depends on."""
    needed = {value.name for value in graph.output}
    live = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            live.append(node)
            needed.update(node.input)
            for attribute in node.attribute:
                for inner in (attribute.g, *attribute.graphs):
                    needed.update(name for deep in nodes(inner) for name in deep.input)
                    needed.update(value.name for value in inner.output)
    if len(live) < len(graph.node):
        refill(graph.node, live[::-1])
    drop_unread(graph)
    known = producers_of(graph)
    refill(graph.value_info, [value for value in graph.value_info if value.name in known])
