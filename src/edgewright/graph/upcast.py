"""Convert FP16, bfloat16 and float64 in a model, also its inputs and outputs, to float32."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from . import files
from .order import nested

if TYPE_CHECKING:
    import onnx

NAMES = {10: "FP16", 16: "bfloat16", 11: "float64"}
"""Element types of ONNX that become float32, with their names."""

FLOAT = 1
TYPE_ATTRIBUTES = frozenset({"to", "dtype", "output_dtype"})
"""Attributes with an element type as a number (Cast, EyeLike, RandomNormal, Bernoulli, DequantizeLinear ...)."""


def apply(model: onnx.ModelProto) -> str:
    """Convert `model` to float32, in place. Returns the precision of most of its numbers; empty for float32.

    Numbers keep their values (also 65504, often used as "the largest", and infinities). Values of float64 beyond
    float32 become the largest float32. A Cast between two of the types is removed.
    """
    seen = _census(model)
    if not seen:
        return ""
    floats = _floats(model)
    for tensor in files.tensors(model):
        _convert(tensor)
    _types(model)
    for graph in (model.graph, *model.functions):
        _attributes(graph)
    _drop_casts(model.graph, floats)
    return NAMES[max(seen, key=lambda kind: seen[kind])]


def _census(model: onnx.ModelProto) -> Counter[int]:
    """The number of elements stored in each type; inputs, outputs and types in attributes count one each."""
    seen: Counter[int] = Counter()
    for tensor in files.tensors(model):
        if tensor.data_type in NAMES:
            seen[tensor.data_type] += int(np.prod(tensor.dims))
    seen.update(v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output))
    for graph in (model.graph, *model.functions):
        for node in files.nodes(graph):
            seen.update(a.i for a in node.attribute if a.name in TYPE_ATTRIBUTES)
    return Counter({kind: count for kind, count in seen.items() if kind in NAMES and count})


def _floats(model: onnx.ModelProto) -> set[str]:
    """The names of tensors of any floating-point type, including those of nested graphs if their type is given."""
    import onnx

    kinds = {FLOAT, *NAMES}
    inferred = onnx.shape_inference.infer_shapes(model).graph
    found: set[str] = set()

    def look(graph: Any) -> None:
        for value in (*graph.input, *graph.output, *graph.value_info):
            if value.type.tensor_type.elem_type in kinds:
                found.add(value.name)
        found.update(tensor.name for tensor in graph.initializer if tensor.data_type in kinds)
        for node in graph.node:
            if node.op_type == "Cast" and any(a.name == "to" and a.i in kinds for a in node.attribute):
                found.update(node.output)
            for inner in nested(node):
                look(inner)

    look(inferred)
    return found


def _convert(tensor: onnx.TensorProto) -> None:
    from onnx import numpy_helper

    if tensor.data_type in NAMES:
        value = numpy_helper.to_array(tensor)
        if value.dtype == np.float64:  # infinities stay
            limit = float(np.finfo(np.float32).max)
            value = np.where(np.isfinite(value), np.clip(value, -limit, limit), value)
        tensor.CopyFrom(numpy_helper.from_array(np.asarray(value).astype(np.float32), tensor.name))


def _types(message: Any) -> None:
    """Change every tensor type in `message`."""
    import onnx

    if isinstance(message, onnx.TensorProto):
        return
    if isinstance(message, (onnx.TypeProto.Tensor, onnx.TypeProto.SparseTensor)):
        if message.elem_type in NAMES:
            message.elem_type = FLOAT
        return
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for item in (value,) if hasattr(value, "ListFields") else value:
                _types(item)


def _attributes(graph: Any) -> None:
    for node in files.nodes(graph):
        for attribute in node.attribute:
            if attribute.name in TYPE_ATTRIBUTES and attribute.i in NAMES:
                attribute.i = FLOAT


def _drop_casts(graph: Any, floats: set[str]) -> None:
    """Remove each Cast from float to float in `graph` and its nested graphs."""
    kept, outputs = [], {value.name for value in graph.output}
    other: dict[str, str] = {}
    for node in graph.node:
        for inner in nested(node):
            _drop_casts(inner, floats)
        _rename(node, other)
        goes = node.op_type == "Cast" and node.domain in ("", "ai.onnx") and node.input[0] in floats
        if goes and any(a.name == "to" and a.i == FLOAT for a in node.attribute):
            if node.output[0] not in outputs:
                other[node.output[0]] = node.input[0]
                continue
            node.op_type = "Identity"
            del node.attribute[:]
        kept.append(node)
    files.refill(graph.node, kept)


def _rename(node: Any, other: dict[str, str]) -> None:
    """Rename by `other` what `node`, and the nodes and outputs of its nested graphs, read."""
    node.input[:] = [other.get(name, name) for name in node.input]
    for graph in nested(node):
        for inner in graph.node:
            _rename(inner, other)
        computed = {name for inner in graph.node for name in inner.output}
        for value in graph.output:
            if value.name in other and value.name not in computed:
                read = other[value.name]
                graph.node.add(op_type="Identity", input=[read], output=[value.name])
