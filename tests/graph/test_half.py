"""Mixed FP16: what is stored in float16, what stays, and that the simulation rounds and overflows as FP16 does."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.core.errors import RuntimeFailed
from edgewright.graph import half

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def model(nodes: list, constants: dict[str, np.ndarray], outputs: tuple[str, ...] = ("y",)) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", FLOAT, [1, 4, 4, 4])],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return onnx.shape_inference.infer_shapes(made)


def op(kind: str, inputs: list[str], output: str, **more) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [output], output, **more)


def copy(source: onnx.ModelProto) -> onnx.ModelProto:
    return onnx.ModelProto.FromString(source.SerializeToString())


def run(made: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    onnx.checker.check_model(made, full_check=True)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(
        None, {"x": x}
    )


def simulated(made: onnx.ModelProto, keep: tuple[str, ...] = ()) -> onnx.ModelProto:
    converted = copy(made)
    half.apply(converted, keep)
    return half.simulate(converted)


def types(made: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(made, strict_mode=True).graph
    return {v.name: v.type.tensor_type.elem_type for v in (*inferred.value_info, *inferred.input, *inferred.output)}


RNG = np.random.default_rng(0)
X = RNG.normal(size=(1, 4, 4, 4)).astype(np.float32)
WEIGHTS = {"w": RNG.normal(size=(4, 4, 1, 1)).astype(np.float32), "b": RNG.normal(size=4).astype(np.float32)}


def test_tensors_are_half_inside_and_float_at_the_ends():
    made = model([op("Conv", ["x", "w", "b"], "c"), op("Relu", ["c"], "r"), op("Add", ["r", "r"], "y")], WEIGHTS)
    before = run(made, X)
    half.apply(made, ())
    found = types(made)
    assert {found["c"], found["r"]} == {HALF} and {found["x"], found["y"]} == {FLOAT}
    assert {t.data_type for t in made.graph.initializer} == {HALF}
    np.testing.assert_allclose(run(made, X)[0], before[0], rtol=4e-3, atol=4e-3)


def test_a_node_that_stays_and_reads_a_tensor_twice_gets_one_cast():
    """ONNX Runtime's converter writes two nodes of one name here, and its own runtime refuses the file."""
    made = model([op("Mul", ["x", "x"], "m"), op("Relu", ["m"], "r"), op("Mul", ["r", "r"], "y")], {})
    before = run(made, X)
    half.apply(made, ("m", "y"))
    assert len({node.name for node in made.graph.node}) == len(made.graph.node)
    assert types(made)["r"] == HALF and types(made)["m"] == FLOAT
    np.testing.assert_allclose(run(made, X)[0], before[0], rtol=4e-3, atol=4e-3)


def test_an_output_that_is_read_inside_too_stays_float_outside_and_half_inside():
    nodes = [op("Conv", ["x", "w", "b"], "c"), op("Relu", ["c"], "y")]
    made = model(nodes, WEIGHTS, ("y", "c"))
    before = run(made, X)
    half.apply(made, ())
    for found, wanted in zip(run(made, X), before):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, rtol=4e-3, atol=4e-3)


def test_scales_of_a_resize_stay_float_and_a_missing_input_is_no_tensor():
    nodes = [op("Resize", ["x", "", "scales"], "u", mode="nearest"), op("Clip", ["u", "", "top"], "y")]
    made = model(nodes, {"scales": np.float32([1, 1, 2, 2]), "top": np.float32(0.5)})
    before = run(made, X)
    half.apply(made, ())
    kinds = {t.name: t.data_type for t in made.graph.initializer}
    assert kinds == {"scales": FLOAT, "top_f16": HALF}
    np.testing.assert_allclose(run(made, X)[0], before[0], rtol=2e-3, atol=2e-3)


def test_a_constant_that_both_precisions_read_is_there_in_both():
    made = model([op("Mul", ["x", "k"], "m"), op("Mul", ["m", "k"], "y")], {"k": np.full((1, 1, 1, 1), 3, np.float32)})
    half.apply(made, ("y",))
    assert {t.name: t.data_type for t in made.graph.initializer} == {"k": FLOAT, "k_f16": HALF}
    np.testing.assert_allclose(run(made, X)[0], 9 * X, rtol=2e-3)


def test_integers_pass_untouched():
    nodes = [
        op("Shape", ["x"], "s"), op("Cast", ["s"], "f", to=FLOAT), op("ReduceSum", ["f"], "t", keepdims=0),
        op("Add", ["x", "t"], "y"),
    ]  # fmt: skip
    made = model(nodes, {})
    half.apply(made, ())
    assert types(made)["s"] == TensorProto.INT64
    np.testing.assert_allclose(run(made, X)[0], X + 13, rtol=2e-3)


def test_the_simulation_overflows_where_float16_does():
    """Computed by ONNX Runtime in float16 on a CPU, 300 x 300 x 0.001 is 90: its casts are dropped."""
    made = model([op("Mul", ["x", "x"], "m"), op("Mul", ["m", "k"], "y")], {"k": np.float32(0.001)})
    x = np.full((1, 4, 4, 4), 300, np.float32)
    assert np.isinf(run(simulated(made), x)[0]).all()
    np.testing.assert_allclose(run(simulated(made, ("m", "y")), x)[0], 90, rtol=2e-3)
    assert half.beyond(made, {"m": (0.0, 90000.0), "x": (0.0, 300.0)}, half.LARGEST) == ["m", "y"]


def test_the_simulation_rounds_to_eleven_bits():
    made = model([op("Add", ["x", "k"], "y")], {"k": np.float32(1.0)})
    x = np.full((1, 4, 4, 4), 2.0**-12, np.float32)
    assert (run(simulated(made), x)[0] == 1.0).all()
    assert (run(made, x)[0] > 1.0).all()


def test_an_epsilon_that_would_vanish_keeps_its_node():
    nodes = [op("Add", ["x", "eps"], "a"), op("Div", ["x", "a"], "y")]
    made = model(nodes, {"eps": np.float32(1e-12)})
    assert half.beyond(made, {}, half.LARGEST) == ["a"]


@pytest.mark.parametrize("scale", [3e-3, 2.3e-6])
def test_quantized_weights_keep_their_values_under_a_rounded_scale(scale: float):
    integers = RNG.integers(-127, 128, (4, 4, 1, 1)).astype(np.int8)
    constants = {"q": integers, "scale": np.full(4, scale, np.float32), "zero": np.zeros(4, np.int8)}
    nodes = [op("DequantizeLinear", ["q", "scale", "zero"], "w", axis=0), op("Conv", ["x", "w"], "y")]
    made = model(nodes, constants)
    before = copy(made)
    half.apply(made, ())
    found = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    stored = found.get("scale_f16", found.get("scale"))
    assert stored.dtype == np.float16
    weights = found["q"].astype(np.float64) * stored.astype(np.float64).reshape(4, 1, 1, 1)
    wanted = integers.astype(np.float64) * scale
    step = max(scale, float(stored[0]))
    assert np.abs(weights - wanted).max() <= (0.51 * step if scale < 6e-5 else 127 * scale / 2048)
    if scale > 6e-5:
        np.testing.assert_array_equal(found["q"], integers, "no integer moves where FP16 has its digits")
    assert before != made


def test_operators_without_a_float16_form_stay_in_float32():
    nodes = [op("Relu", ["x"], "r"), op("Celu", ["r"], "c"), op("Add", ["c", "r"], "y")]
    made = model(nodes, {})
    before = run(made, X)
    half.apply(made, ())
    found = types(made)
    assert found["r"] == HALF and found["c"] == FLOAT
    np.testing.assert_allclose(run(made, X)[0], before[0], rtol=4e-3, atol=4e-3)


def test_a_constant_node_of_plain_numbers_stays_what_it_is():
    nodes = [helper.make_node("Constant", [], ["k"], "k", value_float=2.0), op("Mul", ["x", "k"], "y")]
    made = model(nodes, {})
    half.apply(made, ())
    np.testing.assert_allclose(run(made, X)[0], 2 * X, rtol=2e-3)


def test_weights_that_two_pairs_read_are_rounded_once():
    constants = {
        "q": RNG.integers(-127, 128, (4, 4, 1, 1)).astype(np.int8), "s": np.full(4, 8e-7, np.float32),
        "z": np.zeros(4, np.int8),
    }  # fmt: skip
    pairs = [helper.make_node("DequantizeLinear", ["q", "s", "z"], [n], n, axis=0) for n in ("w1", "w2")]
    made = model([*pairs, op("Conv", ["x", "w1"], "c"), op("Conv", ["c", "w2"], "y")], constants)
    half.apply(made, ())
    found = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    scale = found.get("s_f16", found.get("s")).astype(np.float64).reshape(4, 1, 1, 1)
    assert np.abs(found["q"] * scale - constants["q"] * 8e-7).max() <= 0.51 * scale.max()


def test_a_graph_with_branches_is_refused():
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["z"])], "then", [], [helper.make_tensor_value_info("z", FLOAT, None)]
    )
    nodes = [helper.make_node("If", ["c"], ["y"], "if", then_branch=branch, else_branch=branch)]
    made = model(nodes, {"c": np.array(True)})
    with pytest.raises(RuntimeFailed, match="has a nested graph"):
        half.apply(made, ())
