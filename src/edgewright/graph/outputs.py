"""Select the output tensors of a model by name, also inner ones, and refuse outputs that are not arrays."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgewright.core.errors import InvalidInput

from . import clean, inputs, rewrite
from .index import producers_of
from .names import free
from .order import nested

if TYPE_CHECKING:
    import onnx


def choose(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Make `names` (outputs or inner tensors) the outputs of `model`, in that order, and remove what follows them.

    Raises `InvalidInput` for an unknown tensor, and for one that is not an array of numbers.
    """
    import onnx

    known = {value.name: type(value).FromString(value.SerializeToString()) for value in model.graph.output}
    computed = {name for node in model.graph.node for name in node.output if name}
    inner = computed - known.keys()
    if unknown := [name for name in names if name not in known and name not in inner]:
        near = ", ".join(difflib.get_close_matches(unknown[0], sorted(inner), 3))
        raise InvalidInput(
            f"The model has no tensor '{unknown[0]}'.",
            f"Its outputs: {', '.join(known)}." + (f" Inner tensors of similar names: {near}." if near else ""),
            "Correct `outputs` in the model's TOML: the name of an output or of an inner tensor.",
        )
    if not inner.isdisjoint(names):
        inferred = onnx.shape_inference.infer_shapes(model).graph.value_info
        shapes = {value.name: value for value in inferred}
        for name in inner.intersection(names):
            # Without an inferred type float is assumed; onnx.checker reports it if that is wrong.
            empty = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            known[name] = shapes.get(name, empty)
    del model.graph.output[:]
    model.graph.output.extend(known[name] for name in names)
    clean.apply(model)
    rewrite.forget_domains(model)


def require_arrays(model: onnx.ModelProto, integers: bool = False) -> None:
    """Raise `InvalidInput` if an output of `model` is a text, sequence or map, or (unless allowed) has `integers`.

    Suggests other tensors.
    """
    import onnx

    for value in model.graph.output:
        kind = _kind(value.type, integers)
        if not kind:
            continue
        if value.type.WhichOneof("value") is None:
            inferred = onnx.shape_inference.infer_shapes(model).graph.output
            kind = next((_kind(v.type, integers) for v in inferred if v.name == value.name), kind)
            if not kind:
                continue
        found = _arrays_before(model, value.name)
        hint = " or ".join(f'outputs = ["{name}"]' for name in found) or "outputs = [the tensor of class scores]"
        raise InvalidInput(
            f"The output '{value.name}' is {kind}.",
            "edgewright reads scores and boxes from arrays of floating-point numbers.",
            f"Name the array in the model's TOML: {hint}. The nodes after it are removed.",
        )


def flatten(model: onnx.ModelProto, name: str) -> bool:
    """Reshape the output `name` to (N, C) if it is (N, C, 1, 1), or has another single axis above 1 after N.

    `model` is changed in place; the output keeps its name. Returns whether it was changed.
    """
    import onnx

    value = next(v for v in model.graph.output if v.name == name)
    shape = inputs.shape(value)
    classes = [side for side in shape[1:] if side != 1]
    if len(shape) <= 2 or len(classes) > 1 or None in shape[1:]:
        return False
    inner = free(model.graph, f"{name}_unflattened")
    for node in model.graph.node:
        node.output[:] = [inner if out == name else out for out in node.output]
        node.input[:] = [inner if read == name else read for read in node.input]
        for graph in nested(node):
            _rename_read(graph, name, inner)
    label = free(model.graph, f"{name}_flatten")
    model.graph.node.append(onnx.helper.make_node("Flatten", [inner], [name], label, axis=1))
    kind, batch = value.type.tensor_type.elem_type, shape[0]
    flat = onnx.helper.make_tensor_value_info(name, kind, [batch or "batch", classes[0] if classes else 1])
    if value.type.tensor_type.shape.dim[0].dim_param:
        flat.type.tensor_type.shape.dim[0].dim_param = value.type.tensor_type.shape.dim[0].dim_param
    value.CopyFrom(flat)
    return True


def _rename_read(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        for inner in nested(node):
            _rename_read(inner, old, new)


def _kind(kind: onnx.TypeProto, integers: bool = False) -> str:
    """The description of a type that is not an array of floating-point numbers (or `integers`); empty for such an
    array."""
    import onnx

    which = kind.WhichOneof("value")
    if which == "tensor_type":
        types = onnx.TensorProto
        element = kind.tensor_type.elem_type
        if element == types.STRING:
            return "a text (the class's name)"
        if element == types.UNDEFINED:
            return "of unknown type"
        floats = (types.FLOAT, types.FLOAT16, types.BFLOAT16, types.DOUBLE)
        return "" if element in floats or integers else f"an array of integers ({types.DataType.Name(element)})"
    if which == "sequence_type":
        inner = kind.sequence_type.elem_type.WhichOneof("value")
        return "a sequence of maps (class name to score)" if inner == "map_type" else "a sequence of arrays"
    return {"map_type": "a map (class name to score)", "optional_type": "optional", None: "of unknown type"}.get(
        which, f"a {which}"
    )


def _arrays_before(model: onnx.ModelProto, name: str) -> list[str]:
    """The nearest arrays of floating-point numbers from which the output `name` is computed."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model).graph
    floats = {
        value.name
        for value in (*inferred.value_info, *inferred.output)
        if value.type.tensor_type.elem_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    }
    makers = producers_of(model.graph)
    front, seen, found = [name], {name}, []
    while front:
        node = makers.get(front.pop(0))
        for read in node.input if node is not None else ():
            if read in seen:
                continue
            seen.add(read)
            maker = makers.get(read)
            standard = maker is not None and maker.domain in ("", "ai.onnx")
            if standard and (read in floats or read not in {v.name for v in inferred.value_info}):
                found.append(read)
            elif maker is not None:
                front.append(read)
    return found[:3]
