"""One grid where values only move; the work of dropped functions is not lost by it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.graph import files
from edgewright.graph.index import constants_of, producers_of
from edgewright.quantize import schemes
from edgewright.quantize.calibration import sessions
from edgewright.quantize.calibration.statistics import Range, Ranges
from edgewright.quantize.prepare import prepare
from edgewright.quantize.qdq import place

SIZES = {"a": 1.0, "b": 8.0}
"""How large the outputs of the two convolutions are."""


def joined(second: str = "Relu") -> onnx.ModelProto:
    """images -> Conv, Relu -> a; images -> Conv, `second` -> b; Concat of both -> Conv -> maps."""
    rng = np.random.default_rng(0)
    nodes, tensors = [], {}
    for name, size in SIZES.items():
        function = "Relu" if name == "a" else second
        tensors[f"w_{name}"] = rng.normal(0, 0.2 * size, (8, 3, 3, 3))
        nodes += [
            helper.make_node("Conv", ["images", f"w_{name}"], [f"c_{name}"], f"conv_{name}", pads=[1, 1, 1, 1]),
            helper.make_node(function, [f"c_{name}"], [name], f"function_{name}"),
        ]
    tensors["w_last"] = rng.normal(0, 0.2, (4, 16, 1, 1))
    nodes += [
        helper.make_node("Concat", list(SIZES), ["both"], "concat", axis=1),
        helper.make_node("Conv", ["both", "w_last"], ["maps"], "last"),
    ]
    graph = helper.make_graph(
        nodes, "joined",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("maps", TensorProto.FLOAT, [1, 4, 8, 8])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in tensors.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    prepare(model)
    return model


def images(count: int = 4) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.normal(0, 1, (1, 3, 8, 8)).astype(np.float32) for _ in range(count)]


def placed(model: onnx.ModelProto, scheme: str) -> onnx.ModelProto:
    names = sessions.float_tensors(model)
    session = sessions.open_session(sessions.until(model, names))
    rows = [session.run(names, {"images": x}) for x in images()]
    ranges: dict[str, Range] = {
        name: (min(0.0, *(float(row[i].min()) for row in rows)), max(0.0, *(float(row[i].max()) for row in rows)))
        for i, name in enumerate(names)
    }
    return place.place(model, Ranges("minmax", ranges, {}), schemes.get(scheme), [])


def grids(model: onnx.ModelProto) -> dict[str, tuple[float, int]]:
    """Of each quantized activation scale and zero point."""
    constants = constants_of(model.graph)
    return {
        node.input[0]: tuple(numpy_helper.to_array(constants[name]).item() for name in node.input[1:3])
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] not in constants
    }


@pytest.mark.parametrize("scheme", ["openvino", "openvino-vnni", "ort-x86-vnni", "ort-arm"])
def test_what_a_concat_joins_has_one_grid(scheme: str) -> None:
    found = grids(placed(joined(), scheme))
    assert found["a"] == found["b"]
    # ONNX Runtime joins integers between two pairs only; in OpenVINO none is needed.
    assert ("both" in found) == scheme.startswith("ort")
    assert found.get("both", found["a"]) == found["a"]


def with_reader(scale: float) -> onnx.ModelProto:
    """`joined`, the first part `scale` times as large and read by a convolution of its own, too, with a bias."""
    model = joined()
    stored = constants_of(model.graph)
    stored["w_a"].CopyFrom(numpy_helper.from_array(numpy_helper.to_array(stored["w_a"]) * np.float32(scale), "w_a"))
    model.graph.node.append(helper.make_node("Conv", ["a", "w_own", "b_own"], ["own"], "own"))
    tensors = {"w_own": np.ones((2, 8, 1, 1)), "b_own": np.array([50.0, -30.0])}
    model.graph.initializer.extend(numpy_helper.from_array(v.astype(np.float32), n) for n, v in tensors.items())
    model.graph.output.append(helper.make_tensor_value_info("own", TensorProto.FLOAT, [1, 2, 8, 8]))
    prepare(model)
    return model


def test_integer_kernels_read_biases_as_they_are_meant() -> None:
    """They take a bias for one with the step of its input times that of its weights, whatever stands beside it."""
    made = placed(with_reader(5.0), "ort-x86-vnni")
    assert grids(made)["a"] == grids(made)["b"]
    makers, stored = producers_of(made.graph), constants_of(made.graph)
    own = next(node for node in made.graph.node if node.name == "own")
    read, weights, bias = (
        numpy_helper.to_array(stored[makers[name].input[1]]).reshape(-1).astype(np.float64) for name in own.input
    )
    np.testing.assert_allclose(bias, read * weights, rtol=1e-6)
    integers = numpy_helper.to_array(stored[makers[own.input[2]].input[0]])
    np.testing.assert_allclose(integers * bias, [50.0, -30.0], rtol=1e-4)


@pytest.mark.parametrize("scheme", ["openvino-vnni", "ort-x86-vnni"])
def test_no_dropped_relu_is_lost(scheme: str) -> None:
    """The pair on `a` does the work of its Relu: on a grid with negative values it would not."""
    model = joined("Tanh" if scheme.startswith("openvino") else "Identity")
    exact, given = (
        np.concatenate([sessions.open_session(m).run(None, {"images": x})[0] for x in images()])
        for m in (files.copy(model), placed(model, scheme))
    )
    assert 10 * np.log10(np.square(exact).sum() / np.square(exact - given).sum()) > 20


def test_a_narrow_tensor_that_others_read_keeps_its_grid() -> None:
    found = grids(placed(with_reader(1.0), "openvino-vnni"))
    assert found["a"][0] < found["b"][0] / 2
    assert found["both"] == found["b"], "the Concat rounds it to the grid of both"
