"""Bias correction takes out what quantization shifts, and is not led astray by a few extreme images."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.quantize import schemes
from edgewright.quantize.ptq import bias_correction
from edgewright.quantize.qdq import onnxruntime


def net() -> onnx.ModelProto:
    """images -> Conv 1x1 (the identity) -> Conv 1x1 (the identity)."""
    one = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["images", "w1", "b1"], ["middle"], "conv1"),
            helper.make_node("Conv", ["middle", "w2", "b2"], ["answer"], "conv2"),
        ],
        "net",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1, 3, 4, 4])],
        [numpy_helper.from_array(one, "w1"), numpy_helper.from_array(one, "w2")]
        + [numpy_helper.from_array(np.zeros(3, np.float32), name) for name in ("b1", "b2")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


@pytest.mark.parametrize(("extreme", "shift"), [(0, 0.1), (2, 0.1)])
def test_a_clipped_image_in_ten_does_not_move_the_others(extreme: int, shift: float) -> None:
    """Ranges end at 1: the second convolution's input is 0.1 too low for every image, and clipped for extreme ones."""
    rng = np.random.default_rng(0)
    images = [rng.uniform(0.2, 0.8, (1, 3, 4, 4)).astype(np.float32) for _ in range(20)]
    for image in images[:extreme]:
        image += 50

    def batches(limit: int) -> Iterator[dict[str, np.ndarray]]:
        yield from ({"images": image} for image in images[:limit])

    calibration = SimpleNamespace(batches=batches, spec=SimpleNamespace(values=16))
    reference, quantized = net(), net()
    quantized = onnxruntime.place(
        quantized, dict.fromkeys(("images", "middle", "answer"), (0.0, 1.0)), schemes.get("openvino"), []
    )
    tensors = {tensor.name: tensor for tensor in quantized.graph.initializer}
    wrong = numpy_helper.from_array(np.full(3, -shift, np.float32), "b2")  # an error that correction must take out
    tensors["b2"].CopyFrom(wrong)
    bias_correction.correct(quantized, reference, calibration, lambda *_: None)  # type: ignore[arg-type]
    values = {t.name: numpy_helper.to_array(t) for t in quantized.graph.initializer}
    assert np.abs(values["b1"]).max() < 0.02
    assert np.abs(values["b2"]).max() < 0.02
