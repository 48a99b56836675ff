"""Q/DQ models by ONNX Runtime's quantizer, with ranges that we collect ourselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .ranges import Range
from .schemes import Scheme

if TYPE_CHECKING:
    import onnx

OPERATORS = (
    "Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat", "Resize",
    "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Relu", "Clip", "ReduceMean", "Mul"
)  # fmt: skip
"""What has an INT8 kernel, and what passes INT8 through. Sigmoid, Softmax and LayerNorm stay in float: their INT8
kernels are tables or none, and the error is large."""


def place(model: onnx.ModelProto, ranges: dict[str, Range], scheme: Scheme, float_nodes: list[str]) -> onnx.ModelProto:
    """`model` with Q/DQ pairs for the ONNX Runtime scheme `scheme`; `float_nodes` stay in float."""
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    data = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()}
    quantizer = QDQQuantizer(
        onnx.shape_inference.infer_shapes(model),
        per_channel=True,
        reduce_range=scheme.weight_bits == 7,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8 if scheme.activations != "s8" else QuantType.QInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, data),
        nodes_to_quantize=[],
        nodes_to_exclude=float_nodes,
        op_types_to_quantize=[op for op in OPERATORS if any(n.op_type == op for n in model.graph.node)],
        extra_options={**_options(scheme), "TensorQuantOverrides": _depthwise(model, scheme)},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    return quantizer.model.model


def _options(scheme: Scheme) -> dict[str, Any]:
    return {
        "ActivationSymmetric": scheme.centred,
        "WeightSymmetric": True,
        "QuantizeBias": scheme.quantize_bias,
        "MatMulConstBOnly": True,  # attention's products of two activations lose most and gain least
        "QDQOpTypePerChannelSupportToAxis": {"MatMul": 1, "ConvTranspose": 1},
    }


def _depthwise(model: onnx.ModelProto, scheme: Scheme) -> dict[str, Any]:
    """Full-range weights for depthwise convolutions: their kernels widen to 16 bits first, so they cannot saturate."""
    weights = {t.name: t.dims for t in model.graph.initializer}
    if scheme.weight_bits == 8:
        return {}
    return {
        node.input[1]: [{"axis": 0, "reduce_range": False}]
        for node in model.graph.node
        if node.op_type == "Conv" and node.input[1] in weights and weights[node.input[1]][1] == 1
    }
