"""The layers of a graph by the precision that it requests, and the memory of its tensors."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .files import attributes, nodes
from .index import constants_of
from .order import nested

if TYPE_CHECKING:
    import onnx

RECURRENT = frozenset({"LSTM", "GRU"})
PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Layers for which runtimes have INT8 kernels."""
LAYERS = PRODUCTS | RECURRENT

MOVERS = frozenset(
    {
        "Concat", "Gather", "Split", "Slice", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "MaxPool",
        "DepthToSpace", "SpaceToDepth", "Resize", "Identity",
    }
)  # fmt: skip
"""Operators whose outputs have values of their first input (Concat: of all inputs), or values between these."""

EIGHT_BITS = frozenset({"INT8", "UINT8", "UNDEFINED"})
"""Integer types (see `grids`) with which runtimes compute in INT8."""


def grids(model: onnx.ModelProto) -> list[tuple[onnx.NodeProto, str]]:
    """Each QuantizeLinear and DequantizeLinear of `model` with its integer type: "INT8", "UINT16", ...

    The type is "UNDEFINED" if neither a constant nor an attribute defines it (QuantizeLinear then gives UINT8).
    """
    import onnx

    every = list(nodes(model.graph))
    inner = (graph for node in every for graph in nested(node))
    kinds = {tensor.name: tensor.data_type for graph in (model.graph, *inner) for tensor in graph.initializer}
    kinds |= {
        n.output[0]: a.t.data_type for n in every if n.op_type == "Constant" for a in n.attribute if a.HasField("t")
    }
    found = []
    for node in every:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        kind = kinds.get([*node.input, "", ""][2], 0)
        if node.op_type == "QuantizeLinear":
            kind = kind or attributes(node).get("output_dtype", 0)
            kinds[node.output[0]] = kind
        found.append((node, str(onnx.TensorProto.DataType.Name(kind or kinds.get(node.input[0], 0)))))
    return found


def is_eight_bits(kind: str, operator: str) -> bool:
    """Whether `operator` on integers of type `kind` belongs to an INT8 model; a bias is dequantized from INT32."""
    return kind in EIGHT_BITS or (kind == "INT32" and operator == "DequantizeLinear")


def dequantized(model: onnx.ModelProto) -> set[str]:
    """The tensors of the main graph that come from a DequantizeLinear of 8 bits, directly or through `MOVERS`.

    OpenVINO moves integers and needs no pair after a mover (the products of an attention run in INT8 without one).
    """
    pairs = [(node, kind) for node, kind in grids(model) if node.op_type == "DequantizeLinear"]
    found = {node.output[0] for node, kind in pairs if kind in EIGHT_BITS}
    for node in model.graph.node:
        data = node.input if node.op_type == "Concat" else node.input[:1]
        if node.op_type in MOVERS and found.issuperset(data):
            found.update(name for name in node.output if name)
    return found


def layers(model: onnx.ModelProto) -> dict[str, int]:
    """Numbers of layers with weights and of matrix products, by requested precision: "int8", "f16", "bf16", "f32".

    A layer is int8 if its first two inputs come from a DequantizeLinear of 8 bits (`dequantized`). A runtime that
    follows the graph runs this; only the compiled model's own report shows the kernels that really run.
    """
    import onnx

    kinds = _types(model)
    integers = dequantized(model)
    names = {onnx.TensorProto.FLOAT16: "f16", onnx.TensorProto.BFLOAT16: "bf16", onnx.TensorProto.FLOAT: "f32"}
    found: Counter[str] = Counter()
    for node in model.graph.node:
        if node.op_type in LAYERS:
            both = integers.issuperset(node.input[:2])
            found["int8" if both else names.get(kinds.get(node.output[0], 0), "unknown")] += 1
    return dict(found)


class Memory(NamedTuple):
    """Bytes of a graph's constants, and of its tensors at the node where most of them are needed."""

    weights: int
    activations: int


def memory(model: onnx.ModelProto, batch: int = 1) -> Memory:
    """The least memory that `model` needs, computed from its shapes; a dynamic batch counts as `batch`.

    The output of a DequantizeLinear counts as 0 bytes: it is never written if the next layer runs in INT8. A runtime
    needs its workspace and its own code in addition.
    """
    from onnx import numpy_helper

    constants = constants_of(model.graph)
    sizes = _sizes(model, batch)
    last = {name: i for i, node in enumerate(model.graph.node) for name in node.input}
    outputs = {value.name for value in model.graph.output}
    live = {value.name for value in model.graph.input} - set(constants)
    most = now = sum(sizes.get(name, 0) for name in live)
    for i, node in enumerate(model.graph.node):
        fresh = [] if node.op_type == "DequantizeLinear" else [name for name in node.output if name]
        now += sum(sizes.get(name, 0) for name in fresh)
        live.update(fresh)
        most = max(most, now)
        for name in {*node.input, *node.output} & live - outputs:
            if last.get(name, -1) <= i:
                live.discard(name)
                now -= sizes.get(name, 0)
    return Memory(sum(numpy_helper.to_array(tensor).nbytes for tensor in constants.values()), most)


def _sizes(model: onnx.ModelProto, batch: int) -> dict[str, int]:
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model).graph
    found = {}
    for value in (*inferred.value_info, *inferred.input, *inferred.output):
        tensor = value.type.tensor_type
        sides = [dim.dim_value if dim.dim_value > 0 else batch for dim in tensor.shape.dim]
        if tensor.elem_type:
            found[value.name] = int(np.prod(sides)) * onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).itemsize
    return found


def _types(model: onnx.ModelProto) -> dict[str, int]:
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = (*inferred.value_info, *inferred.input, *inferred.output)
    return {value.name: value.type.tensor_type.elem_type for value in values}
