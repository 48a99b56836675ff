"""Channels of very different ranges keep their answers through depthwise convolutions in OpenVINO, and INT8 stays."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.core.spec import ModelSpec
from edgewright.graph import depthwise, files, metadata
from edgewright.quantize import quantize, schemes
from edgewright.quantize.calibration import collect, sessions
from edgewright.quantize.calibration import statistics as ranges
from edgewright.quantize.calibration.images import Calibration
from edgewright.quantize.mixed import compose
from edgewright.quantize.qat import train as qat
from edgewright.quantize.qat.schedule import Training
from edgewright.runtimes import openvino
from edgewright.runtimes.contents import Contents
from edgewright.runtimes.options import Options
from edgewright.vision.preprocess import batch

from ..conftest import int8

CHANNELS = 16


def uneven(spec: ModelSpec) -> onnx.ModelProto:
    """images -> Conv, SiLU (two tenths to thirty in size, by channel) -> depthwise Conv, Relu, Conv -> maps."""
    rng = np.random.default_rng(0)
    wild = 10.0 ** rng.uniform(-0.7, 1.5, CHANNELS)
    nodes = [
        helper.make_node("Conv", ["images", "w1", "b1"], ["c1"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["c1"], ["gate"], "sigmoid"),
        helper.make_node("Mul", ["c1", "gate"], ["silu"], "silu"),
        helper.make_node("Conv", ["silu", "w2", "b2"], ["c2"], "depthwise", pads=[1, 1, 1, 1], group=CHANNELS),
        helper.make_node("Relu", ["c2"], ["r2"], "relu"),
        helper.make_node("Conv", ["r2", "w3", "b3"], ["maps"], "last"),
    ]
    values = {
        "w1": rng.normal(size=(CHANNELS, 3, 3, 3)) * wild[:, None, None, None] / 5, "b1": np.zeros(CHANNELS),
        "w2": rng.normal(size=(CHANNELS, 1, 3, 3)) / wild[:, None, None, None], "b2": np.zeros(CHANNELS),
        "w3": rng.normal(size=(4, CHANNELS, 1, 1)), "b3": np.zeros(4),
    }  # fmt: skip
    graph = helper.make_graph(
        nodes, "uneven",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("maps", TensorProto.FLOAT, [1, 4, 16, 16])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    metadata.set_spec(model, spec)
    return model


def sqnr(exact: np.ndarray, found: np.ndarray) -> float:
    return float(10 * np.log10(np.square(exact).sum() / np.square(exact - found).sum()))


def answers(model: onnx.ModelProto, feeds: list[np.ndarray]) -> np.ndarray:
    session = sessions.open_session(model)
    return np.concatenate([session.run(None, {"images": x})[0] for x in feeds])


def scales(model: onnx.ModelProto) -> dict[str, int]:
    """How many scales each quantized activation has."""
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes = [n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] not in stored]
    return {node.input[0]: stored[node.input[1]].size for node in nodes}


@pytest.mark.parametrize("scheme", ["openvino", "openvino-vnni"])
def test_channels_of_all_sizes_keep_their_answers(scheme, tiny, tmp_path: Path, monkeypatch) -> None:
    model = uneven(tiny.spec)
    files.save(model, tmp_path / "float.onnx")
    request = quantize.QuantizeRequest(model=str(tmp_path / "float.onnx"), images=tiny.images)
    quantize.quantize(request, scheme, "minmax", str(tmp_path))
    made = files.load(tmp_path / "model.onnx")
    assert scales(made) == {"images": 1, "silu": CHANNELS, "r2": 1}
    options = Options(runtime="openvino", threads=1)
    openvino.build(tmp_path / "model.onnx", options, tmp_path)
    handle = openvino.load(Contents(tmp_path), options)
    assert openvino.describe(handle)["layers"] == {"int8": 3}, "per-channel pairs must not take a layer out of INT8"
    feeds = [batch([image], tiny.spec) for image in tiny.images[:8]]
    exact, written = answers(model, feeds), answers(made, feeds)
    if scheme == "openvino":  # the other is for VNNI: without it sums saturate
        assert sqnr(written, np.concatenate([openvino.run(handle, x)[0] for x in feeds])) > 60

    one = msgspec.structs.replace(schemes.get(scheme), depthwise_input="tensor")
    monkeypatch.setitem(schemes.SCHEMES, scheme, one)
    quantize.quantize(request, scheme, "minmax", str(tmp_path))
    coarse = files.load(tmp_path / "model.onnx")
    assert scales(coarse)["silu"] == 1
    assert sqnr(exact, written) >= 28
    assert sqnr(exact, written) >= sqnr(exact, answers(coarse, feeds)) + 8


@pytest.mark.parametrize("scheme", ["ort-x86", "ort-x86-vnni", "ort-arm", "tensorrt"])
def test_other_runtimes_get_one_scale(scheme, tiny) -> None:
    calibration = Calibration(tiny.images[:40], tiny.spec)
    assert {*scales(int8(uneven(tiny.spec), schemes.get(scheme), calibration)).values()} == {1}


def test_what_others_read_too_keeps_one_scale(tiny) -> None:
    model = onnx.load(tiny.model)  # its depthwise convolution shares its input with an addition
    assert depthwise.inputs(model) == {}
    assert depthwise.inputs(uneven(tiny.spec)) == {"silu": CHANNELS}


def observed(*channels: tuple[float, float]) -> ranges.Statistics:
    """Of one tensor between -1 and 2, in the mean of two images -0.5 and 1.5; of each channel lowest and highest."""
    return ranges.Statistics(
        ["other", "x"], np.array([[-9.0, -1.0], [-9.0, 0.0]]), np.array([[9.0, 2.0], [9.0, 1.0]]), np.zeros((2, 0)),
        channels=np.array(channels).T, widths=np.array([0, len(channels)]),
    )  # fmt: skip


def test_a_channel_that_slept_gets_the_tensors_range() -> None:
    wide, asleep, narrow = (-1.0, 2.0), (0.0, 0.0), (0.0, 0.5)
    seen = observed(wide, asleep, narrow, narrow, narrow)
    low, high = ranges.find_channels(seen, "minmax")["x"]
    assert (low.tolist(), high.tolist()) == ([-1.0, -1.0, 0.0, 0.0, 0.0], [2.0, 2.0, 0.5, 0.5, 0.5])
    low, high = ranges.find_channels(seen, "mean")["x"]
    assert (low.tolist(), high.tolist()) == ([-0.5, -0.5, 0.0, 0.0, 0.0], [1.5, 1.5, 0.5, 0.5, 0.5])


def test_even_channels_keep_one_scale() -> None:
    even, narrow = (-1.0, 2.0), (0.0, 0.5)
    assert ranges.find_channels(observed(even, even, narrow), "minmax") == {}
    assert [*ranges.find_channels(observed(even, narrow, narrow), "minmax")] == ["x"]


def test_channels_are_observed_each_by_itself(tiny, tmp_path: Path) -> None:
    model, calibration = uneven(tiny.spec), Calibration(tiny.images[:40], tiny.spec)
    seen = collect.collect(model, calibration, lambda *_: None, histograms=False)
    ranges.save(seen, tmp_path / "seen")
    seen = ranges.read(tmp_path / "seen")
    maps = np.concatenate(
        [sessions.open_session(sessions.until(model, ["silu"])).run(["silu"], f)[0] for f in calibration.batches()]
    )
    low, high = ranges.find_channels(seen, "minmax")["silu"]
    np.testing.assert_allclose(low, np.minimum(0, maps.min((0, 2, 3))), rtol=1e-6)
    np.testing.assert_allclose(high, maps.max((0, 2, 3)), rtol=1e-6)


def test_distillation_learns_each_channels_scale(tiny) -> None:
    model, calibration = uneven(tiny.spec), Calibration(tiny.images[:60], tiny.spec)
    quantized = int8(model, schemes.get("openvino"), calibration)
    before = numpy_helper.to_array(next(t for t in quantized.graph.initializer if t.name == "silu_channels_scale"))
    feeds = [feed["images"] for feed in calibration.batches(16)]
    kept = sqnr(answers(model, feeds), answers(quantized, feeds))
    # Slowly: so few parameters overshoot at the usual rates, and whether a state is nearer would be chance.
    slow = Training(steps=60, most_images=16, mirror=False, scale_rate=0.001, bias_rate=0.001)
    qat.train(quantized, model, calibration, qat.TrainRequest(training=slow), lambda *_: None)
    after = numpy_helper.to_array(next(t for t in quantized.graph.initializer if t.name == "silu_channels_scale"))
    assert sqnr(answers(model, feeds), answers(quantized, feeds)) > kept
    assert after.shape == (CHANNELS,)
    assert len({*np.round(after / before, 6).tolist()}) > CHANNELS / 2, "each moved by itself"


def test_mixed_precision_keeps_the_scales_of_what_stays(tiny) -> None:
    model, calibration = uneven(tiny.spec), Calibration(tiny.images[:40], tiny.spec)
    scheme = schemes.get("openvino")
    quantized = int8(model, scheme, calibration)
    mixed = compose.compose(model, quantized, ["first", "sigmoid", "silu"], scheme)
    onnx.checker.check_model(mixed)
    feed = next(calibration.batches())
    (a,), (b,) = (sessions.open_session(m).run(["maps"], feed) for m in (model, mixed))
    assert scales(mixed)["silu"] == CHANNELS
    assert sqnr(a, b) > 25
