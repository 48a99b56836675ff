"""TensorRT's rules on broken graphs: each is found with its node, and the real parser refuses what it can.

The parser is that of TensorRT for RTX, which needs no GPU; where it is not installed its half of the test is left out.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgewright.core import child
from edgewright.core.errors import RuntimeFailed
from edgewright.quantize.qdq import tensorrt, tensorrt_rules
from edgewright.quantize.schemes import SCHEMES
from edgewright.runtimes.options import Options

RANGES = dict.fromkeys(("x", "a", "r", "b", "s", "g", "c", "y", "t", "m", "k", "z", "p", "q"), (-3.0, 5.0))


def model(opset: int = 20) -> onnx.ModelProto:
    """A residual block with a SiLU, a concatenation and an attention product, quantized as TensorRT wants it."""
    rng = np.random.default_rng(0)
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1"], ["a"], "first", pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["r"], "relu"),
        node("Conv", ["r", "w2"], ["b"], "second", pads=[1, 1, 1, 1]),
        node("Sigmoid", ["b"], ["g"], "gate"),
        node("Mul", ["b", "g"], ["s"], "silu"),
        node("Conv", ["s", "w3"], ["c"], "third", pads=[1, 1, 1, 1]),
        node("Add", ["c", "r"], ["y"], "add"),
        node("Concat", ["y", "r"], ["k"], "concat", axis=1),
        node("Conv", ["k", "w4"], ["t"], "fourth"),
        node("ConvTranspose", ["t", "w5"], ["z"], "up"),
        node("MatMul", ["z", "z"], ["m"], "product"),
    ]
    shapes = {
        "w1": (16, 16, 3, 3), "w2": (16, 16, 3, 3), "w3": (16, 16, 3, 3), "w4": (16, 32, 1, 1), "w5": (16, 24, 1, 1)
    }  # fmt: skip
    weights = [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), n) for n, s in shapes.items()]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, [1, 16, 8, 8])],
        [helper.make_tensor_value_info("m", 1, [1, 24, 8, 8])], weights,
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return tensorrt.place(made, dict(RANGES), SCHEMES["tensorrt"], [])


def get(graph: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(node for node in graph.graph.node if node.name == name)


def constant(graph: onnx.ModelProto, name: str, value: np.ndarray) -> None:
    for tensor in graph.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(value, name))
            return
    graph.graph.initializer.append(numpy_helper.from_array(value, name))


def insert(graph: onnx.ModelProto, before: str, *nodes: onnx.NodeProto) -> None:
    """Put `nodes` in front of the node called `before`."""
    place = next(i for i, node in enumerate(graph.graph.node) if node.name == before)
    rest = [onnx.NodeProto.FromString(n.SerializeToString()) for n in graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend([*rest[:place], *nodes, *rest[place:]])


def pair(graph: onnx.ModelProto, tensor: str, reader: str, scale: float = 0.05) -> None:
    """A symmetric pair on `tensor` for one reader."""
    constant(graph, f"{tensor}_{reader}_scale", np.float32(scale))
    constant(graph, f"{tensor}_{reader}_zero", np.int8(0))
    name, more = f"{tensor}_{reader}", [f"{tensor}_{reader}_scale", f"{tensor}_{reader}_zero"]
    insert(
        graph, reader,
        helper.make_node("QuantizeLinear", [tensor, *more], [f"{name}_q"], f"{name}_quantize"),
        helper.make_node("DequantizeLinear", [f"{name}_q", *more], [f"{name}_dq"], f"{name}_dequantize"),
    )  # fmt: skip
    node = get(graph, reader)
    node.input[list(node.input).index(tensor)] = f"{name}_dq"


def unsigned(graph: onnx.ModelProto) -> None:
    constant(graph, "r_zero", np.uint8(0))


def asymmetric(graph: onnx.ModelProto) -> None:
    constant(graph, "r_zero", np.int8(7))


def quantized_bias(graph: onnx.ModelProto) -> None:
    constant(graph, "bias_q", np.arange(16, dtype=np.int32))
    constant(graph, "bias_scale", np.full(16, 1e-3, np.float32))
    insert(graph, "second", helper.make_node("DequantizeLinear", ["bias_q", "bias_scale"], ["bias"], "bias_dq", axis=0))
    get(graph, "second").input.append("bias")


def integer_operator(graph: onnx.ModelProto) -> None:
    for name, value in {"s1": np.float32(0.1), "z1": np.int8(0), "wq": np.ones((16, 16, 1, 1), np.int8)}.items():
        constant(graph, name, value)
    insert(
        graph, "second",
        helper.make_node("QuantizeLinear", ["r", "s1", "z1"], ["rq"], "rq"),
        helper.make_node("QLinearConv", ["rq", "s1", "z1", "wq", "s1", "z1", "s1", "z1"], ["lq"], "integer"),
        helper.make_node("DequantizeLinear", ["lq", "s1", "z1"], ["l"], "ldq"),
    )  # fmt: skip
    get(graph, "second").input[0] = "l"


def per_channel_activation(graph: onnx.ModelProto) -> None:
    constant(graph, "s_scale", np.full(16, 0.05, np.float32))
    constant(graph, "s_zero", np.zeros(16, np.int8))
    for name in ("s_quantize", "s_dequantize"):
        get(graph, name).attribute.append(helper.make_attribute("axis", 1))


def wrong_axis(graph: onnx.ModelProto) -> None:
    get(graph, "w3_dequantize").attribute[0].i = 1


def computed_scale(graph: onnx.ModelProto) -> None:
    insert(graph, "first", helper.make_node("ReduceMax", ["x"], ["found"], "search", keepdims=0))
    for name in ("s_quantize", "s_dequantize"):
        get(graph, name).input[1] = "found"


def infinite_scale(graph: onnx.ModelProto) -> None:
    constant(graph, "s_scale", np.float32(np.inf))


def between_layer_and_bias(graph: onnx.ModelProto) -> None:
    constant(graph, "bias", np.ones((1, 16, 1, 1), np.float32))
    insert(graph, "relu", helper.make_node("Add", ["a", "bias"], ["biased"], "plus"))
    get(graph, "relu").input[0] = "biased"
    pair(graph, "a", "plus")


def negative_scale(graph: onnx.ModelProto) -> None:
    constant(graph, "s_scale", np.float32(-0.05))


def other_scale(graph: onnx.ModelProto) -> None:
    constant(graph, "other", np.float32(0.5))
    get(graph, "s_dequantize").input[1] = "other"


def read_integers(graph: onnx.ModelProto) -> None:
    insert(graph, "s_dequantize", helper.make_node("Identity", ["s_q"], ["s_i"], "passing"))
    get(graph, "s_dequantize").input[0] = "s_i"


def weights_only(graph: onnx.ModelProto) -> None:
    get(graph, "third").input[0] = "s"


def between_layer_and_relu(graph: onnx.ModelProto) -> None:
    pair(graph, "a", "relu")


def both_branches(graph: onnx.ModelProto) -> None:
    pair(graph, "c", "add")


def bare_skip(graph: onnx.ModelProto) -> None:
    get(graph, "add").input[1] = "r"


def before_sigmoid(graph: onnx.ModelProto) -> None:
    pair(graph, "b", "gate")


def two_scales(graph: onnx.ModelProto) -> None:
    pair(graph, "y", "concat", 0.05)
    pair(graph, "r", "concat", 0.07)


def unfolded(graph: onnx.ModelProto) -> None:
    for name in ("scale", "shift", "mean", "var"):
        constant(graph, f"bn_{name}", np.ones(16, np.float32))
    insert(
        graph, "relu",
        helper.make_node("BatchNormalization", ["a", "bn_scale", "bn_shift", "bn_mean", "bn_var"], ["n"], "norm"),
    )  # fmt: skip
    get(graph, "relu").input[0] = "n"


def attention(graph: onnx.ModelProto) -> None:
    pair(graph, "z", "product")


def old_opset(graph: onnx.ModelProto) -> None:
    graph.opset_import[0].version = 12


def half_scales(graph: onnx.ModelProto) -> None:
    graph.opset_import[0].version = 17
    constant(graph, "s_scale", np.float16(0.05))


CASES: dict[Callable[[onnx.ModelProto], None], tuple[str, str, bool]] = {
    unsigned: ("signed", "r_quantize", False),  # taken for int8: answers change and nothing is said
    asymmetric: ("symmetric", "r_quantize", True),
    quantized_bias: ("int32-bias", "bias_dq", True),
    integer_operator: ("integer-operator", "integer", True),
    per_channel_activation: ("activation-per-tensor", "s_quantize", False),
    wrong_axis: ("weight-axis", "w3_dequantize", False),
    computed_scale: ("constant-scale", "s_quantize", True),
    negative_scale: ("constant-scale", "s_quantize", True),
    infinite_scale: ("constant-scale", "s_quantize", False),
    between_layer_and_bias: ("fused-output", "a_plus_quantize", False),
    other_scale: ("pair", "s_dequantize", False),
    read_integers: ("pair", "s_quantize", False),
    old_opset: ("opset", "w1_dequantize", False),
    half_scales: ("opset", "s_quantize", True),
    weights_only: ("both-inputs", "third", False),
    between_layer_and_relu: ("fused-output", "a_relu_quantize", False),
    both_branches: ("residual", "add", False),
    bare_skip: ("residual", "add", False),
    before_sigmoid: ("float-function", "b_gate_quantize", False),
    two_scales: ("concat-scale", "concat", False),
    unfolded: ("batch-norm", "norm", False),
    attention: ("attention", "product", False),
}
"""What breaks the graph -> the rule, the node, whether the real parser (or builder) refuses it."""


def test_what_we_place_breaks_no_rule():
    assert tensorrt_rules.check(model()) == []


def test_an_axis_counted_from_the_end_is_the_same_axis():
    graph = model()
    get(graph, "w3_dequantize").attribute[0].i = -4
    assert tensorrt_rules.check(graph) == []


@pytest.mark.parametrize("breaks", CASES, ids=lambda function: function.__name__)
def test_a_broken_graph_is_found_by_rule_and_node(breaks: Callable[[onnx.ModelProto], None]):
    graph = model()
    breaks(graph)
    rule, node, _ = CASES[breaks]
    found = tensorrt_rules.check(graph)
    assert (rule, node) in {(violation.rule, violation.node) for violation in found}
    assert {violation.rule for violation in found} == {rule}, "and no other rule is blamed"


def test_every_rule_has_a_case():
    assert {rule for rule, _, _ in CASES.values()} == set(tensorrt_rules.RULES) - {"few-channels"}


@pytest.mark.skipif(not importlib.util.find_spec("tensorrt_rtx"), reason="needs tensorrt-rtx-cu13")
@pytest.mark.parametrize("breaks", CASES, ids=lambda function: function.__name__)
def test_the_real_parser_refuses_what_it_can(breaks: Callable[[onnx.ModelProto], None], tmp_path: Path):
    graph = model()
    breaks(graph)
    onnx.save(graph, tmp_path / "broken.onnx")
    options, target = Options(runtime="tensorrt"), "edgewright.runtimes.tensorrt.check:ahead_of_time"
    try:
        found = child.call(
            target, log=tmp_path / "log", model=str(tmp_path / "broken.onnx"), options=options, compute_capability="8.6"
        )
    except RuntimeFailed as error:  # some crash the builder: what the child is for
        assert "crashed with SIG" in error.what, error
        found = {"built": False}
    assert found["built"] != CASES[breaks][2], found
