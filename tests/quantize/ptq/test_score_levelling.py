"""Scores of a detector that was approximated go back to where they were; boxes, and what nothing was seen in, stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper

from edgewright.boxes import protect
from edgewright.quantize.calibration.images import Calibration
from edgewright.quantize.ptq import score_levelling
from edgewright.tasks.detect.spec import Detect

CLASSES = 5
HEADS = {"object": (1, -2.0), "box": (4, 0.0), "classes": (CLASSES, 0.0), "never": (1, -30.0)}


def detector(shift: float) -> onnx.ModelProto:
    """images -> Conv, Relu -> a convolution for each of `HEADS`, with its bias moved by `shift`, and its sigmoid."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["images", "w", "b"], ["raw"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["raw"], ["features"], "relu"),
    ]
    values, outputs = {"w": rng.normal(size=(12, 3, 3, 3)) / 5, "b": np.zeros(12)}, []
    for name, (channels, bias) in HEADS.items():
        values |= {f"{name}_w": rng.normal(size=(channels, 12, 1, 1)) / 4, f"{name}_b": np.full(channels, bias + shift)}
        nodes.append(helper.make_node("Conv", ["features", f"{name}_w", f"{name}_b"], [f"{name}_raw"], name))
        nodes.append(helper.make_node("Sigmoid", [f"{name}_raw"], [name], f"{name}_gate"))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, 16, 16]))
    graph = helper.make_graph(
        nodes, "detector", [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 16, 16])], outputs,
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def biases(model: onnx.ModelProto) -> dict[str, float]:
    return {
        name: float(numpy_helper.to_array(t)[0])
        for t in model.graph.initializer
        for name in HEADS
        if t.name == f"{name}_b"
    }


def test_scores_go_back_to_where_they_were_and_boxes_stay(tiny) -> None:
    calibration = Calibration(tiny.images[:64], replace(tiny.spec, task=Detect(decoder="yolox", classes=CLASSES)))
    changed, told = detector(shift=-0.7), []
    score_levelling.level(
        changed, detector(shift=0.0), calibration, lambda done, total, _what: told.append((done, total))
    )
    found = biases(changed)
    np.testing.assert_allclose([found["object"], found["classes"]], [-2, 0], atol=0.01)
    np.testing.assert_allclose([found["box"], found["never"]], [-0.7, -30.7], atol=1e-5)
    assert told[-1] == (64, 64)


def test_shares_of_a_softmax_are_no_scores_to_move(tiny) -> None:
    spec = replace(tiny.spec, task=Detect(decoder="anchors", scores="softmax", classes=CLASSES))
    assert not protect.score_layers(detector(0.0), spec)
    spec = replace(spec, task=Detect(decoder="yolox", classes=CLASSES))
    assert [node.name for node in protect.score_layers(detector(0.0), spec)] == ["object", "classes", "never"]


def test_int8_detectors_are_levelled(tiny, tmp_path) -> None:
    from edgewright.graph import files, metadata
    from edgewright.quantize import quantize
    from edgewright.quantize.calibration import sessions

    spec = replace(tiny.spec, task=Detect(decoder="yolox", classes=CLASSES))
    model = detector(0.0)
    metadata.set_spec(model, spec)
    files.save(model, tmp_path / "float.onnx")
    (tmp_path / "int8").mkdir()
    request = quantize.QuantizeRequest(model=str(tmp_path / "float.onnx"), images=tiny.images[:64])
    quantize.quantize(request, "openvino", "minmax", str(tmp_path / "int8"))
    feeds = list(Calibration(tiny.images[:64], spec).batches())

    def mean(path: Path) -> float:
        session = sessions.open_session(files.load(path))
        rows = [session.run(["object"], feed)[0] for feed in feeds]
        weights = [exact.run(["object"], feed)[0] for feed in feeds]
        return float(np.average(np.concatenate(rows), weights=np.concatenate(weights)))

    exact = sessions.open_session(model)
    assert abs(mean(tmp_path / "int8" / "model.onnx") - mean(tmp_path / "float.onnx")) < 2e-4
