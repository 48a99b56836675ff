"""Each pass does its one thing and leaves what is computed alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.graph import batch, channel_order, clean, compare, files, inputs, metadata, normalize, slim, upgrade
from edgewright.tasks.classify.spec import Classify


def copy(model: Any) -> Any:
    return onnx.ModelProto.FromString(model.SerializeToString())


def same(a: Any, b: Any) -> bool:
    return compare.difference(a, b, compare.random_feeds(a)) < 1e-5


SPEC = ModelSpec(
    name="small",
    inputs=(Input(height=8, width=8, preprocess=Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))),),
    task=Classify(classes=5),
)


def test_clean_leaves_one_input_and_no_traces(small: Any) -> None:
    before = small(weights_as_inputs=True)
    model = copy(before)
    metadata.set_spec(model, SPEC)
    clean.apply(model)
    assert [v.name for v in model.graph.input] == ["images"]
    assert b"/home/me" not in model.SerializeToString()
    assert {t.name for t in model.graph.initializer} == {"w", "b", "shape", "fc"}
    assert "Sigmoid" not in {n.op_type for n in model.graph.node}
    assert metadata.get_spec(model) == SPEC
    assert same(before, model)
    again = copy(model)
    clean.apply(again)
    assert again == model


def test_clean_inlines_local_functions(small: Any) -> None:
    model = small()
    body = onnx.helper.make_node("Relu", ["x"], ["y"])
    opsets = [onnx.helper.make_opsetid("", 17)]
    model.functions.append(onnx.helper.make_function("mine", "Act", ["x"], ["y"], [body], opsets))
    model.opset_import.add(domain="mine", version=1)
    model.graph.node[1].CopyFrom(onnx.helper.make_node("Act", ["c"], ["r"], domain="mine"))
    clean.apply(model)
    files.check(model, "m")
    assert not model.functions
    assert same(small(), model)


def test_clean_keeps_what_a_nested_graph_needs() -> None:
    parse = onnx.parser.parse_model
    model = parse("""<ir_version: 8, opset_import: ["": 17]> m (float[1,3,8,8] x) => (float[1,3,8,8] y)
        <bool yes = {1}, float two = {2.0}> {
        a = Mul(x, two)
        y = If(yes) <then_branch = g1 () => (float[1,3,8,8] t) { t = Relu(a) },
                     else_branch = g2 () => (float[1,3,8,8] e) { e = Mul(x, two) }> }""")
    clean.apply(model)
    files.check(model, "m")
    assert [n.op_type for n in model.graph.node] == ["Mul", "If"]


def test_upgrade_raises_old_files_only(small: Any) -> None:
    old = small(opset=11)
    model = copy(old)
    metadata.set_spec(model, SPEC)
    assert upgrade.apply(model)
    assert model.opset_import[0].version == 17
    assert metadata.get_spec(model) == SPEC
    assert same(old, model)
    assert not upgrade.apply(model)


def test_slim_keeps_the_spec_and_the_result(small: Any) -> None:
    model = small()
    metadata.set_spec(model, SPEC)
    slim.apply(model)
    assert metadata.get_spec(model) == SPEC
    assert same(small(), model)


@pytest.mark.parametrize("allowzero", [0, 1])
@pytest.mark.parametrize(("was", "size"), [(1, 3), (1, None), ("N", 4), ("N", None), (1, 1)])
def test_batch_is_set_and_answers_row_by_row(small: Any, was: int | str, size: int | None, allowzero: int) -> None:
    single, model = small(batch=1), small(batch=was, allowzero=allowzero)
    assert batch.apply(model, size) == (was != (size or "N"))
    files.check(model, "m")
    assert inputs.image(model).batch == size
    x = np.random.default_rng(1).standard_normal((size or 5, 3, 8, 8), np.float32)
    one_by_one = np.concatenate([compare.run(single, row[None])[0] for row in x])
    np.testing.assert_allclose(compare.run(model, x)[0], one_by_one, rtol=1e-5, atol=1e-5)


def test_answers_fill_the_last_batch(small: Any) -> None:
    x = np.random.default_rng(1).standard_normal((5, 3, 8, 8), np.float32)
    model = small()
    batch.apply(model, 2)
    ones = [(row,) for row in x]
    (expected,) = compare.answers(small(), ones, ["logits"])
    np.testing.assert_allclose(compare.answers(model, ones, ["logits"])[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("grouped", [False, True], ids=["plain", "not foldable"])
def test_normalize_takes_bytes_and_answers_the_same(small: Any, padding: int, grouped: bool) -> None:
    host = small(padding=padding)
    if grouped:  # a second reader of the images: nothing can go into the convolution
        host.graph.node.append(onnx.helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0))
        host.graph.node[5].output[0] = "before"
        host.graph.node.append(onnx.helper.make_node("Add", ["before", "mean"], ["logits"]))
    graph = copy(host)
    metadata.set_spec(graph, SPEC)
    assert normalize.apply(graph)
    files.check(graph, "m")
    spec = metadata.get_spec(graph)
    assert spec is not None
    assert (spec.input.dtype, spec.input.layout, spec.preprocess.normalize) == ("uint8", "NHWC", "graph")
    assert inputs.image(graph).shape() == (1, 8, 8, 3)
    arithmetic = {n.op_type for n in graph.graph.node} & {"Sub", "Mul"}
    assert arithmetic == ({"Sub", "Mul"} if grouped else {"Sub"} if padding else set())
    (pixels,) = compare.random_feeds(graph)
    mean, std = np.float32(SPEC.preprocess.mean), np.float32(SPEC.preprocess.std)
    x = ((pixels.astype(np.float32) / 255 - mean) / std).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(compare.run(graph, pixels)[0], compare.run(host, x)[0], rtol=1e-4, atol=1e-5)
    assert not normalize.apply(graph)


BGR = SPEC.with_input(
    preprocess=Preprocess(color="BGR", pad=(1, 2, 3), divide=1.0, mean=(103.5, 116.3, 123.7), std=(57.4, 57.1, 58.4)),
)


def quantized(model: Any) -> Any:
    """`model` with Q/DQ pairs on its images and on its first convolution's weights (a scale for each output)."""
    node, array = onnx.helper.make_node, onnx.numpy_helper.from_array
    weights = onnx.numpy_helper.to_array(model.graph.initializer[0])
    steps = (np.abs(weights).max(axis=(1, 2, 3)) / 127).astype(np.float32)
    integers = np.round(weights / steps.reshape(-1, 1, 1, 1)).astype(np.int8)
    numbers = {"step": np.float32(0.02), "zero": np.int8(0), "steps": steps, "integers": integers}
    model.graph.initializer.extend(array(np.asarray(value), name) for name, value in numbers.items())
    pairs = [
        node("QuantizeLinear", ["images", "step", "zero"], ["q"]),
        node("DequantizeLinear", ["q", "step", "zero"], ["d"]),
        node("DequantizeLinear", ["integers", "steps"], ["dequantized"], axis=0),
    ]
    rest = list(model.graph.node)
    rest[0].input[:2] = ["d", "dequantized"]
    del model.graph.node[:]
    model.graph.node.extend([*pairs, *rest])
    return model


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("kind", ["float", "int8", "also read otherwise"])
def test_normalize_takes_a_bgr_models_images_as_rgb_where_a_convolution_can(
    small: Any, kind: str, padding: int
) -> None:
    host = quantized(small(padding=padding)) if kind == "int8" else small(padding=padding)
    if kind == "also read otherwise":
        host.graph.node.append(onnx.helper.make_node("GlobalMaxPool", ["images"], ["brightest"]))
        host.graph.output.append(onnx.helper.make_tensor_value_info("brightest", 1, [1, 3, 1, 1]))
    graph = copy(host)
    metadata.set_spec(graph, BGR)
    normalize.apply(graph)
    files.check(graph, "m")
    found = metadata.get_spec(graph)
    assert found is not None
    reversed_ = kind != "also read otherwise"
    assert found.preprocess.color == ("RGB" if reversed_ else "BGR")
    assert found.preprocess.pad == ((3, 2, 1) if reversed_ else (1, 2, 3))
    assert found.preprocess.mean == (BGR.preprocess.mean[::-1] if reversed_ else BGR.preprocess.mean)
    (rgb,) = compare.random_feeds(graph)
    bgr = rgb[..., ::-1]
    x = (bgr.astype(np.float32) - np.float32(BGR.preprocess.mean)) / np.float32(BGR.preprocess.std)
    expected = compare.run(host, np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    for a, b in zip(compare.run(graph, rgb if reversed_ else np.ascontiguousarray(bgr)), expected):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def two_convolutions(shared: bool) -> Any:
    """Two convolutions of the images, by one tensor of weights or by two, one of which is called as a copy might be."""
    node, rng = onnx.helper.make_node, np.random.default_rng(0)
    names = ["w", "w"] if shared else ["w", "w_reversed"]
    nodes = [node("Conv", ["images", name], [f"y{i}"], f"conv{i}") for i, name in enumerate(names)]
    weights = [
        onnx.numpy_helper.from_array(rng.normal(size=(4, 3, 3, 3)).astype(np.float32), name) for name in set(names)
    ]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes, "two", [value("images", 1, [1, 3, 8, 8])], [value(f"y{i}", 1, [1, 4, 6, 6]) for i in range(2)], weights
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("shared", [False, True])
def test_channels_are_reversed_for_every_convolution_of_the_images(shared: bool) -> None:
    model = two_convolutions(shared)
    turned = copy(model)
    assert channel_order.reverse(turned, "images")
    files.check(turned, "m")
    (x,) = compare.random_feeds(model)
    for a, b in zip(compare.run(turned, np.ascontiguousarray(x[:, ::-1])), compare.run(model, x)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def by_inputs(model: Any) -> None:
    """A scale of the weights for each input."""
    model.graph.node[2].attribute[0].i = 1
    steps = next(tensor for tensor in model.graph.initializer if tensor.name == "steps")
    steps.CopyFrom(onnx.numpy_helper.from_array(np.full(3, 0.01, np.float32), "steps"))


def in_groups(model: Any) -> None:
    model.graph.node[3].attribute.append(onnx.helper.make_attribute("group", 3))


def read_elsewhere(model: Any) -> None:
    model.graph.node.append(onnx.helper.make_node("ReduceMax", ["dequantized"], ["most"]))


def answered(model: Any) -> None:
    """The dequantized images are an output."""
    model.graph.output.append(onnx.helper.make_tensor_value_info("d", 1, [1, 3, 8, 8]))


def in_a_branch(model: Any) -> None:
    """A nested graph reads the dequantized images."""
    helper = onnx.helper
    inner = helper.make_node("Identity", ["d"], ["inner"])
    branch = helper.make_graph([inner], "b", [], [helper.make_tensor_value_info("inner", 1, None)])
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "yes"))
    model.graph.node.append(helper.make_node("If", ["yes"], ["z"], then_branch=branch, else_branch=branch))


def by_channel(model: Any) -> None:
    """A scale of the images for each channel."""
    step = next(tensor for tensor in model.graph.initializer if tensor.name == "step")
    step.CopyFrom(onnx.numpy_helper.from_array(np.full(3, 0.02, np.float32), "step"))


def as_weights(model: Any) -> None:
    """The images are a convolution's weights."""
    model.graph.node.append(onnx.helper.make_node("Conv", ["images", "d"], ["z"]))


@pytest.mark.parametrize(
    "change", [by_inputs, in_groups, read_elsewhere, answered, in_a_branch, by_channel, as_weights]
)
def test_channels_stay_where_weights_cannot_take_their_order(small: Any, change: Callable[[Any], None]) -> None:
    assert channel_order.reverse(quantized(small()), "images")
    model = quantized(small())
    change(model)
    before = model.SerializeToString(deterministic=True)
    assert not channel_order.reverse(model, "images")
    assert model.SerializeToString(deterministic=True) == before


def test_normalize_without_a_spec_is_refused(small: Any) -> None:
    with pytest.raises(InvalidInput, match="cannot be moved"):
        normalize.apply(small())


def test_difference_sees_a_changed_model(small: Any) -> None:
    model = small()
    model.graph.node[1].op_type = "Tanh"
    assert not same(small(), model)


def test_inputs_that_are_no_single_image_are_refused(small: Any) -> None:
    model = small()
    model.graph.input.append(onnx.helper.make_tensor_value_info("size", 7, [2]))
    with pytest.raises(InvalidInput, match="2 inputs: 'images', 'size'"):
        inputs.image(model)
    model = small()
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    with pytest.raises(InvalidInput, match="int64"):
        inputs.image(model)
    model = small()
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    with pytest.raises(InvalidInput, match="height or width open"):
        inputs.image(model)
    assert inputs.image(model, (8, 8)).height == 8


def test_a_damaged_spec_is_named(small: Any) -> None:
    model = small()
    model.metadata_props.add(key="edgewright.spec", value='{"name": 3}')
    with pytest.raises(InvalidInput, match="name"):
        metadata.get_spec(model)


@pytest.mark.zoo
@pytest.mark.parametrize(
    "name",
    [
        "nanodet_m_416_coco", "yolox_nano_416_coco", "squeezenet1_1_caffe_imagenet", "mobilenetv1_025_keras_imagenet",
        "FastestDet_352_coco",
    ],
)  # fmt: skip
def test_real_files_go_through_all_passes(zoo: Path, name: str) -> None:
    before = files.load(zoo / "weights" / f"{name}.onnx")
    model = copy(before)
    clean.apply(model)
    upgrade.apply(model)
    slim.apply(model)
    files.check(model, name)
    assert len(inputs.real(model)) == len(model.graph.input) == 1
    assert same(before, model)
