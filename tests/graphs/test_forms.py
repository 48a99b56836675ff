"""Graphs as someone wrote them: forms that the generated networks do not have, through export and every scheme."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.core.errors import InvalidInput
from edgewright.quantize.schemes import SCHEMES


def _sibling(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"forms_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


networks, trial = _sibling("net"), _sibling("trial")
FORMS: dict[str, Callable[[], onnx.ModelProto]] = {}


def form(make: Callable[[], onnx.ModelProto]) -> Callable[[], onnx.ModelProto]:
    FORMS[make.__name__.strip("_")] = make
    return make


def _features(opset: int = 17, names: str = "plain") -> tuple[Any, Any]:
    """A network so far, and (1, 16) features of it."""
    net = networks.Net(opset, names)
    x = net.relu(net.conv(net.relu(net.conv(net.images, 16, 3)), 16, 3, stride=2))
    return net, net.pooled(x)


def _product(c: Any, **told: Any) -> onnx.ModelProto:
    """A Gemm with this C behind another one."""
    net, x = _features()
    x = net.relu(net.gemm(x, 16))
    weights = net.weights(16, 5, fan=16)
    return net.give(net.node("Gemm", [x, weights, net.constant(c)], (1, 5), **told))


@form
def gemm_with_a_row() -> onnx.ModelProto:
    return _product([[0.1, -0.2, 0.3, 0.4, -0.5]])


@form
def gemm_with_one_value() -> onnx.ModelProto:
    return _product([0.3])


@form
def gemm_with_a_scalar() -> onnx.ModelProto:
    return _product(0.3)


@form
def gemm_with_alpha_and_beta() -> onnx.ModelProto:
    return _product([0.1, -0.2, 0.3, 0.4, -0.5], alpha=0.5, beta=-2.0)


@form
def gemm_with_a_column_of_features() -> onnx.ModelProto:
    """A is transposed, and C has a value a row: what is left to an Add."""
    net, x = _features()
    turned = net.transpose(x, 1, 0)
    c = net.constant(np.random.default_rng(1).normal(0, 0.2, (16, 1)))
    square = net.node("Gemm", [net.node("MatMul", [turned, x], (16, 16)), net.weights(16, 16), c], (16, 16))
    row = net.reduce("ReduceMean", net.relu(square), 0)
    return net.give(net.node("Gemm", [net.transpose(row, 1, 0), net.weights(16, 5, fan=16)], (1, 5), transA=1))


@form
def gemm_with_a_computed_row() -> onnx.ModelProto:
    net, x = _features()
    first = net.gemm(x, 5)
    return net.give(net.node("Gemm", [x, net.weights(16, 5, fan=16), first], (1, 5), beta=0.5))


@form
def gemm_with_computed_weights() -> onnx.ModelProto:
    net, x = _features()
    wide = net.relu(net.gemm(x, 80))
    matrix = net.node("Mul", [net.reshape(wide, 16, 5), net.constant(0.3)], (16, 5))
    return net.give(net.node("Gemm", [x, matrix, net.bias(5)], (1, 5)))


@form
def gemm_twice_with_one_row() -> onnx.ModelProto:
    net, x = _features()
    row, weights = net.bias(1, 16), net.weights(16, 16, fan=16)
    for _ in range(2):
        x = net.relu(net.node("Gemm", [x, weights, row], (1, 16)))
    return net.give(net.gemm(x, 5))


@form
def weights_in_constant_nodes() -> onnx.ModelProto:
    net = networks.Net(13)
    x = net.relu(net.conv(net.images, 16, 3, node=True))
    weights = net.node("Identity", [net.constant(net.random.normal(0, 0.2, (16, 16, 3, 3)), node=True)], (16, 16, 3, 3))
    x = net.relu(net.conv(x, 16, 3, weights=weights.name))
    return net.give(net.gemm(net.pooled(x), 5))


@form
def initializers_listed_as_inputs() -> onnx.ModelProto:
    """As files of IR version 3 must."""
    net, x = _features(8)
    model = net.give(net.gemm(x, 5))
    model.ir_version = 3
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return model


@form
def unused_initializers() -> onnx.ModelProto:
    net, x = _features()
    net.constant(np.ones((300, 3)))
    net.bias(7)
    return net.give(net.gemm(x, 5))


@form
def several_outputs() -> onnx.ModelProto:
    net, x = _features()
    return net.give(net.gemm(x, 5), x, net.gemm(x, 7))


@form
def the_input_as_an_output() -> onnx.ModelProto:
    net, x = _features()
    return net.give(net.gemm(x, 5), net.images)


@form
def an_initializer_as_an_output() -> onnx.ModelProto:
    net, x = _features()
    fixed = networks.Tensor(net.constant([1.0, 2.0]), (2,))
    return net.give(net.gemm(x, 5), fixed)


@form
def a_bias_with_the_name_that_a_layer_would_give_its_own() -> onnx.ModelProto:
    """A Conv "mix" without a bias beside a tensor "mix_bias"."""
    net = networks.Net(13)
    x = net.conv(net.images, 16, 3, bias=False)
    net.nodes[-1].name = "mix"
    x = net.node("Add", [x, net.constant(np.full((1, 16, 1, 1), 0.1))], x.shape)
    x = net.relu(net.conv(net.relu(x), 16, 1))
    model = net.give(net.gemm(net.pooled(x), 5))
    return _renamed(model, model.graph.node[1].output[0], "mix_bias")


@form
def the_scores_with_a_name_of_the_quantizers() -> onnx.ModelProto:
    """The input is "x" and the answer "x_scale"; the stem makes "x_QuantizeLinear_Output"."""
    net, x = _features()
    model = net.give(net.gemm(x, 5))
    model = _renamed(model, model.graph.node[0].output[0], "images_QuantizeLinear_Output")
    return _renamed(model, "scores", "images_scale")


@form
def an_inner_graph_that_reads_names_of_the_quantizers() -> onnx.ModelProto:
    net = networks.Net(16)
    x = net.relu(net.conv(net.images, 16, 3))
    mean = net.reduce("ReduceMean", x, 0, 1, 2, 3, keep=0)
    small = net.node("Less", [mean, net.constant(0.3)], ())
    graphs = {}
    for name, operator in (("then_branch", "Relu"), ("else_branch", "Abs")):
        out = helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, x.shape)
        node = helper.make_node(operator, [x.name], [out.name], f"{x.name}_QuantizeLinear")
        graphs[name] = helper.make_graph([node], name, [], [out])
    x = net.relu(net.conv(net.node("If", [small], x.shape, **graphs), 16, 3))
    model = net.give(net.gemm(net.pooled(x), 5))
    return _renamed(model, model.graph.node[1].output[0], "n1_bias_scale")


def _renamed(model: onnx.ModelProto, old: str, new: str) -> onnx.ModelProto:
    def rename(graph: onnx.GraphProto) -> None:
        for value in (*graph.output, *graph.initializer):
            value.name = new if value.name == old else value.name
        for node in graph.node:
            for names in (node.input, node.output):
                names[:] = [new if name == old else name for name in names]
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    rename(attribute.g)

    rename(model.graph)
    return model


@pytest.mark.parametrize("name", FORMS)
def test_a_graph_as_someone_wrote_it_ends_in_int8_by_every_scheme(name: str, tmp_path: Path) -> None:
    onnxruntime.set_default_logger_severity(4)
    model = FORMS[name]()
    assert trial.runs(model) == ""
    images = trial.write_images(tmp_path)
    outputs = [value.name for value in model.graph.output]
    with trial.time_limit():
        exported = trial.export(model, images, tmp_path / "work", outputs[:1] if len(outputs) > 1 else [])
        for scheme in SCHEMES:
            trial.quantized(exported, scheme, "minmax", images, loads=True)


def test_two_inputs_for_images_are_refused_by_name(tmp_path: Path) -> None:
    net, x = _features()
    model = net.give(net.gemm(x, 5))
    model.graph.input.append(helper.make_tensor_value_info("second", TensorProto.FLOAT, [1, 3, 12, 12]))
    model.graph.node.insert(0, helper.make_node("Add", ["images", "second"], ["both"], "both"))
    model.graph.node[1].input[0] = "both"
    with pytest.raises(InvalidInput, match="second"):
        trial.export(model, trial.write_images(tmp_path), tmp_path / "work")


def test_weights_that_are_stored_twice_as_large_are_seen(tmp_path: Path) -> None:
    """The trial itself: a file whose answers are others does not pass."""
    net, x = _features()
    model = net.give(net.gemm(x, 5))
    images = trial.write_images(tmp_path)
    exported = trial.export(model, images, tmp_path / "work")
    wrong = onnx.load(exported.path)
    for tensor in wrong.graph.initializer:
        if len(tensor.dims) == 4:
            tensor.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(tensor), tensor.name))
    onnx.save(wrong, exported.path)
    with pytest.raises(AssertionError, match="dB"):
        trial.quantized(exported, "ort-x86", "minmax", images, loads=False)
