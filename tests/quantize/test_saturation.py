"""The pair sums of VPMADDUBSW: against integers computed in numpy, and against the real kernels where they are."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.graph.names import name_nodes
from edgewright.quantize import saturation
from edgewright.quantize.calibration.sessions import open_session
from edgewright.runtimes import registry
from edgewright.targets.detect import this_machine

RNG = np.random.default_rng(0)
INPUT, WEIGHT = 0.02, 0.001
KERNELS = {name: registry.traits(name).saturation for name in ("onnxruntime", "openvino")}
LAYERS = {
    "pointwise": {"inside": 16, "outside": 16},
    "zero_point": {"inside": 16, "outside": 16, "zero": 77},
    "window": {"inside": 16, "outside": 32, "kernel": 3, "zero": 60, "stride": 2},
    "first": {"inside": 3, "outside": 16, "kernel": 3, "zero": 120, "stride": 2},
    "odd": {"inside": 7, "outside": 8, "zero": 10},
    "odd_window": {"inside": 5, "outside": 9, "kernel": 3, "zero": 3},
    "groups": {"inside": 16, "outside": 16, "kernel": 3, "zero": 20, "group": 4},
    "depthwise": {"inside": 16, "outside": 16, "kernel": 3, "zero": 20, "group": 16},
}


STATE = RNG.bit_generator.state


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    """The same in any order of the tests."""
    RNG.bit_generator.state = STATE


def heavy(*shape: int) -> np.ndarray:
    """Weights of which most neighbours can saturate."""
    return (RNG.integers(60, 128, shape) * RNG.choice([1, -1], shape, p=[0.7, 0.3])).astype(np.int8)


def convolution(
    inside: int, outside: int, kernel: int = 1, zero: int = 0, stride: int = 1, group: int = 1
) -> tuple[onnx.ModelProto, np.ndarray, float]:
    """A quantized convolution of (2, inside, 9, 9), its weights, the step of its output."""
    weights = heavy(outside, inside // group, kernel, kernel)
    step = float(np.float32(INPUT * WEIGHT * (inside // group) * kernel**2 * 70))
    constants = {
        "w": weights, "w_scale": np.full(outside, WEIGHT, np.float32), "w_zero": np.zeros(outside, np.int8),
        "x_scale": np.float32(INPUT), "x_zero": np.uint8(zero), "y_scale": np.float32(step), "y_zero": np.uint8(128),
        "b": np.zeros(outside, np.int32), "b_scale": np.full(outside, INPUT * WEIGHT, np.float32),
        "b_zero": np.zeros(outside, np.int32),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "x_scale", "x_zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "x_scale", "x_zero"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["wd"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "b_scale", "b_zero"], ["bd"], axis=0),
        helper.make_node(
            "Conv", ["xd", "wd", "bd"], ["c"], "layer", strides=[stride] * 2, pads=[kernel // 2] * 4, group=group
        ),
        helper.make_node("QuantizeLinear", ["c", "y_scale", "y_zero"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "y_scale", "y_zero"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, inside, 9, 9])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    name_nodes(model)
    return model, weights, step


def integers(
    x: np.ndarray, weights: np.ndarray, zero: int, stride: int, group: int, runtime: str, saturate: bool
) -> np.ndarray:
    """What the layer sums up, in integers: the products of two neighbours clipped to 16 bits."""
    outside, inner, kernel, _ = weights.shape
    stored = np.clip(np.rint(x / np.float32(INPUT)) + zero, 0, 255).astype(np.int64)
    edge = kernel // 2
    stored = np.pad(stored, ((0, 0), (0, 0), (edge, edge), (edge, edge)), constant_values=zero)
    side = (stored.shape[2] - kernel) // stride + 1
    found = np.zeros((len(x), outside, side, side), np.int64)
    for o in range(outside):
        first = o // (outside // group) * inner
        products = [
            stored[:, first : first + inner, i : i + stride * side : stride, j : j + stride * side : stride]
            * weights[o, :, i, j].astype(np.int64)[None, :, None, None]
            for i in range(kernel)
            for j in range(kernel)
        ]
        if runtime == "openvino":  # channels of each position are filled up
            products = [np.pad(p, ((0, 0), (0, inner % 2), (0, 0), (0, 0))) for p in products]
        every = np.concatenate(products, 1)
        every = np.pad(every, ((0, 0), (0, every.shape[1] % 2), (0, 0), (0, 0)))
        both = every[:, 0::2] + every[:, 1::2]
        total = np.clip(both, -32768, 32767).sum(1) if saturate else both.sum(1)
        found[:, o] = total - zero * int(weights[o].astype(np.int64).sum())
    return found


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_answers_as_integers_in_16_bits_do(name: str, runtime: str) -> None:
    layer = {"zero": 0, "stride": 1, "group": 1, **LAYERS[name]}
    model, weights, step = convolution(**layer)
    x = ((RNG.integers(0, 256, (2, layer["inside"], 9, 9)) - layer["zero"]) * INPUT).astype(np.float32)
    found = saturation.apply(model, KERNELS[runtime])
    steps = np.rint(open_session(model).run(None, {"x": x})[0] / step)
    sums = integers(x, weights, layer["zero"], layer["stride"], layer["group"], runtime, name != "depthwise")
    wanted = np.clip(np.rint(sums * (INPUT * WEIGHT / step)), -128, 127)
    assert np.abs(steps - wanted).max() <= 1 and (steps != wanted).mean() < 0.005, "but for ties"
    assert (found == {}) == (name == "depthwise")


@pytest.mark.skipif("vnni" in this_machine().isa or "avx2" not in this_machine().isa, reason="kernels without VNNI")
@pytest.mark.parametrize("name", LAYERS)
def test_the_real_kernels_of_onnx_runtime_agree(name: str) -> None:
    layer = LAYERS[name]
    model, _, step = convolution(**layer)
    x = ((RNG.integers(0, 256, (2, layer["inside"], 9, 9)) - layer.get("zero", 0)) * INPUT).astype(np.float32)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    real, exact = session.run(None, {"x": x})[0], open_session(model).run(None, {"x": x})[0]
    saturation.apply(model, KERNELS["onnxruntime"])
    emulated = open_session(model).run(None, {"x": x})[0]
    assert (np.abs(real - emulated) > step / 2).mean() < 0.005, "but for ties"
    if name != "depthwise":
        assert (np.abs(real - exact) > step / 2).mean() > 0.2


def test_seven_bits_cannot_saturate() -> None:
    assert len(saturation.find(np.full((4, 1, 16), 64, np.int8)).output) == 0
    assert len(saturation.find(np.full((4, 1, 16), -64, np.int8)).output) == 0
    assert len(saturation.find(np.array([[[64, 65, 127, -127]]], np.int8)).output) == 1


@pytest.mark.parametrize("transposed", [True, False])
def test_a_matrix_product_saturates_too(transposed: bool) -> None:
    weights = heavy(16, 9)
    stored = RNG.integers(0, 256, (3, 9))
    constants = {
        "w": weights if transposed else weights.T.copy(), "w_scale": np.float32(WEIGHT), "w_zero": np.int8(0),
        "x_scale": np.float32(INPUT), "x_zero": np.uint8(5),
    }  # fmt: skip
    operator = ("Gemm", {"transB": 1}) if transposed else ("MatMul", {})
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "x_scale", "x_zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "x_scale", "x_zero"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["wd"]),
        helper.make_node(operator[0], ["xd", "wd"], ["y"], "layer", **operator[1]),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 9])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    name_nodes(model)
    assert saturation.apply(model, KERNELS["onnxruntime"])["layer"] > 10
    products = np.pad(stored[:, None] * weights.astype(np.int64)[None], ((0, 0), (0, 0), (0, 1)))
    sums = np.clip(products[:, :, 0::2] + products[:, :, 1::2], -32768, 32767).sum(2)
    wanted = (sums - 5 * weights.astype(np.int64).sum(1)) * (INPUT * WEIGHT)
    found = open_session(model).run(None, {"x": ((stored - 5) * INPUT).astype(np.float32)})[0]
    np.testing.assert_allclose(found, wanted, atol=1e-3)
