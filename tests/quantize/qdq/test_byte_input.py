"""The network's input on the grid of bytes: the float answers stay, nothing is rounded, and bytes go straight in."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.graph import files, metadata, normalize
from edgewright.quantize import schemes
from edgewright.quantize.calibration import sessions
from edgewright.quantize.calibration.statistics import Ranges
from edgewright.quantize.prepare import prepare
from edgewright.quantize.qdq import byte_input
from edgewright.quantize.qdq import place as placement
from edgewright.quantize.state import Int8State
from edgewright.quantize.steps import ByteInput, PlaceQdq
from edgewright.tasks.classify.spec import Classify

SIZE = 9
COLOURS = Preprocess(resize="none", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
PLAIN = Preprocess(resize="none", divide=1.0)
HALVES = Preprocess(resize="none", mean=(0.5,) * 3, std=(0.5,) * 3)


def model(how: Preprocess, pad: int) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["images", "w1", "b1"], ["c1"], "first", pads=[pad] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"], "relu"),
        helper.make_node("Conv", ["r1", "w2"], ["maps"], "last"),
    ]
    tensors = {
        "w1": rng.normal(0, 0.3, (8, 3, 3, 3)), "b1": rng.normal(0, 1, 8), "w2": rng.normal(0, 0.2, (4, 8, 1, 1)),
    }  # fmt: skip
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("maps", TensorProto.FLOAT, [1, 4, None, None])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in tensors.items()],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    spec = ModelSpec(name="net", inputs=(Input(height=SIZE, width=SIZE, preprocess=how),), task=Classify(classes=4))
    metadata.set_spec(made, spec)
    prepare(made)
    metadata.set_spec(made, spec)
    return made


def pixels() -> np.ndarray:
    """Images with every byte, as the network sees them once it takes bytes."""
    return np.random.default_rng(1).integers(0, 256, (8, SIZE, SIZE, 3)).astype(np.uint8)


def normalized(how: Preprocess) -> np.ndarray:
    x = (pixels().astype(np.float32) / np.float32(how.divide) - np.float32(how.mean)) / np.float32(how.std)
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def answers(made: onnx.ModelProto, batch: np.ndarray) -> np.ndarray:
    session = sessions.open_session(made)
    return np.concatenate([session.run(None, {"images": x[None]})[0] for x in batch])


def quantized(how: Preprocess, pad: int, scheme: str) -> tuple[onnx.ModelProto, int]:
    """The INT8 file, and whether the input was put on bytes."""
    made = model(how, pad)
    spec = metadata.get_spec(made)
    assert spec is not None
    names = sessions.float_tensors(made)
    session = sessions.open_session(sessions.until(made, names))
    rows = [session.run(names, {"images": x[None]}) for x in normalized(how)]
    ranges = {
        name: (min(0.0, *(float(row[i].min()) for row in rows)), max(0.0, *(float(row[i].max()) for row in rows)))
        for i, name in enumerate(names)
    }
    state = Int8State(model=made, spec=spec, images=[], scheme=schemes.get(scheme), ranges=Ranges("minmax", ranges, {}))
    found = byte_input.apply(ByteInput(), state)
    placement.apply(PlaceQdq(), state)
    metadata.set_spec(state.quantized, spec)
    return state.quantized, found


def grid(made: onnx.ModelProto, reader: str) -> tuple[float, int, int]:
    """Scale, zero point and type of what the layer `reader` reads."""
    named = {node.name: node for node in made.graph.node}
    makers = {name: node for node in made.graph.node for name in node.output}
    stored = {tensor.name: tensor for tensor in made.graph.initializer}
    scale, zero = (stored[name] for name in makers[named[reader].input[0]].input[1:3])
    return numpy_helper.to_array(scale).item(), numpy_helper.to_array(zero).item(), zero.data_type


@pytest.mark.parametrize(("how", "pad"), [(COLOURS, 0), (HALVES, 0), (PLAIN, 1)])
def test_the_float_answers_stay_at_borders_too(how: Preprocess, pad: int) -> None:
    made = model(how, pad)
    before = answers(made, normalized(how))
    spec = metadata.get_spec(made)
    assert spec is not None and byte_input.fold(made, spec)
    files.check(made, "m")
    convolution = next(node for node in made.graph.node if node.name == "first")
    assert (convolution.input[0] == "images") == (how == PLAIN)
    np.testing.assert_allclose(answers(made, normalized(how)), before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("how", "pad", "scheme", "scale"),
    [
        (COLOURS, 0, "openvino-vnni", 1 / 255),
        (COLOURS, 0, "openvino", 1 / 255),
        (HALVES, 0, "openvino-vnni", 1 / 255),
        (PLAIN, 1, "openvino-vnni", 1.0),
        (PLAIN, 1, "ort-x86-vnni", 1.0),
    ],
)
def test_bytes_are_the_grid_and_go_straight_into_the_convolution(
    how: Preprocess, pad: int, scheme: str, scale: float
) -> None:
    made, found = quantized(how, pad, scheme)
    assert found
    assert grid(made, "first") == (pytest.approx(scale, rel=1e-6), 0, TensorProto.UINT8)
    host = answers(made, normalized(how))
    assert normalize.apply(made)
    files.check(made, "m")
    assert not {"Cast", "Sub", "Mul"} & {node.op_type for node in made.graph.node}
    assert [node.op_type for node in made.graph.node][:2] == ["DequantizeLinear", "Transpose"]
    assert made.graph.node[0].input[0] == "images"
    assert np.array_equal(answers(made, pixels()), host), "to the bit, at borders too"


@pytest.mark.parametrize(("how", "pad", "scheme"), [(COLOURS, 1, "openvino-vnni"), (COLOURS, 0, "ort-x86-vnni")])
def test_elsewhere_the_input_stays_what_it_was(how: Preprocess, pad: int, scheme: str) -> None:
    """An offset cannot go into a convolution that pads; ONNX Runtime would take images back in passes of their own."""
    made, found = quantized(how, pad, scheme)
    assert not found
    before = answers(made, normalized(how))
    assert normalize.apply(made)
    assert {"Cast", "Sub", "Mul"} <= {node.op_type for node in made.graph.node}
    np.testing.assert_allclose(answers(made, pixels()), before, atol=0.2)


def test_a_zero_point_that_is_worth_little_is_left_out() -> None:
    """Normalized images lie nearly around zero: signed steps are 12 % longer. With ONNX Runtime they stay unsigned."""
    zero, kind = grid(quantized(COLOURS, 1, "openvino-vnni")[0], "first")[1:]
    assert (zero, kind) == (0, TensorProto.INT8)
    zero, kind = grid(quantized(COLOURS, 1, "openvino")[0], "first")[1:]
    assert zero > 0 and kind == TensorProto.UINT8, "without VNNI signed activations are computed wrongly"
