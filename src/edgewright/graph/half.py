"""FP16 in the graph: every float tensor becomes float16, except for named nodes, with casts in between.

``convert_float_to_float16`` of ONNX Runtime and onnxconverter-common does this, too. Both write a file that does not
load if a float32 node reads one tensor twice, and neither reports possible overflows.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from edgewright.core.errors import RuntimeFailed

from . import clean, files, upgrade
from .index import constants_of
from .names import Names

if TYPE_CHECKING:
    import onnx

OURS = "edgewright.precision"
"""The metadata of a file that edgewright converted to FP16 and that stays so; other FP16 files become FP32."""
OPSET = 19
"""From 19 on QuantizeLinear and DequantizeLinear take float16 scales."""

LARGEST = 65504.0
SMALLEST_NORMAL = 2.0**-14
FLOAT32_INPUTS = {"Resize": (1, 2)}
"""Inputs that are always float32 by the operator's definition: scales and regions."""
MAKERS = {"Constant": "value", "ConstantOfShape": "value"}
"""Operators that create a tensor with the type of an attribute; without it, float32."""


def apply(model: onnx.ModelProto, keep: Collection[str]) -> None:
    """Convert `model` in place. Nodes in `keep`, and the model's inputs and outputs, stay in float32.

    Every node needs a unique name. Scales of Q/DQ pairs become float16, too, and quantized weights are rounded again to
    the stored scale. Raises `RuntimeFailed` for a model with subgraphs.
    """
    import onnx

    upgrade.apply(model, OPSET)
    _require_flat(model)
    version = _opset(model)
    halves, floats = _tensors(model, keep)
    requantize(model)
    casts: dict[tuple[str, int], str] = {}
    names = Names(model.graph)
    initial = constants_of(model.graph)
    ordered: list[onnx.NodeProto] = []

    def cast(name: str, kind: int) -> str:
        """`name` in the other precision: a copy of a constant, else a Cast node; one for all readers."""
        if (name, kind) not in casts:
            other = names.free(f"{name}_{'f16' if kind == onnx.TensorProto.FLOAT16 else 'f32'}")
            casts[name, kind] = other
            if name in initial:
                _add_constant(model, other, _rounded(onnx.numpy_helper.to_array(initial[name])))
            else:
                ordered.append(onnx.helper.make_node("Cast", [name], [other], names.free(f"{other}_cast"), to=kind))
        return casts[name, kind]

    outputs = {value.name for value in model.graph.output}
    for node in model.graph.node:
        half = node.name not in keep and takes_half(node, version)
        for index, name in enumerate(node.input):
            as_defined = index in FLOAT32_INPUTS.get(node.op_type, ())
            if half and not as_defined and name in floats and name not in halves:
                node.input[index] = cast(name, onnx.TensorProto.FLOAT16)
            elif (not half or as_defined) and name in halves:
                node.input[index] = cast(name, onnx.TensorProto.FLOAT)
        ordered.append(node)
        if half:
            _change_attributes(node, onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
        for index, name in enumerate(node.output):
            if name in halves and name in outputs:  # the model's outputs stay float32, with their own names
                result, label = names.free(f"{name}_half"), names.free(f"{name}_cast")
                node.output[index] = result
                ordered.append(onnx.helper.make_node("Cast", [result], [name], label, to=onnx.TensorProto.FLOAT))
                halves.discard(name)
    files.refill(model.graph.node, ordered)
    clean.drop_unread(model.graph)
    del model.graph.value_info[:]  # they have the old types
    model.metadata_props.add(key=OURS, value="f16")
    model.ir_version = max(model.ir_version, onnx.helper.find_min_ir_version_for(model.opset_import))


def simulate(half: onnx.ModelProto) -> onnx.ModelProto:
    """The result of `apply`, computed in float32: every float16 tensor is rounded to float16, including infinities.

    Runtimes on a CPU compute float16 files in float32 and remove the casts, so they do not show overflows.
    """
    import onnx

    copy = files.copy(half)
    stored = {name for name, kind in _kinds(half).items() if kind == onnx.TensorProto.FLOAT16}
    for tensor in copy.graph.initializer:
        if tensor.name in stored:
            tensor.CopyFrom(
                onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
            )
    ordered: list[onnx.NodeProto] = []
    names = Names(copy.graph)
    for node in copy.graph.node:
        _change_attributes(node, onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT)
        ordered.append(node)
        for index, name in enumerate(node.output):
            if name in stored:
                exact, rounded = names.free(f"{name}_exact"), names.free(f"{name}_half")
                node.output[index] = exact
                for source, target, kind in ((exact, rounded, 10), (rounded, name, 1)):
                    label = names.free(f"{target}_rounding")
                    ordered.append(onnx.helper.make_node("Cast", [source], [target], label, to=kind))
    files.refill(copy.graph.node, ordered)
    return copy


def requantize(model: onnx.ModelProto) -> None:
    """Round the scales of Q/DQ pairs to float16, and quantize their weights again; in place.

    Below 6e-5 float16 has few digits: with the old integers a weight could be wrong by half of its value. Other
    integers stay: the weights of a channel then change by at most 1/2048, all by the same factor.
    """
    import onnx
    from onnx import numpy_helper

    initial = constants_of(model.graph)
    pairs = [
        node
        for node in model.graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
        and node.input[1] in initial
        and initial[node.input[1]].data_type == onnx.TensorProto.FLOAT
    ]
    done: set[str] = set()
    stored = {name: _stored(numpy_helper.to_array(initial[name])) for name in {node.input[1] for node in pairs}}
    for node in pairs:
        scale, new = numpy_helper.to_array(initial[node.input[1]]), stored[node.input[1]]
        weights = initial.get(node.input[0])
        if weights is None or weights.name in done:
            continue
        done.add(weights.name)  # a tensor with two pairs is rounded once
        if weights.data_type == onnx.TensorProto.INT8 and not np.array_equal(new, scale):
            value = numpy_helper.to_array(weights)
            axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
            along = [1] * value.ndim
            if scale.ndim:
                along[axis] = -1
            fine = np.abs(scale / new - 1) < 1 / 512  # no value moves by half a step
            again = np.rint(value * np.where(fine, 1, scale / new).reshape(along))
            weights.CopyFrom(numpy_helper.from_array(np.clip(again, -127, 127).astype(np.int8), weights.name))
    for name, value in stored.items():
        initial[name].CopyFrom(numpy_helper.from_array(value, name))


def beyond(model: onnx.ModelProto, ranges: dict[str, tuple[float, float]], limit: float) -> list[str]:
    """The names of the nodes that read or compute values outside the range of float16.

    These are activations above `limit` in magnitude (by `ranges`; a Q/DQ pair has its input's range), constants above
    `LARGEST`, and scalars (an epsilon) so small that they lose digits or become zero.
    """
    from onnx import numpy_helper

    large = {name for name, (low, high) in ranges.items() if max(-low, high) > limit}
    quantized = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and quantized.get(node.input[0]) in large:
            large.update(node.output)
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.dtype != np.float32 or not value.size:
            continue
        size = np.abs(value)
        if size.max() > LARGEST or (value.size == 1 and 0 < size.max() < SMALLEST_NORMAL):
            large.add(tensor.name)
    scales = {node.input[1] for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")}
    large -= scales  # `requantize` handles them
    return [node.name for node in model.graph.node if large.intersection((*node.input, *node.output))]


def _tensors(model: onnx.ModelProto, keep: Collection[str]) -> tuple[set[str], set[str]]:
    """The tensors that nodes will compute in float16, and all float tensors."""
    import onnx

    version = _opset(model)
    floats = {name for name, kind in _kinds(model).items() if kind == onnx.TensorProto.FLOAT}
    result = {
        name for node in model.graph.node if node.name not in keep and takes_half(node, version) for name in node.output
    }
    return floats & result, floats


def _kinds(model: onnx.ModelProto) -> dict[str, int]:
    """The element type of each tensor, as ONNX's numbers."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = (*inferred.value_info, *inferred.input, *inferred.output)
    kinds = {value.name: value.type.tensor_type.elem_type for value in values}
    return kinds | {tensor.name: tensor.data_type for tensor in model.graph.initializer}


def takes_half(node: onnx.NodeProto, opset: int) -> bool:
    """Whether ONNX defines the operator of `node` for float16 wherever for float32, except for `FLOAT32_INPUTS`."""
    import onnx

    if node.op_type in MAKERS and not any(a.name == MAKERS[node.op_type] for a in node.attribute):
        return False
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
    except onnx.defs.SchemaError:
        return False  # a custom operator: its types are unknown
    fixed = FLOAT32_INPUTS.get(node.op_type, ())
    formals = [formal for index, formal in enumerate(schema.inputs) if index not in fixed] + list(schema.outputs)
    return all("tensor(float16)" in formal.types for formal in formals if "tensor(float)" in formal.types)


def _opset(model: onnx.ModelProto) -> int:
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=OPSET)


def _change_attributes(node: onnx.NodeProto, before: int, after: int) -> None:
    """Change the attributes of a node that creates a tensor of the type `before` to the type `after`."""
    from onnx import helper, numpy_helper

    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == before:
            attribute.i = after
        if attribute.HasField("t") and attribute.t.data_type == before:
            with np.errstate(over="ignore"):
                value = numpy_helper.to_array(attribute.t).astype(helper.tensor_dtype_to_np_dtype(after))
            attribute.t.CopyFrom(numpy_helper.from_array(value, attribute.t.name))


def _stored(scale: np.ndarray) -> np.ndarray:
    """`scale` in float16: the nearest value, or the next larger one if digits are lost, since a smaller one clips."""
    near = scale.astype(np.float16)
    above = np.where(near < scale, np.nextafter(near, np.float16(np.inf)), near)
    return np.where(scale < SMALLEST_NORMAL, above, near).astype(np.float32)


def _rounded(value: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(value).astype(np.float16)


def _add_constant(model: onnx.ModelProto, name: str, value: np.ndarray) -> None:
    from onnx import numpy_helper

    model.graph.initializer.append(numpy_helper.from_array(value, name))


def _require_flat(model: onnx.ModelProto) -> None:
    inner = next((n for n in model.graph.node for a in n.attribute if a.HasField("g") or a.graphs), None)
    if inner is not None:
        raise RuntimeFailed(
            f"The node '{inner.name}' ({inner.op_type}) has a nested graph.",
            "FP16 supports models without branches and loops.",
            "Export the model with a fixed input size, or use precision f32.",
        )
