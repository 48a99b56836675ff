"""Each pass does its one thing and leaves what is computed alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.graph import batch, clean, compare, files, inputs, metadata, normalize, slim, upgrade


def copy(model: Any) -> Any:
    return onnx.ModelProto.FromString(model.SerializeToString())


def same(a: Any, b: Any) -> bool:
    return compare.difference(a, b, compare.random_input(a)) < 1e-5


SPEC = ModelSpec(
    name="small", input=Input(height=8, width=8), classes=5,
    preprocess=Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
)  # fmt: skip


def test_clean_leaves_one_input_and_no_traces(small: Any) -> None:
    before = small(weights_as_inputs=True)
    model = copy(before)
    metadata.set_spec(model, SPEC)
    assert clean.apply(model)
    assert [v.name for v in model.graph.input] == ["images"]
    assert b"/home/me" not in model.SerializeToString()
    assert {t.name for t in model.graph.initializer} == {"w", "b", "shape", "fc"}
    assert "Sigmoid" not in {n.op_type for n in model.graph.node}
    assert metadata.get_spec(model) == SPEC
    assert same(before, model)
    assert not clean.apply(model)


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
    expected = compare.answers(small(), x, ["logits"])
    np.testing.assert_allclose(compare.answers(model, x, ["logits"]), expected, rtol=1e-5, atol=1e-5)


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
    pixels = compare.random_input(graph)
    mean, std = np.float32(SPEC.preprocess.mean), np.float32(SPEC.preprocess.std)
    x = ((pixels.astype(np.float32) / 255 - mean) / std).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(compare.run(graph, pixels)[0], compare.run(host, x)[0], rtol=1e-4, atol=1e-5)
    assert not normalize.apply(graph)


def test_normalize_without_a_spec_is_refused(small: Any) -> None:
    with pytest.raises(InvalidInput, match="cannot be taken"):
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
    with pytest.raises(InvalidInput, match="INT64"):
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
