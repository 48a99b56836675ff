"""Q/DQ models by ONNX Runtime's quantizer, with ranges that we collect."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.graph import files
from edgewright.graph.index import constants_of, producers_of, readers_of, reads_of
from edgewright.graph.names import Aliases
from edgewright.quantize.calibration.statistics import Range
from edgewright.quantize.schemes import Scheme

if TYPE_CHECKING:
    import onnx

OPERATORS = (
    "Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat", "Resize",
    "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Relu", "Clip", "ReduceMean", "Mul"
)  # fmt: skip
"""Operators with an INT8 kernel, and operators that pass INT8 through. Sigmoid, Softmax and LayerNorm stay in float:
their INT8 kernels are tables or missing, and the error is large."""


MOST_AVERAGED = 200
"""How much wider a pool's input may range than its output. (The kernels accept a ratio of steps up to 256.)"""


def place(model: onnx.ModelProto, ranges: dict[str, Range], scheme: Scheme, float_nodes: list[str]) -> onnx.ModelProto:
    """`model` with Q/DQ pairs for `scheme`, changed in place. `float_nodes` stay in float."""
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    left_out = [*float_nodes, *_left_out(model, ranges)]
    aliases = Aliases(model.graph)  # The quantizer creates names without checking whether they are used.
    aliases.apply(model.graph)
    biases = _take_grouped_biases(model)
    data = {aliases.tensor(name): (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()}
    quantizer = QDQQuantizer(
        onnx.shape_inference.infer_shapes(model),
        per_channel=True,
        reduce_range=scheme.weight_bits == 7,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8 if scheme.activations != "s8" else QuantType.QInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, data),
        nodes_to_quantize=[],
        nodes_to_exclude=[aliases.node(name) for name in left_out],
        op_types_to_quantize=[op for op in OPERATORS if any(n.op_type == op for n in model.graph.node)],
        extra_options={**_options(scheme), "TensorQuantOverrides": _depthwise(model, scheme)},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    _put_biases_back(quantizer.model.model, biases)
    aliases.restore(quantizer.model.model.graph)
    return quantizer.model.model


def _left_out(model: onnx.ModelProto, ranges: dict[str, Range]) -> list[str]:
    """The nodes that cannot run in INT8.

    - Layers whose weights are computed.

    - A Resize that is neither "nearest" nor "linear", with the layers next to it: ONNX Runtime 1.31 converts everything
    between INT8 layers to channels-last, has no cubic Resize in that layout, and fails on loading.

    - Pools whose output range is tiny compared with their input (means of normalized values): the kernels fail with
    "parameter out of computation range".

    - A ReLU whose output a nested graph reads: the quantizer drops a ReLU whose work a pair does, and the nested graph
    would read the tensor before it.
    """
    constants = constants_of(model.graph)
    reads = reads_of(model.graph)
    outer = Counter(name for node in model.graph.node for name in node.input)
    outer.update(value.name for value in model.graph.output)

    def is_cubic(node: onnx.NodeProto) -> bool:
        return node.op_type == "Resize" and files.attributes(node).get("mode", b"nearest") not in (
            b"nearest",
            b"linear",
        )

    def is_left_out(node: onnx.NodeProto) -> bool:
        if node.op_type in ("Conv", "ConvTranspose", "Gemm"):
            return node.input[1] not in constants
        if node.op_type == "Resize":
            return is_cubic(node)
        if node.op_type in ("GlobalAveragePool", "AveragePool"):
            read, made = (np.ptp(ranges.get(name, (0.0, 0.0))) for name in (node.input[0], node.output[0]))
            return bool(read > MOST_AVERAGED * made)
        return node.op_type in ("Relu", "Clip") and reads[node.output[0]] > outer[node.output[0]]

    found = [node.name for node in model.graph.node if is_left_out(node)]
    return found + [layer for node in model.graph.node if is_cubic(node) for layer in _next_to(model.graph, node)]


def _next_to(graph: onnx.GraphProto, node: onnx.NodeProto) -> list[str]:
    """The layers that reach `node`, or that `node` reaches, by a path without another layer."""
    readers = readers_of(graph)
    makers = producers_of(graph)
    found: dict[str, None] = {}
    for backwards in (True, False):
        waiting, seen = [node], {node.name}
        while waiting:
            here = waiting.pop()
            near = (
                [makers[name] for name in here.input if name in makers]
                if backwards
                else [reader for name in here.output for reader in readers.get(name, [])]
            )
            for other in near:
                if other.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
                    found[other.name] = None
                elif other.name not in seen:
                    seen.add(other.name)
                    waiting.append(other)
    return list(found)


def _take_grouped_biases(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Remove the biases of grouped transposed convolutions from `model`, in place; return them by node.

    Their weights have one scale per channel of a group, and the quantizer cannot scale a bias of all channels with
    these.
    """
    stored = constants_of(model.graph)
    found = {}
    for node in model.graph.node:
        grouped = node.op_type == "ConvTranspose" and files.attributes(node).get("group", 1) > 1
        if grouped and len(node.input) > 2 and node.input[2] in stored:
            found[node.name] = type(stored[node.input[2]]).FromString(stored[node.input[2]].SerializeToString())
            del node.input[2:]
    return found


def _put_biases_back(model: onnx.ModelProto, biases: dict[str, onnx.TensorProto]) -> None:
    """Restore the `biases` of the layers. The quantizer drops tensors without a reader."""
    kept = constants_of(model.graph)
    for node in model.graph.node:
        if node.name in biases:
            tensor = biases[node.name]
            node.input.append(tensor.name)
            if tensor.name not in kept:
                model.graph.initializer.append(tensor)


def _options(scheme: Scheme) -> dict[str, Any]:
    return {
        "ActivationSymmetric": scheme.centered,
        "WeightSymmetric": True,
        "QuantizeBias": scheme.quantize_bias,
        "MatMulConstBOnly": True,  # Products of two activations (attention) lose most in INT8 and gain least.
        "QDQOpTypePerChannelSupportToAxis": {"MatMul": 1, "ConvTranspose": 1},
    }


def _depthwise(model: onnx.ModelProto, scheme: Scheme) -> dict[str, Any]:
    """Full-range weights for depthwise convolutions: their kernels widen to 16 bits first, so they cannot saturate."""
    weights = constants_of(model.graph)
    if scheme.weight_bits == 8:
        return {}
    return {
        node.input[1]: [{"axis": 0, "reduce_range": False}]
        for node in model.graph.node
        if node.op_type == "Conv" and node.input[1] in weights and weights[node.input[1]].dims[1] == 1
    }
