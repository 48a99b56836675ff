"""Files as ONNX Runtime and converters write them, each of a small network that is made here. Imported by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = 3


def network(opset: int = 17, activation: str = "Relu") -> onnx.ModelProto:
    """Three convolutions, one of them residual, a pool and a Gemm on images of 16 x 16."""
    random = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        value = random.standard_normal(shape) * np.sqrt(1.5 / max(np.prod(shape[1:]), 1))
        return numpy_helper.from_array(value.astype(np.float32), name)

    told: dict[str, Any] = {"LeakyRelu": {"alpha": 0.1}, "HardSigmoid": {"alpha": 0.2, "beta": 0.5}}.get(activation, {})

    def act(name: str) -> list[onnx.NodeProto]:
        if activation != "Silu":
            return [helper.make_node(activation, [name], [f"{name}_a"], **told)]
        return [
            helper.make_node("Sigmoid", [name], [f"{name}_s"]),
            helper.make_node("Mul", [name, f"{name}_s"], [f"{name}_a"]),
        ]  # fmt: skip

    nodes = [
        helper.make_node("Conv", ["images", "w1", "b1"], ["c1"], name="c1", pads=[1] * 4), *act("c1"),
        helper.make_node("Conv", ["c1_a", "w2", "b2"], ["c2"], name="c2", pads=[1] * 4),
        helper.make_node("Add", ["c2", "c1_a"], ["s"], name="s"), *act("s"),
        helper.make_node("Conv", ["s_a", "w3", "b3"], ["c3"], name="c3", pads=[1] * 4, strides=[2, 2]), *act("c3"),
        helper.make_node("GlobalAveragePool", ["c3_a"], ["p"], name="p"),
        helper.make_node("Flatten", ["p"], ["f"], name="f"),
        helper.make_node("Gemm", ["f", "w4", "b4"], ["logits"], name="fc", transB=1),
    ]  # fmt: skip
    initial = [weights("w1", 16, 3, 3, 3), weights("b1", 16), weights("w2", 16, 16, 3, 3), weights("b2", 16)]
    initial += [weights("w3", 32, 16, 3, 3), weights("b3", 32), weights("w4", CLASSES, 32), weights("b4", CLASSES)]
    return model(nodes, initial, [1, 3, 16, 16], [1, CLASSES], opset, "images", "logits")


def model(
    nodes: list[onnx.NodeProto], initial: list[onnx.TensorProto], read: list[int], gives: list[int] | None,
    opset: int = 17, source: str = "x", target: str = "y",
) -> onnx.ModelProto:  # fmt: skip
    graph = helper.make_graph(
        nodes, "foreign", [helper.make_tensor_value_info(source, TensorProto.FLOAT, read)],
        [helper.make_tensor_value_info(target, TensorProto.FLOAT, gives)], initial,
    )  # fmt: skip
    domains = sorted({node.domain for node in nodes} - {""})
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def optimized(source: onnx.ModelProto, folder: Path, level: str = "EXTENDED") -> onnx.ModelProto:
    """What a session of ONNX Runtime saves of `source`."""
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    settings.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    settings.optimized_model_filepath = str(folder / "optimized.onnx")
    ort.InferenceSession(source.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "optimized.onnx")


class _Images:
    def __init__(self, name: str, shape: list[int]) -> None:
        random = np.random.default_rng(1)
        self._left = iter([{name: random.standard_normal(shape).astype(np.float32)} for _ in range(4)])

    def get_next(self) -> Any:
        return next(self._left, None)


def static(source: onnx.ModelProto, folder: Path, **how: Any) -> onnx.ModelProto:
    """`source` by ONNX Runtime's static quantizer."""
    from onnxruntime.quantization import quantize_static

    onnx.save(source, folder / "float.onnx")
    quantize_static(folder / "float.onnx", folder / "static.onnx", _Images("images", [1, 3, 16, 16]), **how)
    return onnx.load(folder / "static.onnx")


def dynamic(source: onnx.ModelProto, folder: Path, **how: Any) -> onnx.ModelProto:
    """`source` by ONNX Runtime's dynamic quantizer."""
    from onnxruntime.quantization import quantize_dynamic

    onnx.save(source, folder / "float.onnx")
    quantize_dynamic(folder / "float.onnx", folder / "dynamic.onnx", **how)
    return onnx.load(folder / "dynamic.onnx")


def half(source: onnx.ModelProto, **how: Any) -> onnx.ModelProto:
    """`source` by ONNX Runtime's float16 converter."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(source, **how)


def stored_as(source: onnx.ModelProto, kind: int) -> onnx.ModelProto:
    """`source` with all its numbers, its input and its output in another floating-point type."""
    changed = onnx.ModelProto.FromString(source.SerializeToString())
    kept = helper.tensor_dtype_to_np_dtype(kind)
    for tensor in changed.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(kept), tensor.name))
    for value in (*changed.graph.input, *changed.graph.output):
        value.type.tensor_type.elem_type = kind
    return changed


def weight_only(source: onnx.ModelProto) -> onnx.ModelProto:
    """`source` with the weights of its convolutions in INT8 behind a DequantizeLinear, and nothing else."""
    changed = onnx.ModelProto.FromString(source.SerializeToString())
    graph, pairs = changed.graph, []
    for tensor in list(graph.initializer):
        value = numpy_helper.to_array(tensor)
        if value.ndim == 4:
            scale = np.abs(value).max(axis=(1, 2, 3)) / np.float32(127)
            stored = np.rint(value / scale[:, None, None, None]).astype(np.int8)
            graph.initializer.append(numpy_helper.from_array(stored, f"{tensor.name}_q"))
            graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), f"{tensor.name}_scale"))
            pairs.append(
                helper.make_node(
                    "DequantizeLinear", [f"{tensor.name}_q", f"{tensor.name}_scale"], [tensor.name], axis=0
                )
            )
            graph.initializer.remove(tensor)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in (*pairs, *graph.node)]
    del graph.node[:]
    graph.node.extend(nodes)
    return changed


def _quantized(**how: Any) -> Callable[[Path], onnx.ModelProto]:
    return lambda folder: static(network(), folder, **how)


def _formats() -> dict[str, dict[str, Any]]:
    from onnxruntime.quantization import QuantFormat, QuantType

    pairs, operators = QuantFormat.QDQ, QuantFormat.QOperator
    return {
        "qdq": {"quant_format": pairs},
        "qdq-u8": {"quant_format": pairs, "activation_type": QuantType.QUInt8},
        "qdq-per-channel": {"quant_format": pairs, "per_channel": True},
        "qoperator": {"quant_format": operators},
        "qoperator-u8": {"quant_format": operators, "activation_type": QuantType.QUInt8},
        "qoperator-per-channel": {"quant_format": operators, "per_channel": True},
    }


KINDS: dict[str, tuple[str, Callable[[Path], onnx.ModelProto]]] = {
    "float": ("f32", lambda folder: network()),
    "fused-relu": ("f32", lambda folder: optimized(network(), folder)),
    "fused-silu": ("f32", lambda folder: optimized(network(activation="Silu"), folder)),
    "fused-hardsigmoid": ("f32", lambda folder: optimized(network(activation="HardSigmoid"), folder)),
    **{name: ("int8", _quantized(**how)) for name, how in _formats().items()},
    "qdq-fused": ("int8", lambda folder: optimized(static(network(), folder, **_formats()["qdq"]), folder)),
    "dynamic": ("f32", lambda folder: dynamic(network(), folder)),
    "dynamic-per-channel": ("f32", lambda folder: dynamic(network(), folder, per_channel=True)),
    "dynamic-fused": ("f32", lambda folder: optimized(dynamic(network(), folder), folder)),
    "weight-only": ("f32", lambda folder: weight_only(network())),
    "f16": ("f32", lambda folder: half(network())),
    "f16-inside": ("f32", lambda folder: half(network(), keep_io_types=True)),
    "f16-in-part": ("f32", lambda folder: half(network(), keep_io_types=True, op_block_list=["Gemm", "Add"])),
    "bf16": ("f32", lambda folder: stored_as(network(22), TensorProto.BFLOAT16)),
    "bf16-silu": ("f32", lambda folder: stored_as(network(22, "Silu"), TensorProto.BFLOAT16)),
    "bf16-before-22": ("f32", lambda folder: stored_as(network(17), TensorProto.BFLOAT16)),
    "f64": ("f32", lambda folder: stored_as(network(), TensorProto.DOUBLE)),
    "f64-leaky": ("f32", lambda folder: stored_as(network(activation="LeakyRelu"), TensorProto.DOUBLE)),
    "f64-opset-13": ("f32", lambda folder: stored_as(network(13), TensorProto.DOUBLE)),
}
"""What a kind of file is to every command, and how it is made (in a folder to work in)."""
