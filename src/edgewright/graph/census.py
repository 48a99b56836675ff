"""What a graph with Q/DQ pairs and FP16 asks for: layers by precision, and the memory that its tensors take."""

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
"""Layers that INT8 kernels compute."""
LAYERS = PRODUCTS | RECURRENT

MOVERS = frozenset(
    {
        "Concat", "Gather", "Split", "Slice", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "MaxPool",
        "DepthToSpace", "SpaceToDepth", "Resize", "Identity",
    }
)  # fmt: skip
"""Operators whose outputs have values of their first input (Concat: of all), or values between these."""

EIGHT_BITS = frozenset({"INT8", "UINT8", "UNDEFINED"})
"""The types of integers (see `grids`) that runtimes compute with in INT8."""


def grids(model: onnx.ModelProto) -> list[tuple[onnx.NodeProto, str]]:
    """Each QuantizeLinear and DequantizeLinear of `model` with the type of its integers: "INT8", "UINT16", ...

    The type is "UNDEFINED" where neither a constant nor an attribute says it (QuantizeLinear makes UINT8 then).
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
    """Whether `operator` on integers of the type `kind` belongs to an INT8 model; a bias is dequantized from INT32."""
    return kind in EIGHT_BITS or (kind == "INT32" and operator == "DequantizeLinear")


def dequantized(model: onnx.ModelProto) -> set[str]:
    """The tensors of the outermost graph that come out of a DequantizeLinear of 8 bits, also if moved then (`MOVERS`).

    OpenVINO moves integers and needs no pair behind a mover (an attention's products run in INT8 without).
    """
    pairs = [(node, kind) for node, kind in grids(model) if node.op_type == "DequantizeLinear"]
    found = {node.output[0] for node, kind in pairs if kind in EIGHT_BITS}
    for node in model.graph.node:
        data = node.input if node.op_type == "Concat" else node.input[:1]
        if node.op_type in MOVERS and found.issuperset(data):
            found.update(name for name in node.output if name)
    return found


def layers(model: onnx.ModelProto) -> dict[str, int]:
    """Layers with weights or matrix products by the precision that the graph asks for: "int8", "f16", "bf16", "f32".

    A layer is int8 where its first two inputs come out of a DequantizeLinear of 8 bits (`dequantized`). It is what a
    runtime that obeys the graph runs; which kernels it really took only its own account of the compiled model says.
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
    """Bytes of a graph's constants, and of its tensors when most of them are needed at once, node after node."""

    weights: int
    activations: int


def memory(model: onnx.ModelProto, batch: int = 1) -> Memory:
    """What `model` needs at least, computed from its shapes; open batches count as `batch`.

    A DequantizeLinear takes nothing: where the layer behind it runs in INT8 its output is never written. A runtime adds
    its workspace and its own code.
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
