"""Each runtime tells how long each kernel took, by names that lead back to the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgewright.bench import profile
from edgewright.runtimes import openvino, registry
from edgewright.runtimes.contents import Contents
from edgewright.runtimes.options import Kernel, Options


@pytest.fixture
def model(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(random.normal(0, 1, shape).astype(np.float32), name)
        for name, shape in (("w1", (8, 3, 3, 3)), ("w2", (64, 8, 3, 3)))
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], "small", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["b", "w2"], ["c"], "large", pads=[1, 1, 1, 1]),
        helper.make_node("Softmax", ["c"], ["y"], "soft", axis=3),
    ]
    given, made = (
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, channels, 32, 32])
        for name, channels in (("x", 3), ("y", 64))
    )
    graph = helper.make_graph(nodes, "g", [given], [made], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_kernels_lead_back_to_the_layers(name: str, model: Path, tmp_path: Path) -> None:
    runtime, options = registry.module(name), Options(runtime=name, threads=1)
    (tmp_path / name).mkdir()
    runtime.build(model, options, tmp_path / name)
    kernels = runtime.profile(Contents(tmp_path / name), options, [np.zeros((1, 3, 32, 32), np.float32)], 5)
    owners = {"small": 0, "a": 0, "relu": 0, "b": 0, "large": 1, "c": 1, "soft": 2, "y": 2}
    times = profile.attribute(kernels, owners, 3)
    assert all(time > 0 for time in times)
    assert sum(times) == pytest.approx(sum(kernel.microseconds for kernel in kernels))
    assert all(kernel.kind for kernel in kernels)


def test_what_has_no_name_belongs_to_what_follows() -> None:
    kernels = [
        Kernel(("Reorder_7",), "Reorder", 1.0), Kernel(("conv_1/WithoutBiases", "relu"), "Conv", 10.0),
        Kernel(("conv_token_4",), "Conv", 20.0), Kernel(("Convert_9",), "Convert", 2.0),
    ]  # fmt: skip
    assert profile.attribute(kernels, {"conv_1": 1, "conv": 0}, 2) == [22.0, 11.0]


def test_openvino_tells_means_since_the_start_which_are_undone() -> None:
    slow_start = np.array([5000.0, 900, 500, 510, 20_000, 490, 500, 505])
    told = np.floor(np.cumsum(slow_start) / np.arange(1, 9))
    assert openvino._each(list(told)) == pytest.approx(slow_start[2:], abs=8)
    small = np.floor(np.cumsum([3000.0, *[12.0] * 11]) / np.arange(1, 13))
    assert openvino._each(list(small)) == pytest.approx([12.0], abs=1.3), "too short to be told apart one by one"


def test_tensorrt_has_no_profiler_that_was_ever_run() -> None:
    assert [profile.has_profiler(name) for name in ("openvino", "onnxruntime", "tensorrt")] == [True, True, False]
