"""TensorRT's placement rules, on graphs that real models are made of, and by NVIDIA's own parser where it is
installed."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgewright.quantize.qdq import tensorrt
from edgewright.quantize.quantize import QuantizeRequest, quantize
from edgewright.quantize.schemes import SCHEMES


def graph(nodes: list, inputs: dict[str, list[int]], output: str, constants: dict[str, tuple[int, ...]]):
    rng = np.random.default_rng(0)
    return helper.make_model(
        helper.make_graph(
            nodes, "g", [helper.make_tensor_value_info(n, 1, s) for n, s in inputs.items()],
            [helper.make_tensor_value_info(output, 1, None)],
            [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), n) for n, s in constants.items()],
        ), opset_imports=[helper.make_opsetid("", 20)], ir_version=10,
    )  # fmt: skip


def conv(x: str, out: str, weight: str = "w", **more) -> onnx.NodeProto:
    return helper.make_node("Conv", [x, weight], [out], f"conv_{out}", **more)


def op(kind: str, inputs: list[str], out: str) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [out], f"{kind.lower()}_{out}")


def test_resnet_identity_block_quantizes_the_skip():
    nodes = [
        conv("x", "s"), op("Relu", ["s"], "r"), conv("r", "a"), op("Relu", ["a"], "b"), conv("b", "c"),
        op("Add", ["c", "r"], "y"),
    ]  # fmt: skip
    assert tensorrt.residuals(graph(nodes, {"x": [1, 4, 8, 8]}, "y", {"w": (4, 4, 1, 1)})) == {"add_y": 1}


def test_of_two_convolutions_the_longer_path_stays_in_float():
    nodes = [
        conv("x", "s"), op("Relu", ["s"], "r"), conv("r", "short"), conv("r", "a"), op("Relu", ["a"], "b"),
        conv("b", "long"), op("Add", ["short", "long"], "y"), op("Add", ["long2", "short2"], "z"),
    ]  # fmt: skip
    nodes[7:7] = [conv("y", "short2"), conv("y", "d"), conv("d", "long2")]
    model = graph(nodes, {"x": [1, 4, 8, 8]}, "z", {"w": (4, 4, 1, 1)})
    assert tensorrt.residuals(model) == {"add_y": 0, "add_z": 1}


def test_constants_and_graph_inputs_are_no_residuals():
    nodes = [
        conv("x", "a"),
        op("Add", ["a", "k"], "b"),
        op("Add", ["b", "x"], "y"),
        conv("y", "c"),
        op("Add", ["c", "x"], "z"),
    ]
    model = graph(nodes, {"x": [1, 4, 8, 8]}, "z", {"w": (4, 4, 1, 1), "k": (1, 4, 1, 1)})
    assert tensorrt.residuals(model) == {}


def test_a_convnext_block_whose_convolution_is_the_ancestor_is_no_residual():
    # The depthwise convolution feeds both the branch and the addition.
    nodes = [conv("x", "s"), op("Gelu", ["s"], "a"), op("Add", ["s", "a"], "y")]
    assert tensorrt.residuals(graph(nodes, {"x": [1, 4, 8, 8]}, "y", {"w": (4, 4, 1, 1)})) == {}


def test_an_addition_without_a_convolution_is_no_residual():
    nodes = [conv("x", "s"), op("Relu", ["s"], "a"), op("Sigmoid", ["s"], "b"), op("Add", ["a", "b"], "y")]
    assert tensorrt.residuals(graph(nodes, {"x": [1, 4, 8, 8]}, "y", {"w": (4, 4, 1, 1)})) == {}


def test_resnet18_has_a_pair_on_each_of_its_eight_skips():
    model = exported("resnet18", 64)
    found = tensorrt.residuals(model)
    assert len(found) == 8
    producers = {out: node.op_type for node in model.graph.node for out in node.output}
    adds = {node.name: node for node in model.graph.node}
    for name, skip in found.items():
        assert producers[adds[name].input[1 - skip]] == "Conv"


def test_convnext_additions_stay_in_float():
    """Its blocks end in a layer scale (Mul), not in a convolution that an addition could fuse with."""
    assert tensorrt.residuals(exported("convnext_atto", 64)) == {}


def test_only_inputs_of_layers_and_skips_are_quantized(tiny, tmp_path):
    quantize(QuantizeRequest(model=str(tiny.model), images=tiny.images), "tensorrt", "round", str(tmp_path))
    model = onnx.load(tmp_path / "model.onnx")
    initial = {t.name for t in model.graph.initializer}
    behind = {out for n in model.graph.node if n.op_type == "DequantizeLinear" for out in n.output}
    for node in model.graph.node:
        quantized = [i for i, name in enumerate(node.input) if name in behind]
        if node.op_type == "Conv" and not quantized:
            shape = next(tuple(t.dims) for t in model.graph.initializer if t.name == node.input[1])
            assert min(shape[:2]) < tensorrt.FEWEST_CHANNELS
        elif node.op_type in ("Conv", "Gemm"):
            assert quantized == [0, 1]
            assert node.input[2] in initial, "the bias must stay a float initializer"
        elif node.op_type == "Add":
            assert quantized == [1]
        elif node.op_type != "QuantizeLinear":
            assert not quantized, node.op_type


def test_attention_and_the_functions_around_it_stay_in_float():
    nodes = [
        op("MatMul", ["x", "w"], "q"), op("Transpose", ["q"], "t"), op("MatMul", ["q", "t"], "m"),
        op("Softmax", ["m"], "s"), op("MatMul", ["s", "q"], "o"), op("Sigmoid", ["q"], "g"), op("Mul", ["q", "g"], "h"),
        op("Add", ["o", "h"], "z"), op("MatMul", ["z", "w"], "y"),
    ]  # fmt: skip
    model = graph(nodes, {"x": [8, 8]}, "y", {"w": (8, 8)})
    names = ["x", *(n.output[0] for n in nodes)]
    tensorrt.place(model, dict.fromkeys(names, (-1.0, 1.0)), SCHEMES["tensorrt"], [])
    behind = {out for n in model.graph.node if n.op_type == "DequantizeLinear" for out in n.output}
    reads = {n.name for n in model.graph.node if behind & set(n.input) and n.op_type != "QuantizeLinear"}
    assert reads == {"matmul_q", "matmul_y"}


def test_nvidias_parser_and_builder_accept_the_file(tiny, tmp_path):
    trt = pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx-cu13 to try NVIDIA's own parser")
    quantize(QuantizeRequest(model=str(tiny.model), images=tiny.images), "tensorrt", "round", str(tmp_path))
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    parsed = parser.parse((tmp_path / "model.onnx").read_bytes())
    assert parsed, [str(parser.get_error(i)) for i in range(parser.num_errors)]
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM80, 0)  # the nearest to Orin that builds ahead of time
    assert builder.build_serialized_network(network, config) is not None


def exported(name: str, size: int) -> onnx.ModelProto:
    """A timm model with random weights as ONNX."""
    import io

    import timm
    import torch

    torch.manual_seed(0)
    buffer = io.BytesIO()
    program = torch.onnx.export(
        timm.create_model(name).eval(), (torch.zeros(1, 3, size, size),), opset_version=20, dynamo=True, verbose=False
    )
    program.save(buffer)
    model = onnx.load_from_string(buffer.getvalue())
    for i, node in enumerate(model.graph.node):
        node.name = node.name or f"n{i}"
    return model
