"""A tiny model trained on drawn shapes, with its images on disk: what the quantizers are tried on."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image

from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.graph import metadata
from edgewright.quantize import methods, quantize
from edgewright.quantize.calibration.images import Calibration
from edgewright.quantize.prepare import prepare
from edgewright.quantize.schemes import Scheme
from edgewright.quantize.state import Int8State
from edgewright.quantize.steps import KeptStep
from edgewright.tasks.classify.spec import Classify


class Tiny(msgspec.Struct):
    model: Path
    images: list[str]
    labels: list[int]
    spec: ModelSpec


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Random convolutions with a residual and a fitted linear head that tells bright from dark halves of noisy
    images."""
    folder = tmp_path_factory.mktemp("tiny")
    rng = np.random.default_rng(0)
    images, labels = [], []
    for i in range(120):
        pixels = rng.integers(0, 150, (16, 16, 3))
        label = i % 4
        pixels[8 * (label // 2) : 8 * (label // 2) + 8, 8 * (label % 2) : 8 * (label % 2) + 8] += 60
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i:03}.png")
        images.append(str(folder / f"{i:03}.png"))
        labels.append(label)
    spec = ModelSpec(
        name="tiny",
        inputs=(Input(height=16, width=16, preprocess=Preprocess(resize="none", mean=(0.4,) * 3, std=(0.25,) * 3)),),
        task=Classify(classes=4),
    )
    model = residual_net(rng)
    metadata.set_spec(model, spec)
    fit_head(model, images, labels, spec)
    onnx.save(model, folder / "model.onnx")
    return Tiny(folder / "model.onnx", images, labels, spec)


def int8(model: onnx.ModelProto, scheme: Scheme, calibration: Calibration) -> onnx.ModelProto:
    """`model`, which is prepared in place, as the method "minmax" quantizes it."""
    prepare(model)
    state = Int8State(model=model, spec=calibration.spec, images=list(map(str, calibration.images)), scheme=scheme)
    quantize.apply(methods.get("minmax"), state)
    return state.quantized


def keep(step: KeptStep, source: Path, images: list[str], out: Path | None = None) -> int:
    """Do `step` for the model and the statistics in the folder `source`."""
    known = str(source) if "statistics" in step.needs else None
    request = quantize.QuantizeRequest(model=str(source / "model.onnx"), images=images, statistics=known)
    return quantize.run_step(step, request, str(out or source))


def residual_net(rng: np.random.Generator) -> onnx.ModelProto:
    """images -> Conv, Relu, depthwise Conv, Relu, Conv + skip, AveragePool 8, Flatten, Gemm -> logits."""

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(rng.normal(0, 0.3, shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["images", "w1", "b1"], ["c1"], "conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], "conv2", pads=[1, 1, 1, 1], group=16),
        helper.make_node("Relu", ["c2"], ["r2"], "relu2"),
        helper.make_node("Conv", ["r2", "w3"], ["c3"], "conv3"),
        helper.make_node("Add", ["c3", "r1"], ["a"], "add"),
        helper.make_node("Relu", ["a"], ["r3"], "relu3"),
        helper.make_node("AveragePool", ["r3"], ["p"], "pool", kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Flatten", ["p"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "w4", "b4"], ["logits"], "head", transB=1),
    ]
    initial = [
        weights("w1", 16, 3, 3, 3), weights("b1", 16), weights("w2", 16, 1, 3, 3), weights("b2", 16),
        weights("w3", 16, 16, 1, 1), weights("w4", 4, 64), weights("b4", 4),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "tiny",
        [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [1, 4])], initial,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def fit_head(model: onnx.ModelProto, images: list[str], labels: list[int], spec: ModelSpec) -> None:
    """Least squares from the pooled features to the labels."""
    from edgewright.quantize.calibration.sessions import open_session, until
    from edgewright.vision.preprocess import batch

    session = open_session(until(model, ["f"]), 1)
    x = np.stack([session.run(None, {"images": batch([path], spec)})[0][0] for path in images])
    design = np.hstack([x, np.ones((len(x), 1))])
    solution = np.linalg.lstsq(design, np.eye(4)[labels] * 10, rcond=None)[0].astype(np.float32)
    for tensor in model.graph.initializer:
        if tensor.name == "w4":
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(solution[:-1].T), "w4"))
        if tensor.name == "b4":
            tensor.CopyFrom(numpy_helper.from_array(solution[-1], "b4"))
