"""A convolution on slices of the image becomes one with a stride: the same answers, and nothing else is touched."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.graph import clean, space_to_depth

FAR = 2**63 - 1
ORDER = ((0, 0), (1, 0), (0, 1), (1, 1))


def focus(
    size: tuple[int, int] = (12, 16), order: tuple[tuple[int, int], ...] = ORDER, step: int = 2, end: int = FAR,
    second: bool = False, stride: int = 1,
) -> onnx.ModelProto:  # fmt: skip
    """YOLOX's first layers: slices by rows and then by columns, one behind the other, and a convolution."""
    random = np.random.default_rng(0)
    node, constants, nodes = helper.make_node, {}, []
    for y, x in order:
        for axis, begin, source, name in ((2, y, "images", f"rows{y}{x}"), (3, x, f"rows{y}{x}", f"piece{y}{x}")):
            names = [f"{name}/{part}" for part in ("begin", "end", "axis", "step")]
            constants |= {n: np.array([v], np.int64) for n, v in zip(names, (begin, end, axis, step))}
            nodes.append(node("Slice", [source, *names], [name]))
    constants |= {
        "w": random.normal(size=(8, 3 * len(order), 3, 3)).astype(np.float32),
        "b": random.normal(size=8).astype(np.float32),
    }
    nodes.append(node("Concat", [f"piece{y}{x}" for y, x in order], ["sorted"], axis=1))
    nodes.append(node("Conv", ["sorted", "w", "b"], ["answer"], pads=[1, 1, 1, 1], strides=[stride] * 2))
    outputs = ["answer"]
    if second:
        nodes.append(node("Relu", ["sorted"], ["other"]))
        outputs.append("other")
    graph = helper.make_graph(
        nodes, "focus", [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, *size])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def answer(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(["answer"], {"images": x})[0]
    return found


@pytest.mark.parametrize("order", [ORDER, ORDER[::-1], ORDER[2:] + ORDER[:2]])
def test_one_convolution_answers_the_same(order: tuple[tuple[int, int], ...]) -> None:
    model = focus(order=order)
    x = np.random.default_rng(1).normal(size=(2, 3, 12, 16)).astype(np.float32)
    before = answer(model, x)
    assert space_to_depth.apply(model)
    clean.apply(model)
    assert [node.op_type for node in model.graph.node] == ["Conv"]
    assert len(model.graph.initializer) == 2
    np.testing.assert_allclose(answer(model, x), before, rtol=1e-4, atol=1e-4)
    assert not space_to_depth.apply(model)


@pytest.mark.parametrize(
    "other",
    [
        {"size": (12, 15)},
        {"end": 8},
        {"second": True},
        {"stride": 2},
        {"order": ((0, 0), (2, 0))},
        {"order": ORDER[:3]},
        {"order": (*ORDER[:3], (0, 0))},
    ],
    ids=["odd size", "part of the rows", "read twice", "a stride", "beyond the step", "three", "one twice"],
)
def test_what_is_something_else_stays(other: dict[str, object]) -> None:
    model = focus(**other)  # type: ignore[arg-type]
    before = model.SerializeToString()
    assert not space_to_depth.apply(model)
    assert model.SerializeToString() == before
