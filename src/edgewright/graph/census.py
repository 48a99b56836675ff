"""What a graph with Q/DQ pairs and FP16 asks for: layers by precision, and the memory that its tensors take."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import onnx

RECURRENT = frozenset({"LSTM", "GRU"})
LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"}) | RECURRENT


def layers(model: onnx.ModelProto) -> dict[str, int]:
    """Layers with weights or matrix products by the precision that the graph asks for: "int8", "f16", "bf16", "f32".

    A layer is int8 where its first two inputs come out of a DequantizeLinear. It is what a runtime that obeys the graph
    runs; which kernels it really took only its own account of the compiled model says.
    """
    import onnx

    kinds = _types(model)
    dequantized = {out for node in model.graph.node if node.op_type == "DequantizeLinear" for out in node.output}
    names = {onnx.TensorProto.FLOAT16: "f16", onnx.TensorProto.BFLOAT16: "bf16", onnx.TensorProto.FLOAT: "f32"}
    found: Counter[str] = Counter()
    for node in model.graph.node:
        if node.op_type in LAYERS:
            both = dequantized.issuperset(node.input[:2])
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

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
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
