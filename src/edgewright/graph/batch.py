"""Set the batch size of a model: fixed, or dynamic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import inputs
from .index import constants_of
from .names import Names

if TYPE_CHECKING:
    import onnx

DYNAMIC = "batch"
"""The name of the dynamic dimension."""


def apply(model: onnx.ModelProto, size: int | None, image: tuple[int, int] | None = None) -> bool:
    """Set the batch `size` (None: dynamic) of the model's input and outputs, and their (height, width) to `image`.

    Shapes inside the graph are inferred again. A Reshape whose constant target starts with the old batch copies that
    dimension instead. The caller has to check that the outputs stay the same: the graph may use the old batch in other
    ways.
    """
    import onnx

    (value,) = inputs.real(model)
    old = inputs.shape(value)
    wanted: list[int | None] = [size, *old[1:]]
    for axis, pixels in zip((2, 3) if old[1] in (1, 3) else (1, 2), image or ()):
        wanted[axis] = pixels
    if wanted == old:
        return False
    if old[0] is not None and old[0] != size:
        _free_reshapes(model, old[0])
    for dim, side in zip(value.type.tensor_type.shape.dim, wanted):
        _set(dim, side)
    for output in model.graph.output:
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
    """Rename the dynamic dimension of the input to `DYNAMIC` everywhere."""
    old = inputs.real(model)[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if old and dim.dim_param == old:
                dim.dim_param = DYNAMIC
