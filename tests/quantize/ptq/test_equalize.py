"""Equalization changes nothing in float, evens out channels, and makes INT8 nearer where channels differ."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgewright.quantize.calibration.sessions import open_session, until
from edgewright.quantize.ptq import equalize
from edgewright.quantize.quantize import QuantizeRequest, run_step
from edgewright.quantize.steps import Equalize


def uneven(operator: str) -> onnx.ModelProto:
    """Conv (channels of very different sizes), `operator`, depthwise Conv, Relu, Conv."""
    rng = np.random.default_rng(0)
    wild = 10.0 ** rng.uniform(-1.5, 1.5, 8)
    options = {"Clip": ["low", "high"]}.get(operator, [])
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], "first"),
        helper.make_node(operator, ["c1", *options], ["r1"], "function"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], "depthwise", group=8, pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"], "relu"),
        helper.make_node("Conv", ["r2", "w3", "b3"], ["y"], "last"),
    ]

    def weights(name: str, array: np.ndarray) -> onnx.TensorProto:
        return numpy_helper.from_array(array.astype(np.float32), name)

    initial = [
        weights("w1", rng.normal(size=(8, 3, 1, 1)) * wild[:, None, None, None]),
        weights("b1", rng.normal(size=8) * wild),
        weights("w2", rng.normal(size=(8, 1, 3, 3))), weights("b2", rng.normal(size=8)),
        weights("w3", rng.normal(size=(4, 8, 1, 1)) / wild[None, :, None, None]), weights("b3", rng.normal(size=4)),
        weights("low", np.array(0.0)), weights("high", np.array(6.0)),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "uneven", [helper.make_tensor_value_info("x", 1, [1, 3, 12, 12])],
        [helper.make_tensor_value_info("y", 1, [1, 4, 12, 12])], initial,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def feeds(count: int = 8) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [{"x": rng.normal(size=(1, 3, 12, 12)).astype(np.float32)} for _ in range(count)]


def equalized(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    found = equalize.sites(copy)
    equalize.scale(copy, found, equalize.maxima(copy, found, feeds()))
    return copy


def test_the_function_stays_and_channels_come_nearer() -> None:
    model = uneven("Relu")
    changed = equalized(model)
    for feed in feeds(3):
        (a,), (b,) = (open_session(m).run(["y"], feed) for m in (model, changed))
        np.testing.assert_allclose(b, a, rtol=2e-4, atol=1e-4)

    def ratio(m: onnx.ModelProto, name: str) -> float:
        largest = np.max(
            [open_session(until(m, [name])).run([name], f)[0].max(axis=(0, 2, 3)) for f in feeds()], axis=0
        )
        return float(largest.max() / largest[largest > 0].min())

    assert ratio(changed, "r1") < 0.5 * ratio(model, "r1")


@pytest.mark.parametrize(("operator", "makers"), [("Relu", ["first", "depthwise"]), ("Clip", ["depthwise"])])
def test_factors_pass_only_what_they_commute_with(operator: str, makers: list[str]) -> None:
    assert [[maker.name for maker in site.makers] for site in equalize.sites(uneven(operator))] == [[m] for m in makers]


def joined(axis: int = 1) -> onnx.ModelProto:
    """Two convolutions of different width, a Relu behind each, joined, pooled and read by one more."""
    rng = np.random.default_rng(2)
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], "left"), node("Relu", ["c1"], ["r1"]),
        node("Conv", ["x", "w2", "b2"], ["c2"], "right"), node("Relu", ["c2"], ["r2"]),
        node("Concat", ["r1", "r2"], ["j"], axis=axis),
        node("MaxPool", ["j"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p", "w3"], ["y"], "last"),
    ]  # fmt: skip
    wide = {1: (6, 10), 2: (8, 8)}[axis]
    read = sum(wide) if axis == 1 else 8
    wild = 10.0 ** rng.uniform(-1, 1, 16)
    arrays = {
        "w1": rng.normal(size=(wide[0], 3, 1, 1)) * wild[: wide[0], None, None, None], "b1": rng.normal(size=wide[0]),
        "w2": rng.normal(size=(wide[1], 3, 1, 1)), "b2": rng.normal(size=wide[1]),
        "w3": rng.normal(size=(4, read, 1, 1)),
    }  # fmt: skip
    graph = helper.make_graph(
        nodes, "joined", [helper.make_tensor_value_info("x", 1, [1, 3, 12, 12])],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def test_joined_channels_each_go_back_to_what_makes_them() -> None:
    model = joined()
    (site,) = equalize.sites(model)
    assert ([maker.name for maker in site.makers], site.tensor) == (["left", "right"], "p")
    changed = equalized(model)
    for feed in feeds(3):
        (a,), (b,) = (open_session(m).run(["y"], feed) for m in (model, changed))
        np.testing.assert_allclose(b, a, rtol=2e-4, atol=1e-4)
    before, after = (equalize.maxima(m, equalize.sites(m), feeds())["p"] for m in (model, changed))
    assert after.max() / after.min() < 0.5 * before.max() / before.min()


def test_what_is_joined_along_an_image_or_read_twice_stays() -> None:
    assert equalize.sites(joined(axis=2)) == []
    model = joined()
    model.graph.node.append(helper.make_node("Sigmoid", ["r1"], ["s"], "gate"))
    assert equalize.sites(model) == []


def test_a_tensor_that_is_an_answer_or_read_by_something_else_stays() -> None:
    model = uneven("Relu")
    model.graph.output.append(helper.make_tensor_value_info("r2", 1, [1, 8, 12, 12]))
    model.graph.node.append(helper.make_node("Sigmoid", ["r1"], ["s"], "gate"))
    assert equalize.sites(model) == []
    assert equalize.maxima(model, [], feeds()) == {}


def test_the_stage_writes_a_model_with_its_spec(tiny, tmp_path) -> None:
    from edgewright.graph import metadata

    assert run_step(Equalize(), QuantizeRequest(model=str(tiny.model), images=tiny.images[:32]), str(tmp_path)) >= 1
    assert metadata.get_spec(onnx.load(tmp_path / "model.onnx")) == tiny.spec
