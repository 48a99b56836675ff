"""`edgewright run` warns on standard error where a bundle does not run as it was built."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from edgewright.cli.main import run_command
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.runtimes import artifact, bundle, kernels
from edgewright.tasks.classify.spec import Classify


@pytest.fixture
def int8(tmp_path: Path) -> Path:
    """A bundle of the mean colour, times a matrix in INT8."""
    constants = {
        "s": np.float32(1 / 255), "z": np.uint8(0), "ws": np.float32(0.05), "wz": np.int8(0),
        "w": 100 * np.eye(3, dtype=np.int8), "os": np.float32(0.05), "oz": np.uint8(0),
    }  # fmt: skip
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("QuantizeLinear", ["flat", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"]),
        helper.make_node("MatMul", ["d", "wd"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "os", "oz"], ["cq"]),
        helper.make_node("DequantizeLinear", ["cq", "os", "oz"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes, "colors", [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    file = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
    spec = ModelSpec(
        name="colors",
        inputs=(Input(height=8, width=8, preprocess=Preprocess(resize="exact", resize_to=(8, 8))),),
        task=Classify(classes=3, labels=("red", "green", "blue")),
    )
    artifact.build(file, spec, {"runtime": "onnxruntime"}, tmp_path / "artifact")
    bundle.write(tmp_path / "artifact", tmp_path / "colors.edge", name="colors", provenance={})
    return tmp_path / "colors.edge"


def test_wrong_int8_kernels_are_said_once_beside_the_answers(
    int8: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = tmp_path / "sea.png"
    Image.new("RGB", (8, 8), (10, 20, 230)).save(photo)
    words = ["run", str(int8), str(photo), str(photo)]
    assert run_command(words) == 0
    assert capfd.readouterr().err == ""
    monkeypatch.setattr(kernels, "wrong_layers", lambda: kernels.LAYERS[:1])
    assert run_command(words) == 0
    said = capfd.readouterr()
    assert said.out.count("blue") == 2
    assert said.err.count("warning: ") == 1 and "run in float" in said.err
