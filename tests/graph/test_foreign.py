"""Optimized, quantized and half-precision files are made plain, and answer as ONNX Runtime answers with the file."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.core.errors import InvalidInput
from edgewright.graph import census, clean, compare, files, foreign, precision, upgrade


def _made() -> Any:
    spec = importlib.util.spec_from_file_location("foreign_models", Path(__file__).with_name("foreign_models.py"))
    assert spec and spec.loader
    found = importlib.util.module_from_spec(spec)
    sys.modules["foreign_models"] = found
    spec.loader.exec_module(found)
    return found


made = _made()
MS = "com.microsoft"
FEEDS = {
    "tensor(float16)": np.float16, "tensor(double)": np.float64, "tensor(bfloat16)": ml_dtypes.bfloat16,
    "tensor(float)": np.float32,
}  # fmt: skip


def plain(source: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """`source` as an export makes it plain."""
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(source, Path(folder, "it.onnx"))
        model = files.load(Path(folder, "it.onnx"), mend=foreign.mend)
    clean.apply(model)
    notes = foreign.plain(model, "it")
    upgrade.apply(model)
    files.check(model, "it")
    return model, notes


def answers(source: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """What ONNX Runtime answers with the file as it is."""
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    session = ort.InferenceSession(source.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    value = session.get_inputs()[0]
    return np.asarray(session.run(None, {value.name: x.astype(FEEDS[value.type])})[0]).astype(np.float32)


def gap(source: onnx.ModelProto, model: onnx.ModelProto) -> float:
    (x,) = compare.random_feeds(model, 1)
    before, after = answers(source, x), compare.run(model, x)[0]
    return float(np.abs(before - after).max() / np.abs(before).max())


NOTES = {
    "fused": "Split fused operators", "qoperator": "as Q/DQ pairs", "qdq": "Already in INT8: 4 of 4 layers",
    "dynamic": "dynamically quantized operators to float",
    "weight": "Only the weights", "f16": "was FP16", "bf16": "was bfloat16", "f64": "was float64", "float": "",
}  # fmt: skip
TOLERANCE = {"f16": 5e-3, "dynamic": 2e-2, "qoperator": 1e-2, "qdq": 1e-2}
"""Relative to the largest answer: half precision and dynamic ranges round, an INT8 answer may be a step off."""


@pytest.mark.parametrize("kind", made.KINDS)
def test_a_file_of_each_kind_answers_the_same_and_is_called_what_it_is(kind: str, tmp_path: Path) -> None:
    label, make = made.KINDS[kind]
    source = make(tmp_path)
    model, notes = plain(source)
    assert precision.label(model) == label
    assert {node.domain for node in model.graph.node} <= {""}
    family = kind.split("-", maxsplit=1)[0]
    if kind != "bf16-before-22":  # it is FP32 before anything can be noted
        assert NOTES[family] in " ".join(notes), notes
    types = {tensor.data_type for tensor in model.graph.initializer}
    assert types.isdisjoint({TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE})
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert not any(node.op_type == "Cast" for node in model.graph.node if family in ("f16", "bf16", "f64"))
    if family in ("bf16", "f64"):  # ONNX Runtime has no kernels for these: the network that was stored is the judge
        activation = {"bf16-silu": "Silu", "f64-leaky": "LeakyRelu"}.get(kind, "Relu")
        assert gap(made.network(activation=activation), model) < (2e-2 if family == "bf16" else 1e-5)
    else:
        assert gap(source, model) < TOLERANCE.get(family, 1e-5)


def test_a_file_with_another_layout_is_refused_with_the_level_to_save_at(tmp_path: Path) -> None:
    source = made.optimized(made.network(), tmp_path, "ALL")
    if not any(node.domain in foreign.LAYOUTS for node in source.graph.node):
        pytest.skip("this processor has no blocked layout")
    with pytest.raises(InvalidInput, match="ReorderOutput") as caught:
        plain(source)
    assert "ORT_ENABLE_BASIC" in (caught.value.fix or "")


@pytest.mark.parametrize(
    ("operator", "told"), [("QLinearConv", {"channels_last": 1}), ("NhwcMaxPool", {"kernel_shape": [2, 2]})]
)
def test_channels_last_operators_are_refused_with_the_level_to_save_at(operator: str, told: dict[str, Any]) -> None:
    node = helper.make_node(operator, ["x"] * (8 if operator == "QLinearConv" else 1), ["y"], domain=MS, **told)
    with pytest.raises(InvalidInput, match=f"optimized for one machine .* 1 {operator}") as caught:
        plain(made.model([node], [], [1, 8, 8, 3], [None] * 4))
    assert "ORT_ENABLE_BASIC" in (caught.value.fix or "")


def test_a_convolution_that_says_it_is_not_channels_last_is_taken(tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantFormat

    source = made.static(made.network(), tmp_path, quant_format=QuantFormat.QOperator)
    for node in source.graph.node:
        if node.op_type == "QLinearConv":
            node.domain = MS
            node.attribute.append(helper.make_attribute("channels_last", 0))
    model, notes = plain(source)
    assert "3 QLinearConv" in notes[0] and gap(source, model) < TOLERANCE["qoperator"]


@pytest.mark.parametrize(
    ("activations", "weighted", "named"),
    [
        ("QUInt16", "QUInt8", "UINT16 by . QuantizeLinear"), ("QInt16", "QInt16", "INT16 by . QuantizeLinear"),
        ("QUInt8", "QInt4", "INT4 by . DequantizeLinear"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("opset", [17, 21])
def test_other_than_eight_bits_are_refused_by_type(
    activations: str, weighted: str, named: str, opset: int, tmp_path: Path
) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType

    kinds = {"activation_type": getattr(QuantType, activations), "weight_type": getattr(QuantType, weighted)}
    source = made.static(made.network(opset), tmp_path, quant_format=QuantFormat.QDQ, **kinds)
    assert precision.quantized(source).int8 == 0
    with pytest.raises(InvalidInput, match=f"quantized to {named}"):
        plain(source)


def test_weights_alone_of_four_bits_behind_dequantizelinear_are_stored_as_floats() -> None:
    """NumPy is the judge: ONNX Runtime's kernel for such weights rounds the activations, too."""
    integers, scales = np.arange(-8, 8).reshape(8, 2), np.array([0.5, 0.25], np.float32)
    four = numpy_helper.from_array(integers.astype(ml_dtypes.int4), "q")
    scale = numpy_helper.from_array(scales, "s")
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["w"], axis=1), helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]  # fmt: skip
    source = made.model(nodes, [four, scale], [3, 8], [3, 2], 21)
    source.ir_version = 10
    model, notes = plain(source)
    x = np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32)
    assert "Only the weights" in notes[0] and np.allclose(answers(model, x), x @ (integers * scales), atol=1e-5)


@pytest.mark.parametrize("opset", [10, 12])
def test_a_file_of_quantized_operators_with_a_scale_a_channel_is_exported(opset: int, tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantFormat

    from edgewright.export.sources import onnx as source_onnx

    source = made.static(made.network(12), tmp_path, quant_format=QuantFormat.QOperator, per_channel=True)
    next(o for o in source.opset_import if o.domain == "").version = opset
    onnx.save(source, tmp_path / "it.onnx")
    loaded = source_onnx.load(str(tmp_path / "it.onnx"))
    assert precision.quantized(loaded.model).int8 == 4
    (x,) = compare.random_feeds(loaded.model, 1)
    assert loaded.original is not None
    assert np.allclose(answers(loaded.original.model, x), compare.run(loaded.model, x)[0], atol=1e-5)


def test_integer_convolutions_with_a_zero_point_a_channel_are_made_float() -> None:
    """ONNX Runtime has no kernel for these; the standard does, and the same convolution in float is the judge."""
    random = np.random.default_rng(0)
    stored = random.integers(0, 255, (4, 3, 3, 3), np.uint8)
    zero = np.array([120, 130, 128, 100], np.uint8)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("ConvInteger", ["q", "w", "z", "wz"], ["i"]), helper.make_node("Cast", ["i"], ["f"], to=1),
        helper.make_node("Mul", ["s", "ws"], ["scale"]), helper.make_node("Mul", ["f", "scale"], ["y"]),
    ]  # fmt: skip
    initial = [
        numpy_helper.from_array(value, name)
        for value, name in [(stored, "w"), (zero, "wz"), (np.array(0.01, np.float32), "ws")]
    ]
    model, _ = plain(made.model(nodes, initial, [1, 3, 8, 8], [1, 4, 6, 6]))
    floats = (stored.astype(np.float32) - zero.reshape(4, 1, 1, 1)) * np.float32(0.01)
    judge = made.model(
        [helper.make_node("Conv", ["x", "w"], ["y"])], [numpy_helper.from_array(floats, "w")], [1, 3, 8, 8],
        [1, 4, 6, 6],
    )  # fmt: skip
    x = random.standard_normal((1, 3, 8, 8)).astype(np.float32)
    assert np.allclose(answers(judge, x), answers(model, x), atol=1e-4)


def test_a_dequantizelinear_without_a_zero_point_beside_constant_nodes_is_of_eight_bits(tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantFormat

    source = made.static(made.network(), tmp_path, quant_format=QuantFormat.QDQ)
    for node in source.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0].endswith("_quantized"):  # of zero point 0
            del node.input[2:]
    unnamed = numpy_helper.from_array(np.float32(2))
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["two"], value=unnamed), helper.make_node("Mul", ["logits", "two"], ["b"])],
        "b", [], [helper.make_tensor_value_info("b", TensorProto.FLOAT, [1, 3])],
    )  # fmt: skip
    source.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    source.graph.node.append(helper.make_node("If", ["yes"], ["twice"], then_branch=branch, else_branch=branch))
    source.graph.output[0].name = "twice"
    assert "Already in INT8: 4 of 4 layers." in plain(source)[1]


@pytest.mark.parametrize("moved", ["w", "x"])
def test_what_is_transposed_behind_its_dequantizelinear_counts_as_int8(moved: str) -> None:
    """Runtimes move integers: OpenVINO runs an attention's products in INT8 behind Transpose and Reshape."""
    stored = numpy_helper.from_array(np.arange(64).reshape(8, 8).astype(np.int8), "wq")
    one, zero = (numpy_helper.from_array(value, name) for value, name in [(np.float32(1), "s"), (np.int8(0), "z")])
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        helper.make_node("DequantizeLinear", ["wq", "s", "z"], ["wd"]),
        helper.make_node("Transpose", [f"{moved}d"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["xd", "t"] if moved == "w" else ["t", "wd"], ["y"]),
    ]
    model = made.model(nodes, [stored, one, zero], [8, 8], [8, 8])
    assert precision.quantized(model) == (1, 1)
    assert census.layers(model) == {"int8": 1}


def weights(name: str, *shape: int, seed: int = 3) -> onnx.TensorProto:
    return numpy_helper.from_array(np.random.default_rng(seed).standard_normal(shape).astype(np.float32), name)


def one(operator: str, more: list[onnx.TensorProto], shape: tuple[int, ...] = (2, 5, 8), **told: Any) -> Any:
    """A model of a single node of com.microsoft on an input of `shape` (and `more` constants)."""
    reads = ["x", *(tensor.name for tensor in more)]
    return lambda opset: made.model(
        [helper.make_node(operator, reads, ["y"], domain=MS, **told)], more, list(shape), [None] * len(shape), opset
    )


W8, G8, B8, W88 = weights("w", 8, 8), weights("g", 8), weights("b", 8, seed=4), weights("v", 8, 8, seed=5)
KERNEL, CHANNEL, SUM = weights("k", 4, 3, 3, 3), weights("c", 4), weights("z", 1, 4, 6, 6)
OPERATORS = {
    "conv-clip": one("FusedConv", [KERNEL, CHANNEL], (1, 3, 8, 8), activation="Clip", activation_params=[-0.5, 1.0]),
    "conv-leaky": one("FusedConv", [KERNEL], (1, 3, 8, 8), activation="LeakyRelu", activation_params=[0.2]),
    "conv-hard": one("FusedConv", [KERNEL, CHANNEL], (1, 3, 8, 8), activation="HardSigmoid",
                     activation_params=[0.3, 0.4]),
    "conv-sum": one("FusedConv", [KERNEL, CHANNEL, SUM], (1, 3, 8, 8), activation="Relu"),
    "conv-strides": one("FusedConv", [KERNEL], (1, 3, 8, 8), activation="Tanh", strides=[2, 2], pads=[1, 0, 1, 0]),
    "gemm": one("FusedGemm", [W8, G8], (5, 8), activation="LeakyRelu", activation_alpha=0.2, transB=1, alpha=0.5),
    "gemm-relu": one("FusedGemm", [W8], (5, 8), activation="Relu"),
    "matmul-constant": one("FusedMatMul", [W8], transB=1, alpha=0.25),
    "matmul-a": one("FusedMatMul", [weights("w", 5, 7)], (2, 5, 8), transA=1),
    "matmul-batch": one("FusedMatMul", [weights("w", 5, 8, 3)], (2, 5, 8), transBatchA=1),
    "matmul-batch-b": one("FusedMatMul", [weights("w", 8, 2, 3)], (2, 5, 8), transBatchB=1, alpha=2.0),
    "gelu": one("Gelu", []), "bias-gelu": one("BiasGelu", [G8]), "fast-gelu": one("FastGelu", []),
    "fast-gelu-bias": one("FastGelu", [G8]), "quick-gelu": one("QuickGelu", []),
    "silu": one("QuickGelu", [], alpha=1.0),
    "skip-norm": one("SkipLayerNormalization", [weights("s", 2, 5, 8), G8, B8], epsilon=1e-5),
    "skip-norm-bias": one("SkipLayerNormalization", [weights("s", 2, 5, 8), G8, B8, weights("d", 8, seed=6)]),
    "skip-rms": one("SkipSimplifiedLayerNormalization", [weights("s", 2, 5, 8), G8], epsilon=1e-5),
    "attention": one("Attention", [weights("w", 8, 24), weights("b", 24)], num_heads=2),
}  # fmt: skip


@pytest.mark.parametrize("opset", [12, 17, 20])
@pytest.mark.parametrize("name", OPERATORS)
def test_each_fused_operator_is_taken_apart_to_what_onnxruntime_computes(name: str, opset: int) -> None:
    source = OPERATORS[name](opset)
    model, notes = plain(source)
    assert {node.domain for node in model.graph.node} == {""} and "standard ones: 1 " in notes[0]
    x = np.random.default_rng(0).standard_normal(
        [d.dim_value for d in source.graph.input[0].type.tensor_type.shape.dim]
    )
    before, after = (answers(one, x) for one in (source, model))
    assert np.abs(before - after).max() < 2e-5 * max(1.0, float(np.abs(before).max()))


def test_a_product_of_two_activations_gets_its_transposition(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gelu", ["x"], ["g"], domain=MS),  # what follows has no shape until this is taken apart
        helper.make_node("FusedMatMul", ["g", "x"], ["y"], domain=MS, transB=1, alpha=0.5),
    ]
    source = made.model(nodes, [], [2, 3, 4, 8], [2, 3, 4, 4])
    model, _ = plain(source)
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 8)).astype(np.float32)
    assert np.allclose(answers(source, x), answers(model, x), atol=1e-5)
    assert [node.op_type for node in model.graph.node][-3:] == ["Transpose", "MatMul", "Mul"]


@pytest.mark.parametrize(
    ("node", "named"),
    [
        (helper.make_node("Inverse", ["x"], ["y"], domain=MS), "com.microsoft.Inverse"),
        (helper.make_node("FusedConv", ["x", "k"], ["y"], domain=MS, activation="Unheard"), "com.microsoft.FusedConv"),
    ],
)
def test_what_cannot_be_taken_apart_is_refused_by_name(node: onnx.NodeProto, named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        foreign.plain(made.model([node], [KERNEL], [1, 3, 8, 8], [None] * 4), "it.onnx")


@pytest.mark.parametrize("symmetric", [True, False])
def test_weights_of_four_bits_are_stored_as_floats(symmetric: bool) -> None:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    source = made.model([helper.make_node("MatMul", ["x", "w"], ["y"])], [weights("w", 40, 6)], [3, 40], [3, 6])
    quantizer = MatMulNBitsQuantizer(source, block_size=16, is_symmetric=symmetric)
    quantizer.process()
    four = quantizer.model.model
    assert any(node.op_type == "MatMulNBits" for node in four.graph.node)
    model, notes = plain(four)
    x = np.random.default_rng(0).standard_normal((3, 40)).astype(np.float32)
    assert np.allclose(answers(four, x), answers(model, x), atol=1e-4) and "MatMulNBits" in notes[0]


def test_numbers_at_the_end_of_half_precision_keep_their_values() -> None:
    value = np.array([65504, -65504, -np.inf, 6e-8], np.float16)
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16), helper.make_node("Add", ["h", "c"], ["s"]),
        helper.make_node("Cast", ["s"], ["y"], to=TensorProto.FLOAT),
    ]  # fmt: skip
    model, _ = plain(made.model(nodes, [numpy_helper.from_array(value, "c")], [1, 4], [1, 4]))
    assert [node.op_type for node in model.graph.node if node.op_type != "Identity"] == ["Add"]
    kept = numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == "c"))
    assert kept.dtype == np.float32 and np.array_equal(kept, value.astype(np.float32))


def test_half_precision_inside_a_branch_becomes_single() -> None:
    def branch(name: str, factor: float) -> onnx.GraphProto:
        made_of = [
            helper.make_node("Constant", [], [f"{name}_c"], value=numpy_helper.from_array(np.float16(factor), "v")),
            helper.make_node("Mul", ["h", f"{name}_c"], [name]),
        ]
        return helper.make_graph(made_of, name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT16, [1, 4])])

    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("If", ["yes"], ["i"], then_branch=branch("t", 2), else_branch=branch("e", 3)),
        helper.make_node("Cast", ["i"], ["y"], to=TensorProto.FLOAT),
    ]
    source = made.model(nodes, [numpy_helper.from_array(np.array(True), "yes")], [1, 4], [1, 4])
    model, _ = plain(source)
    x = np.arange(4, dtype=np.float32)[None]
    assert np.array_equal(answers(model, x), 2 * x)
    assert TensorProto.FLOAT16 not in {tensor.data_type for tensor in files.tensors(model)}


def test_layer_normalization_before_its_operator_set_is_taken() -> None:
    nodes = [helper.make_node("LayerNormalization", ["x", "g", "b"], ["y"], axis=-1, epsilon=1e-5)]
    source = made.model(nodes, [G8, B8], [2, 5, 8], [2, 5, 8], 13)  # as ONNX Runtime writes it
    with pytest.raises(InvalidInput):
        files.check(source, "it")
    model, _ = plain(source)
    x = np.random.default_rng(0).standard_normal((2, 5, 8)).astype(np.float32)
    assert np.allclose(answers(source, x), answers(model, x), atol=1e-5)


def test_one_layer_of_twenty_in_int8_is_not_called_int8() -> None:
    assert precision.Quantized(1, 20).few and precision.Quantized(0, 0).few
    assert not precision.Quantized(20, 21).few and str(precision.Quantized(20, 21)) == "20 of 21 layers"
