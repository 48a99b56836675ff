"""Channels are split into places that no image wakes, which changes nothing in float and gives INT8 a finer grid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image

from edgewright.core import statistics
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.graph import files, metadata
from edgewright.quantize import prepare, quantize
from edgewright.quantize.calibration import collect
from edgewright.quantize.calibration import statistics as ranges
from edgewright.quantize.calibration.images import Calibration
from edgewright.quantize.calibration.sessions import open_session, until
from edgewright.quantize.ptq import channel_splitting
from edgewright.quantize.steps import Calibrate, Center, ChooseClipping, SplitChannels
from edgewright.tasks.classify.spec import Classify
from edgewright.vision.preprocess import batch

from ..conftest import keep

DEAD = [1, 4, 6]
SPEC = ModelSpec(
    name="network",
    inputs=(Input(height=16, width=16, preprocess=Preprocess(resize="none", mean=(0.4,) * 3, std=(0.25,) * 3)),),
    task=Classify(classes=8),
)


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
        arrays["w2"][loud] *= 2 / np.abs(arrays["w2"][loud]).sum()
        arrays["w2"][loud, 0, 1, 1] += 0.1 * loud
        arrays["w3"][:, loud] *= 40
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
    values = channel_splitting.constants(model)
    possible, found = channel_splitting.bounds(model, spec, values), channel_splitting.sites(model, values)
    return {site.tensors[0]: np.flatnonzero(channel_splitting.dead(site, possible, values)).tolist() for site in found}


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
    keep(Calibrate(), folder / "before", images)
    keep(ChooseClipping(), folder / "before", images)
    assert keep(SplitChannels(), folder / "before", images, folder / "after") == 4
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


def test_what_would_lie_too_far_apart_is_not_split(split, tmp_path: Path) -> None:
    """Nor does rounding a zero cost anything: the dead channels' own slopes are none."""
    model, images = network(), split[2]
    changed("w2", lambda w: w * np.where(np.arange(24) == 0, 20, 1)[:, None, None, None])(model)
    files.save(model, tmp_path / "model.onnx")
    keep(Calibrate(), tmp_path, images)
    keep(ChooseClipping(), tmp_path, images)
    seen = ranges.read(tmp_path / ranges.STATISTICS)
    slopes = dict(zip(seen.names, np.split(seen.slopes, np.cumsum(seen.slope_widths)[:-1])))["r1"]
    assert not slopes[DEAD].any() and slopes.argmax() == 0
    (tmp_path / "out").mkdir()
    assert keep(SplitChannels(), tmp_path, images, tmp_path / "out") == 4
    weights = channel_splitting.constants(files.load(tmp_path / "out/model.onnx"))["w1"]
    assert [(weights == weights[channel]).all(axis=(1, 2, 3)).sum() for channel in (0, 3)] == [1, 4]


def test_what_was_known_of_the_model_holds_for_the_split_one(split) -> None:
    """Nothing is collected again: less than half a step of an INT8 grid lies between."""
    _, after, images = split
    told = ranges.read(after / ranges.STATISTICS)
    assert len(told.widths) == len(told.names) and not len(told.slopes), "of single channels nothing is known"
    source, spec = prepare.read(str(after / "model.onnx"))
    calibration = Calibration(images, spec)
    prepare.prepare(source)
    seen = collect.collect(source, calibration, lambda *_: None)
    assert told.names == seen.names
    for name in ("r1", "r2", "r3", "r4"):
        ends = [np.array(ranges.find(found, "minmax", True)[name]) for found in (told, seen)]
        np.testing.assert_allclose(*ends, atol=ends[1][1] / 254)


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
        request = quantize.QuantizeRequest(model=str(folder / "model.onnx"), images=images, statistics=str(folder))
        quantize.quantize(request, "tensorrt", "round", str(out))
        nearness.append(statistics.sqnr_db(answers(out, images, "c3")[:, alive] - same, exact - same))
    assert nearness[1] > nearness[0] + 3


def computed(model: onnx.ModelProto, x: np.ndarray, names: list[str]) -> list[np.ndarray]:
    return open_session(until(model, names)).run(names, {"images": x})


@pytest.mark.parametrize("count", [2, 3, 4])
def test_copies_are_a_grid_as_many_times_as_fine(count: int) -> None:
    """Rounded in its copies a channel is wrong by what it would be wrong by on the finer grid, behind both layers."""
    model, x = network(), np.random.default_rng(2).uniform(-1.6, 2.4, (1, 3, 16, 16)).astype(np.float32)
    values = channel_splitting.constants(model)
    site = channel_splitting.sites(model, values)[0]
    exact = computed(model, x, ["r1", "r2", "c3"])
    places, steps = [3, *DEAD[: count - 1]], (6 / 127, 6 / 254)
    channel_splitting.split(model, site, [places], steps, values)
    *copies, summed = computed(model, x, ["r1", "r2", "c3"])
    np.testing.assert_allclose(np.delete(summed, 5, 1), np.delete(exact[2], 5, 1), atol=1e-3)
    for given, was, step in zip(copies, exact, steps):
        inside = (slice(None), slice(1, -1), slice(1, -1))
        kept, channel = given[0, places][inside], was[0, 3][inside[1:]]
        np.testing.assert_allclose(kept.mean(axis=0), channel, atol=1e-4)
        np.testing.assert_allclose(np.diff(kept, axis=0), step / count, atol=1e-4)
        rounded = (np.round(kept / step) * step).mean(axis=0)
        assert np.abs(rounded - channel).max() <= 0.5 * step / count + 1e-4


def test_where_a_relu_cuts_copies_are_a_step_off_at_most() -> None:
    """Padding and zeros are not moved: what lies too far apart there behind heavy weights is not split."""
    model = network()
    changed("w2", lambda w: w * np.where(np.arange(24) == 7, 10, 1)[:, None, None, None])(model)
    values = channel_splitting.constants(model)
    site, steps = channel_splitting.sites(model, values)[0], (6 / 127, 6 / 254)
    wide = channel_splitting.spread(site, steps, values) > channel_splitting.MOST_APART
    assert np.flatnonzero(wide).tolist() == [7]
    changed("b1", lambda b: np.where(np.arange(24) == 3, 0.0, b))(model)  # half of its values are cut off
    changed("b2", lambda b: np.where(np.arange(24) == 3, 0.0, b))(model)
    changed("w1", lambda w: w * np.where(np.arange(24) == 3, 200, 1)[:, None, None, None])(model)
    x = np.random.default_rng(2).uniform(-1.6, 2.4, (1, 3, 16, 16)).astype(np.float32)
    (before,) = computed(model, x, ["r2"])
    channel_splitting.split(model, site, [[3, 1]], steps, channel_splitting.constants(model))
    (after,) = computed(model, x, ["r2"])
    apart = np.abs(after[0, [3, 1]].mean(axis=0) - before[0, 3])
    assert 0 < apart.max() <= steps[1]


@pytest.mark.parametrize("change", ["none", "padded", "unpadded", "no function"])
def test_the_steps_are_those_of_the_file(split, tmp_path: Path, change: str) -> None:
    """Which of the tensors will be centered depends on what reads them, and what is behind the depthwise layer."""
    images, model = split[2], network()
    nodes = {n.output[0]: n for n in model.graph.node}
    if change == "padded":
        told(model, "c3", pads=[1, 1, 1, 1])
    elif change == "unpadded":
        told(model, "c2", group=24)
    elif change == "no function":
        nodes["c3"].input[0] = "c2"
        model.graph.node.remove(nodes["r2"])
    files.save(model, tmp_path / "model.onnx")
    keep(Calibrate(), tmp_path, images)
    values = channel_splitting.constants(model)
    site = channel_splitting.sites(model, values)[0]
    known = ranges.find(ranges.read(tmp_path / ranges.STATISTICS), "minmax", False)
    steps = channel_splitting.grid_steps(site, known, values)
    for folder in ("centered", "int8"):
        (tmp_path / folder).mkdir()
    keep(Center(), tmp_path, images, tmp_path / "centered")
    request = quantize.QuantizeRequest(
        model=str(tmp_path / "centered/model.onnx"), images=images, statistics=str(tmp_path / "centered")
    )
    quantize.quantize(request, "tensorrt", "minmax", str(tmp_path / "int8"))
    made = files.load(tmp_path / "int8/model.onnx")
    scales = channel_splitting.constants(made)
    found = {n.input[0]: scales[n.input[1]] for n in made.graph.node if n.op_type == "QuantizeLinear"}
    np.testing.assert_allclose(steps, [found[name] for name in site.tensors], rtol=2e-3)


def test_places_go_where_most_is_gained() -> None:
    """A second copy takes three quarters of what is left, a third one five ninths of that."""
    noise = np.array([8.0, 1.9, 0.0, 0.0])
    assert channel_splitting.choose(noise, np.array([False, False, True, True])) == [[0, 2], [1, 3]]
    assert channel_splitting.choose(noise, np.array([False, False, True, False])) == [[0, 2]]
    assert channel_splitting.choose(0 * noise, noise == 0) == []


@pytest.mark.parametrize("seed", range(3))
def test_no_tensor_leaves_its_bounds(seed: int) -> None:
    """Of images that are black or white in every value, through convolutions, pools, additions and joined maps."""
    rng = np.random.default_rng(seed)
    nodes = [
        node("Conv", ["images", "w1", "b1"], "a", auto_pad="SAME_UPPER"), node("Clip", ["a", "one", "six"], "b"),
        node("Conv", ["b", "w2"], "c", pads=[1, 1, 1, 1], group=2), node("Add", ["a", "c"], "d"),
        node("AveragePool", ["d"], "e", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
        node("MaxPool", ["c"], "f", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Concat", ["b", "e", "f"], "g", axis=1), node("Relu", ["g"], "h"),
        node("Conv", ["h", "w3", "b3"], "i"), node("GlobalAveragePool", ["i"], "j"),
    ]  # fmt: skip
    shapes = {"w1": (4, 3, 3, 3), "b1": (4,), "w2": (4, 2, 3, 3), "w3": (5, 12, 1, 1), "b3": (5,)}
    arrays = {name: rng.normal(0, 1, shape) for name, shape in shapes.items()} | {"one": 1.0, "six": 6.0}
    arrays |= {name: 9 * arrays[name] for name in ("b1", "b3")}
    names = [n.output[0] for n in nodes]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("images", 1, [1, 3, 8, 8])],
        [helper.make_tensor_value_info(name, 1, None) for name in names],
        [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in arrays.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    possible = channel_splitting.bounds(model, SPEC, channel_splitting.constants(model))
    assert {*names} <= {*possible}
    session = open_session(model)
    for _ in range(30):
        x = ((rng.integers(0, 2, (1, 3, 8, 8)) - 0.4) / 0.25).astype(np.float32)
        for name, array in zip(names, session.run(names, {"images": x})):
            low, high = possible[name]
            assert low - 1e-4 <= array.min() and array.max() <= high + 1e-4, name
            assert low <= 0 <= high, f"{name}: padding is zero"


def test_dead_is_what_no_image_can_wake() -> None:
    model = network()
    assert dead(model) == {"r1": DEAD, "r3": [5]}
    for unknown in (None, SPEC.with_input(preprocess=Preprocess(normalize="graph"))):
        assert dead(model, unknown) == {"r1": [], "r3": [5]}, "an input that may be anything wakes any weight"
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
    told(model, "c3", pads=[1, 1, 1, 1])
    changed("b2", lambda b: np.where(np.isin(np.arange(24), [1, 4]), 0.5, np.where(np.arange(24) == 6, -0.5, b)))(model)


def test_padding_leaves_no_constant() -> None:
    model = network()
    padded(model)
    assert dead(model)["r1"] == [6]


def told(model: onnx.ModelProto, name: str, **attributes: object) -> None:
    """Give the node that makes `name` these attributes in place of those it had."""
    found = next(n for n in model.graph.node if n.output[0] == name)
    del found.attribute[:]
    found.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())


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
        (lambda m: changed("w3", lambda w: w[:8])(m) or changed("b3", lambda b: b[:8])(m), ["r3"]),
        (lambda m: told(m, "c2", group=12) or changed("w2", lambda w: w.repeat(2, 1))(m), ["r3"]),
        (lambda m: m.graph.output.append(helper.make_tensor_value_info("r3", 1, None)), ["r1"]),
        (changed("w3", two_of_four), ["r3"]),
        (changed("zero", lambda _: np.array(-1.0)), ["r3"]),
    ],
)  # fmt: skip
def test_what_would_not_hold_stays(change: Callable[[onnx.ModelProto], None], left: list[str]) -> None:
    model = network()
    change(model)
    assert [site.tensors[0] for site in channel_splitting.sites(model, channel_splitting.constants(model))] == left


def test_nothing_is_written_where_there_is_nothing_to_split(split, tmp_path: Path) -> None:
    """Neither for a model without dead channels nor where slopes could not be found."""
    before, _, images = split
    model = network()
    changed("b1", lambda b: np.abs(b))(model)
    changed("b3", lambda b: np.abs(b) + 9)(model)
    files.save(model, tmp_path / "model.onnx")
    keep(Calibrate(), tmp_path, images)
    out = tmp_path / "out"
    out.mkdir()
    request = quantize.QuantizeRequest(model=str(before / "model.onnx"), statistics=str(tmp_path))
    assert quantize.run_step(SplitChannels(), request, str(out)) == 0, "no slopes"
    keep(ChooseClipping(), tmp_path, images)
    assert keep(SplitChannels(), tmp_path, images, out) == 0
    assert not list(out.iterdir())
