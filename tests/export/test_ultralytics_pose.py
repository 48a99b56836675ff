"""Ultralytics' pose models: our export and our decoding give the keypoints of the library's own network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from edgewright.core.description import structured
from edgewright.core.spec import ModelSpec, convert
from edgewright.export.exporter import export
from edgewright.export.sources import ultralytics as source
from edgewright.graph import compare
from edgewright.tasks.pose import decode, protect
from edgewright.tasks.pose.spec import of

library = pytest.importorskip("ultralytics", reason="the extra edgewright[ultralytics] is not installed")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "cache"))


def theirs(name: str, x: torch.Tensor) -> np.ndarray:
    """The library's decoded answers, (answers, box, scores, keypoints), of the seeded model."""
    from ultralytics.nn import tasks

    torch.manual_seed(0)
    model = tasks.PoseModel(tasks.yaml_model_load(name), verbose=False).float().eval()
    with torch.no_grad():
        answer = model(x)
    found: np.ndarray = (answer[0] if isinstance(answer, tuple | list) else answer)[0].numpy()
    return found


@pytest.mark.parametrize("name", ["yolov8n-pose.yaml", "yolo11n-pose.yaml", "yolo26n-pose.yaml"])
def test_keypoints_are_those_of_the_librarys_network(name: str) -> None:
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    loaded = source.trainable(name, {"imgsz": 64}).load()
    spec = convert(structured(loaded.spec | {"source": ""}), ModelSpec)
    with torch.no_grad():
        _, points = (output.numpy() for output in loaded.model(x))
    assert points.shape == (1, 51, 84)
    everything = decode.keypoints(points[0].T, np.arange(84), spec)
    expected = theirs(name, x)
    if expected.shape[1] == 84:  # every cell: box, scores, keypoints
        right = expected.T[:, 4 + spec.classes :]
        np.testing.assert_allclose(everything.reshape(84, -1), right, atol=1e-4)
        return
    # The best answers of the head without suppression: box, score, class, keypoints.
    for row in expected[:20]:
        gaps = np.abs(everything.reshape(84, -1) - row[6:]).max(axis=1)
        assert gaps.min() < 1e-3


def test_the_last_layers_of_boxes_scores_and_keypoints_stay_in_float(tmp_path: Path) -> None:
    spec = export("ultralytics:yolo11n-pose.yaml?imgsz=64&nc=1", tmp_path)
    model = onnx.load(tmp_path / "model.onnx")
    assert (spec.outputs, of(spec).point_coding) == (("head", "keypoints"), (2.0, 0.0))
    kept = [node for node in model.graph.node if node.name in protect.nodes(model) and node.op_type == "Conv"]
    weights = {one.name: one.dims[0] for one in model.graph.initializer if one.dims}
    assert sorted(weights[node.input[1]] for node in kept) == sorted([1, 51, 64] * 3)


@pytest.mark.parametrize(("name", "decoder"), [("yolo11n-pose.yaml", "boxes"), ("yolo26n-pose.yaml", "end2end")])
def test_a_file_that_the_library_exported_needs_no_description(
    name: str, decoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the library writes beside itself
    torch.manual_seed(0)
    model: Any = library.YOLO(name)
    model.model.kpt_names = {0: [f"p{k}" for k in range(17)]}
    file = str(model.export(format="onnx", imgsz=64, device="cpu", verbose=False))
    spec = export(file, tmp_path / "out")
    assert (spec.task.kind, of(spec).decoder, of(spec).points, of(spec).values) == ("pose", decoder, 17, "xys")
    outputs = compare.run(onnx.load(tmp_path / "out" / "model.onnx"), np.zeros((1, 3, 64, 64), np.float32))
    (found,) = decode.read(outputs, spec, [(64, 64)], 0.0)
    assert found.keypoints.shape[1:] == (17, 3)
