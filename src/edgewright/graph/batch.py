"""Set the batch size of a model: fixed, or dynamic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.core.spec import AnyInput, TensorInput

from . import inputs, metadata
from .index import constants_of
from .names import Names

if TYPE_CHECKING:
    import onnx

DYNAMIC = "batch"
"""The name of the dynamic dimension."""


def apply(model: onnx.ModelProto, size: int | None, taken: Sequence[AnyInput] | None = None) -> bool:
    """Set the batch `size` (None: dynamic) of the model's inputs and outputs, and open sizes to those of `taken`.

    `taken`: the inputs; without them, those of the spec in `model`, if it has one. A model with an input without a
    batch axis keeps its outputs. Shapes inside the graph are inferred again. A Reshape whose constant target starts
    with the old batch copies that dimension instead. The caller has to check that the outputs stay the same: the graph
    may use the old batch in other ways.
    """
    import onnx

    values = inputs.real(model)
    stored = metadata.get_spec(model) if taken is None else None
    known = {one.name: one for one in (stored.inputs if stored else taken or ())}
    fixed = {one.name for one in known.values() if isinstance(one, TensorInput) and not one.batched}
    batched = [value for value in values if value.name not in fixed]
    before = {value.name: inputs.shape(value) for value in values}
    wanted: dict[str, list[int | None]] = {}
    for value in values:
        one = known.get(value.name)
        sides = list(one.shape(1)) if one else before[value.name]
        wanted[value.name] = [size, *sides[1:]] if value in batched else list(sides)
    if wanted == before:
        return False
    old = next((before[value.name][0] for value in batched), None)
    if old is not None and old != size:
        _free_reshapes(model, old)
    for value in values:
        for dim, side in zip(value.type.tensor_type.shape.dim, wanted[value.name]):
            _set(dim, side)
    for output in model.graph.output if len(batched) == len(values) else ():
        if output.type.tensor_type.shape.dim:
            _set(output.type.tensor_type.shape.dim[0], size)
    del model.graph.value_info[:]
    model.CopyFrom(onnx.shape_inference.infer_shapes(model, data_prop=True))
    return True


def _set(dim: Any, size: int | None) -> None:
    dim.Clear()
    if size is None:
        dim.dim_param = DYNAMIC
    else:
        dim.dim_value = size


def _free_reshapes(model: onnx.ModelProto, old: int) -> None:
    import onnx

    constants = constants_of(model.graph)
    produced = {node.output[0]: node for node in model.graph.node if node.op_type == "Constant"}
    names = Names(model.graph)
    for node in list(model.graph.node):
        if node.op_type != "Reshape":
            continue
        tensor = constants.get(node.input[1])
        if tensor is None and node.input[1] in produced:
            tensor = next((a.t for a in produced[node.input[1]].attribute if a.name == "value"), None)
        target = None if tensor is None else onnx.numpy_helper.to_array(tensor)
        # Further zeros would change their meaning with allowzero below.
        if target is not None and target.size > 1 and target[0] == old and target.all():
            for attribute in node.attribute:
                if attribute.name == "allowzero":
                    attribute.i = 0  # torch's exporter sets it: a 0 would be an empty dimension, not a copied one
            freed = np.concatenate([np.zeros(1, np.int64), target[1:]])
            name = names.free(f"{node.output[0]}_shape")  # a new tensor, since others may read the old one
            model.graph.initializer.append(onnx.numpy_helper.from_array(freed, name))
            node.input[1] = name


def rename(model: onnx.ModelProto) -> None:
    """Rename the dynamic dimension of the inputs to `DYNAMIC` everywhere."""
    old = inputs.real(model)[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if old and dim.dim_param == old:
                dim.dim_param = DYNAMIC
