"""Make a foreign or freshly exported model plain: no inputs that are weights, no traces of code, no dead parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import inputs
from .files import nodes

if TYPE_CHECKING:
    import onnx


def apply(model: onnx.ModelProto) -> bool:
    """Clean `model` in place; its own metadata (the spec) stays. True where something was removed."""
    before = model.SerializeToString(deterministic=True)
    _inline_functions(model)
    _keep(model.graph.input, inputs.real(model))
    # Stack traces and doc strings hold the exporting machine's paths and make equal models differ.
    _strip(model.graph)
    model.ClearField("doc_string")
    _remove_dead(model.graph)
    model.ir_version = max(model.ir_version, 4)  # before 4, initializers had to be inputs
    return bool(before != model.SerializeToString(deterministic=True))


def _inline_functions(model: onnx.ModelProto) -> None:
    if not model.functions:
        return
    import onnx.inliner

    kept = list(model.metadata_props)
    model.CopyFrom(onnx.inliner.inline_local_functions(model))
    _keep(model.metadata_props, kept)
    used = {"", *(node.domain for node in nodes(model.graph))}
    _keep(model.opset_import, [opset for opset in model.opset_import if opset.domain in used])


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
    """Drop nodes and initializers that no output depends on."""
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
        _keep(graph.node, live[::-1])
    if any(tensor.name not in needed for tensor in graph.initializer):
        _keep(graph.initializer, [tensor for tensor in graph.initializer if tensor.name in needed])
    known = {name for node in graph.node for name in node.output}
    _keep(graph.value_info, [value for value in graph.value_info if value.name in known])


def _keep(field: Any, items: list[Any]) -> None:
    """Replace a repeated field by `items` (copies: deleting the field invalidates its own messages)."""
    copies = [type(item).FromString(item.SerializeToString()) for item in items]
    del field[:]
    field.extend(copies)
