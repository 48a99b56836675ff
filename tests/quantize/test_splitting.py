"""Channels are split into places that no image wakes, which changes nothing in float and gives INT8 a finer grid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image

from edgewright.bench import statistics
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.graph import files, metadata
from edgewright.quantize import bias, quantize, ranges, splitting
from edgewright.quantize.sessions import open_session, until
from edgewright.vision.preprocess import batch

DEAD = [1, 4, 6]
SPEC = ModelSpec(
    name="network", input=Input(height=16, width=16), classes=8,
    preprocess=Preprocess(resize="none", mean=(0.4,) * 3, std=(0.25,) * 3),
)  # fmt: skip


def node(operator: str, given: list[str], made: str, **told: object) -> onnx.NodeProto:
    return helper.make_node(operator, given, [made], f"at_{made}", **told)


def network() -> onnx.ModelProto:
    """Conv, ReLU6, depthwise Conv, ReLU6, Conv, ReLU, padded Conv, ReLU, pooling, Gemm: of 24 channels 3 are dead, then
    of 32 one. Two of the first count most, and are never zero."""
    rng = np.random.default_rng(0)
    nodes = [
        node("Conv", ["images", "w1", "b1"], "c1", pads=[1, 1, 1, 1]), node("Clip", ["c1", "zero", "six"], "r1"),
        node("Conv", ["r1", "w2", "b2"], "c2", pads=[1, 1, 1, 1], group=24), node("Clip", ["c2", "zero", "six"], "r2"),
        node("Conv", ["r2", "w3", "b3"], "c3"), node("Relu", ["c3"], "r3"),
        node("Conv", ["r3", "w4", "b4"], "c4", pads=[1, 1, 1, 1]), node("Relu", ["c4"], "r4"),
        node("GlobalAveragePool", ["r4"], "mean"), node("Flatten", ["mean"], "flat"),
        node("Gemm", ["flat", "w5", "b5"], "logits", transB=1),
    ]  # fmt: skip
    shapes = {
        "w1": (24, 3, 3, 3), "b1": (24,), "w2": (24, 1, 3, 3), "b2": (24,), "w3": (32, 24, 1, 1), "b3": (32,),
        "w4": (32, 32, 3, 3), "b4": (32,), "w5": (8, 32), "b5": (8,),
    }  # fmt: skip
    arrays = {name: rng.normal(0, 0.3, shape) for name, shape in shapes.items()} | {"zero": 0.0, "six": 6.0}
    arrays["w1"][DEAD] = 1e-6 * rng.normal(size=(3, 3, 3, 3))
    arrays["b1"][DEAD] = -0.1
    arrays["w3"][5] = -np.abs(arrays["w3"][5])
    arrays["b3"][5] = 0.0
    for loud in (0, 3):
        arrays["w1"][loud] /= 10 * np.abs(arrays["w1"][loud]).sum()
        arrays["b1"][loud], arrays["b2"][loud] = 3.0, 3.0
        arrays["w2"][loud] -= arrays["w2"][loud].mean()
        arrays["w2"][loud] *= 10
        arrays["w3"][:, loud] *= 5
    graph = helper.make_graph(
        nodes, "network", [helper.make_tensor_value_info("images", 1, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("logits", 1, [1, 8])],
        [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in arrays.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    metadata.set_spec(model, SPEC)
    return model


def dead(model: onnx.ModelProto, spec: ModelSpec | None = SPEC) -> dict[str, list[int]]:
    """The dead channels of each site, by the name of the tensor behind its ReLU."""
    possible, values = splitting.bounds(model, spec), splitting.constants(model)
    found = splitting.sites(model)
    return {site.tensors[0]: np.flatnonzero(splitting.dead(site, possible, values)).tolist() for site in found}


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[str]]:
    """(the float file, the split one), each beside its statistics; and images full of detail."""
    folder, rng = tmp_path_factory.mktemp("split"), np.random.default_rng(1)
    images = [str(folder / f"{i}.png") for i in range(32)]
    for path in images:
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(path)
    for name in ("before", "after"):
        (folder / name).mkdir()
    files.save(network(), folder / "before/model.onnx")
    quantize.observe(str(folder / "before/model.onnx"), images, str(folder / "before"))
    quantize.weigh(str(folder / "before/model.onnx"), images, str(folder / "before"), str(folder / "before"))
    assert splitting.split(str(folder / "before/model.onnx"), str(folder / "before"), str(folder / "after")) == 4
    return folder / "before", folder / "after", images


def answers(folder: Path, images: list[str], tensor: str = "logits") -> np.ndarray:
    session = open_session(until(files.load(folder / "model.onnx"), [tensor]))
    return np.concatenate([session.run(None, {"images": batch([image], SPEC)})[0] for image in images])


def test_the_function_stays(split) -> None:
    before, after, images = split
    assert statistics.sqnr_db(answers(after, images), answers(before, images)) > 60


def test_the_channels_that_count_get_the_places(split) -> None:
    """Of three places the two loud channels get one at least each."""
    weights = numpy_helper.to_array(
        next(t for t in files.load(split[1] / "model.onnx").graph.initializer if t.name == "w1")
    )
    same = [[j for j in range(24) if (weights[j] == weights[i]).all()] for i in range(24)]
    assert {len(copies) for i, copies in enumerate(same) if i not in (0, 3, *DEAD)} == {1}
    assert sorted(len(same[loud]) for loud in (0, 3)) == [2, 3]


def test_what_was_known_of_the_model_holds_for_the_split_one(split) -> None:
    """Nothing is collected again: less than half a step of an INT8 grid lies between."""
    _, after, images = split
    told = ranges.read(after / ranges.STATISTICS)
    source, calibration = quantize.read(str(after / "model.onnx"), images)
    quantize.prepare(source)
    seen = ranges.collect(source, calibration, lambda *_: None)
    assert told.names == seen.names
    for name in ("r1", "r2", "r3", "r4"):
        ends = [np.array(ranges.find(found, "minmax", True)[name]) for found in (told, seen)]
        np.testing.assert_allclose(*ends, atol=ends[1][1] / 254)
    np.testing.assert_allclose(told.channels, seen.channels, atol=seen.channels.max() / 254)


def test_int8_comes_nearer(split, tmp_path: Path) -> None:
    """Where the channels are added up, without what is the same in every image."""
    before, after, images = split
    alive = np.arange(32) != 5  # that one is a place for copies
    exact = answers(before, images, "c3")[:, alive]
    same = exact.mean(axis=0)
    nearness = []
    for folder in (before, after):
        out = tmp_path / folder.name
        out.mkdir()
        quantize.quantize(str(folder / "model.onnx"), "tensorrt", "round", images, str(out), statistics=str(folder))
        nearness.append(statistics.sqnr_db(answers(out, images, "c3")[:, alive] - same, exact - same))
    assert nearness[1] > nearness[0] + 3


@pytest.mark.parametrize("count", [2, 3, 4])
def test_copies_are_a_grid_as_many_times_as_fine(count: int) -> None:
    """What is rounded in its copies is wrong by the part of a step that a finer grid would be wrong by."""
    model = network()
    bias.add_missing(model)
    site = splitting.sites(model)[0]
    places, steps = [[0, *DEAD[: count - 1]]], (6 / 127, 1e-9)
    splitting.apply(model, site, places, steps, splitting.constants(model))
    values = splitting.constants(model)
    x = np.linspace(2, 4, 10_001)
    moved = values["b1"][places[0]] - values["b1"][places[0]].mean()
    rounded = np.mean([np.round((x + m) / steps[0]) * steps[0] for m in moved], axis=0)
    assert np.abs(rounded - x).max() <= 0.5 * steps[0] / count * 1.01


def test_dead_is_what_no_image_can_wake() -> None:
    model = network()
    assert dead(model) == {"r1": DEAD, "r3": [5]}
    assert dead(model, None) == {"r1": [], "r3": [5]}, "an input that may be anything wakes any weight"
    for weight, asleep in ((0.1 / 2.41, DEAD), (0.1 / 2.39, [1, 6])):  # white is (1 - 0.4) / 0.25 = 2.4
        changed("w1", lambda w, only=weight: only_one(w, 4, only))(model)
        assert dead(model)["r1"] == asleep


def only_one(weights: np.ndarray, channel: int, value: float) -> np.ndarray:
    weights[channel] = 0
    weights[channel, 1, 1, 1] = value
    return weights


def changed(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[onnx.ModelProto], None]:
    def apply(model: onnx.ModelProto) -> None:
        tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
        tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()).astype(np.float32), name))

    return apply


def padded(model: onnx.ModelProto) -> None:
    """The layer that adds up what the depthwise one makes pads, and two dead channels come out of that as constants."""
    reader = next(n for n in model.graph.node if n.output[0] == "c3")
    reader.attribute.append(helper.make_attribute("pads", [1, 1, 1, 1]))
    changed("b2", lambda b: np.where(np.isin(np.arange(24), [1, 4]), 0.5, np.where(np.arange(24) == 6, -0.5, b)))(model)


def test_padding_leaves_no_constant() -> None:
    model = network()
    padded(model)
    assert dead(model)["r1"] == [6]


def read_by(reader: onnx.NodeProto) -> Callable[[onnx.ModelProto], None]:
    return lambda model: model.graph.node.append(reader)


def two_of_four(weights: np.ndarray) -> np.ndarray:
    weights[:, 2::4] = weights[:, 3::4] = 0
    return weights


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (read_by(node("Sigmoid", ["r1"], "other")), ["r3"]),
        (read_by(node("Sigmoid", ["r2"], "other")), ["r3"]),
        (read_by(node("Sigmoid", ["c2"], "other")), ["r3"]),
        (read_by(node("Identity", ["w4"], "other")), ["r1"]),
        (lambda m: m.graph.output.append(helper.make_tensor_value_info("r3", 1, None)), ["r1"]),
        (changed("w3", two_of_four), ["r3"]),
        (changed("zero", lambda _: np.array(-1.0)), ["r3"]),
    ],
)  # fmt: skip
def test_what_would_not_hold_stays(change: Callable[[onnx.ModelProto], None], left: list[str]) -> None:
    model = network()
    change(model)
    assert [site.tensors[0] for site in splitting.sites(model)] == left


def test_nothing_is_written_where_there_is_nothing_to_split(split, tmp_path: Path) -> None:
    """Neither for a model without dead channels nor where slopes could not be found."""
    before, _, images = split
    model = network()
    changed("b1", lambda b: np.abs(b))(model)
    changed("b3", lambda b: np.abs(b) + 9)(model)
    files.save(model, tmp_path / "model.onnx")
    quantize.observe(str(tmp_path / "model.onnx"), images, str(tmp_path))
    out = tmp_path / "out"
    out.mkdir()
    assert splitting.split(str(before / "model.onnx"), str(tmp_path), str(out)) == 0, "no slopes"
    quantize.weigh(str(tmp_path / "model.onnx"), images, str(tmp_path), str(tmp_path))
    assert splitting.split(str(tmp_path / "model.onnx"), str(tmp_path), str(out)) == 0
    assert not list(out.iterdir())
