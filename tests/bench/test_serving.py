"""The serving child with a real runtime and a tiny model: the same answers as a session, without torch."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgewright.bench import accuracy, environment, latency
from edgewright.core.child import Child
from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.runtimes import artifact, session
from edgewright.runtimes.options import Options
from edgewright.tasks.classify.spec import Classify
from edgewright.tasks.detect.spec import Detect

pytest.importorskip("onnxruntime", reason="needs the extra edgewright[onnxruntime]")
onnx = pytest.importorskip("onnx", reason="needs the extra edgewright[host]")


def make(folder, *, batch=1, last="Identity"):
    """An artifact that answers which of red, green and blue an image has most of."""
    helper, tensor = onnx.helper, onnx.TensorProto.FLOAT
    size = batch or "N"
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node(last, ["flat"], ["logits"]),
        ],
        "colours",
        [helper.make_tensor_value_info("images", tensor, [size, 3, 8, 8])],
        [helper.make_tensor_value_info("logits", tensor, [size, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    folder.mkdir()
    onnx.save(model, folder / "model.onnx")
    spec = ModelSpec(
        name="colours",
        inputs=(
            Input(
                height=8,
                width=8,
                batch=batch,
                preprocess=Preprocess(resize="exact", resize_to=(8, 8), mean=(0.5, 0.5, 0.5)),
            ),
        ),
        task=Classify(classes=3),
    )
    artifact.build(folder / "model.onnx", spec, Options(runtime="onnxruntime"), folder / "artifact")
    return folder / "artifact"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Seven images, each mostly of one colour, and which."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    paths, labels = [], []
    for number in range(7):
        pixels = rng.integers(0, 90, (12, 10, 3), np.uint8)
        pixels[..., number % 3] += 160
        paths.append(str(folder / f"{number}.png"))
        labels.append(number % 3)
        Image.fromarray(pixels).save(paths[-1])
    return paths, labels


@pytest.mark.parametrize("batch", [1, 4, None])
def test_accuracy_comes_from_the_session_that_ships(tmp_path, images, batch):
    paths, labels = images
    built = make(tmp_path / "model", batch=batch)
    steps = []
    accuracy.evaluate(built, paths, tmp_path / "out", progress=lambda *step: steps.append(step))
    assert steps[-1] == (7, 7, "images")
    with session.open(built) as opened:
        answers = [answer.index for answer in opened(list(paths))]
    assert accuracy.load_outputs(tmp_path / "out").argmax(axis=1).tolist() == answers == labels


def test_outputs_that_are_not_finite_name_the_image(tmp_path, images):
    bright = tmp_path / "bright.png"
    Image.new("RGB", (9, 9), (200, 220, 240)).save(bright)
    built = make(tmp_path / "model", last="Sqrt")  # the root of a colour below the mean is NaN
    with pytest.raises(RuntimeFailed, match=r"not finite for .*0\.png"):
        accuracy.evaluate(built, [str(bright), *images[0]], tmp_path / "out")


def test_two_artifacts_are_measured_against_each_other(tmp_path, images):
    good, missing = make(tmp_path / "model"), tmp_path / "missing"
    rules = latency.Rules(min_duration_s=0.3, min_count=70, rounds=3, warm_up_s=0.3, launches=2)
    found = latency.measure_interleaved(
        {"good": good, "same": good, "missing": missing},
        images[0][:2],
        tmp_path / "out",
        latency.Setup(rules=rules),
        reference="good",
    )
    for name in ("good", "same"):
        figures = found[name].latency
        assert 0 < figures.p50_ms < figures.p90_ms
        parts = [figures.preprocess_p50_ms, figures.runtime_p50_ms, figures.postprocess_p50_ms]
        assert min(parts) > 0
        assert sum(parts) == pytest.approx(figures.p50_ms, rel=1e-3)
        assert figures.image == "10x12"
        assert found[name].cold_start_ms > figures.p50_ms
        assert found[name].peak_memory_bytes > 20_000_000
    assert found["same"].speedup.low < found["same"].speedup.value < found["same"].speedup.high
    assert found["missing"].stage == "load"
    assert str(missing) in found["missing"].reason


def test_a_detector_whose_outputs_have_no_axis_for_images_is_measured(tmp_path, images):
    helper, tensor = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Tile", ["flat", "times"], ["cells"]),
    ]
    times = onnx.numpy_helper.from_array(np.array([4, 3]), "times")
    graph = helper.make_graph(
        nodes, "cells", [helper.make_tensor_value_info("images", tensor, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("cells", tensor, [4, 9])], [times],
    )  # fmt: skip
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    spec = ModelSpec(
        name="cells",
        inputs=(Input(height=8, width=8, batch=1, preprocess=Preprocess(resize="exact", resize_to=(8, 8))),),
        outputs=("cells",),
        task=Detect(decoder="yolox", strides=(4,), scores="none", classes=4),
    )
    artifact.build(path, spec, Options(runtime="onnxruntime"), tmp_path / "artifact")
    rules = latency.Rules(min_duration_s=0.1, min_count=10, rounds=1, launches=1, warm_up_s=0.1)
    found = latency.measure_interleaved(
        {"it": tmp_path / "artifact"}, images[0][:2], tmp_path / "out", latency.Setup(rules=rules)
    )
    assert found["it"].reason is None
    assert found["it"].latency.postprocess_p50_ms > 0


def test_an_idle_serving_child_sleeps_and_holds_no_torch(tmp_path, images):
    with Child(tmp_path / "log") as child:
        opened = child.call(f"{latency.WORKER}:open_artifact", path=str(make(tmp_path / "model")), images=images[0][:1])
        child.call(f"{latency.WORKER}:latency_slice", seconds=0.2)
        used = environment.cpu_seconds(opened["pid"])
        time.sleep(0.5)
        assert environment.cpu_seconds(opened["pid"]) - used <= 0.02
        mapped = Path(f"/proc/{opened['pid']}/maps").read_text()
    assert "onnxruntime" in mapped
    assert "libtorch" not in mapped


def test_no_images_is_an_error(tmp_path):
    with pytest.raises(InvalidInput, match="no images"):
        accuracy.evaluate(tmp_path, [], tmp_path / "out")
