"""A classifier small enough to compute by hand: the mean of each colour channel, times a matrix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.runtimes import artifact, bundle
from edgewright.tasks.classify.spec import Classify

LABELS = ("red", "green", "blue")
# 0.1 is not exact in float16: an answer computed from halved weights is off by 2e-5.
WEIGHTS = np.array([[1.1, 0.1, 0.1], [0.1, 1.1, 0.1], [0.1, 0.1, 1.1]], np.float32)


def color_spec(batch: int | None) -> ModelSpec:
    return ModelSpec(
        name="colors",
        inputs=(Input(height=8, width=8, batch=batch, preprocess=Preprocess(resize="exact", resize_to=(8, 8))),),
        task=Classify(top=2, classes=3, labels=LABELS),
    )


def write_color_model(path: Path, batch: int | None) -> Path:
    rows = batch or "N"
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["images"], ["means"]),
            helper.make_node("Flatten", ["means"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        ],
        "colors",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [rows, 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [rows, 3])],
        [numpy_helper.from_array(WEIGHTS, "weights")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def expected(x: np.ndarray) -> np.ndarray:
    return x.mean(axis=(2, 3), dtype=np.float64) @ WEIGHTS


@pytest.fixture
def spec() -> ModelSpec:
    return color_spec(None)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The classifier with an open batch size, as ONNX."""
    return write_color_model(tmp_path / "model.onnx", None)


Build = Callable[..., Path]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Build the classifier's artifact: ``build("openvino", batch=4, threads=1)`` is its folder."""

    def built(runtime: str = "onnxruntime", batch: int | None = None, **options: object) -> Path:
        folder = tmp_path / f"artifact-{runtime}-{batch}"
        source = write_color_model(tmp_path / f"model-{batch}.onnx", batch)
        artifact.build(source, color_spec(batch), {"runtime": runtime, **options}, folder)
        return folder

    return built


@pytest.fixture
def edge(build: Build, tmp_path: Path) -> Path:
    """A bundle of the classifier for ONNX Runtime."""
    bundle.write(build(), tmp_path / "colors.edge", name="colors", provenance={"source": "test"})
    return tmp_path / "colors.edge"


@pytest.fixture
def color() -> Callable[[str], Image.Image]:
    return lambda name: Image.new("RGB", (20, 10), "lime" if name == "green" else name)  # CSS green is half dark


@pytest.fixture
def answer() -> Callable[[np.ndarray], np.ndarray]:
    """What the classifier answers, in float64."""
    return expected
