"""Heads that flatten maps and then transpose them: channels last from the maps on, the same answers to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.graph import cells, clean

SIZES = ((4, 6), (2, 3))


def head(
    images: str | int = "N", shape: tuple[int, ...] = (0, 5, -1), joined: bool = True,
    perm: tuple[int, ...] = (0, 2, 1), read_twice: bool = False, behind: bool = False,
) -> onnx.ModelProto:  # fmt: skip
    """Two maps of 5 channels, each flattened to `shape`; joined and turned by `perm`, or each turned by itself."""
    node, nodes, outputs = helper.make_node, [], ["answer"] if joined else ["answer0", "answer1"]
    for number in range(2):
        nodes += [
            node("Relu", [f"map{number}"], [f"seen{number}"]),
            node("Reshape", [f"seen{number}", "shape"], [f"line{number}"]),
        ]
        if not joined:
            nodes.append(node("Transpose", [f"line{number}"], [f"answer{number}"], perm=perm))
    if joined:
        nodes.append(node("Concat", ["line0", "line1"], ["lines"], axis=-1))
        nodes.append(node("Transpose", ["lines"], ["turned" if behind else "answer"], perm=perm))
    if behind:
        nodes.append(node("Sigmoid", ["turned"], ["answer"]))
    if read_twice:
        nodes.append(node("Relu", ["line0"], ["other"]))
        outputs.append("other")
    value, maps = helper.make_tensor_value_info, enumerate(SIZES)
    graph = helper.make_graph(
        nodes, "head", [value(f"map{n}", TensorProto.FLOAT, [images, 5, *size]) for n, size in maps],
        [value(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.array(shape, np.int64), "shape")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def answers(model: onnx.ModelProto, images: int) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    feed = {f"map{n}": random.normal(size=(images, 5, *size)).astype(np.float32) for n, size in enumerate(SIZES)}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[np.ndarray] = session.run(None, feed)
    return found


@pytest.mark.parametrize(
    ("how", "images"),
    [
        ({}, 3),
        ({"images": 1, "shape": (5, -1), "joined": False, "perm": (1, 0)}, 1),
        ({"images": 1, "shape": (5, -1), "perm": (1, 0)}, 1),
        ({"images": 4, "joined": False}, 4),
    ],
    ids=["joined", "no axis for images", "joined without one", "each by itself"],
)
def test_maps_become_rows_at_once(how: dict[str, Any], images: int) -> None:
    model = onnx.shape_inference.infer_shapes(head(**how))  # with shapes of what is inside, as exporters write them
    before = answers(model, images)
    assert cells.apply(model)
    clean.apply(model)
    onnx.checker.check_model(model, full_check=True)
    orders = [list(n.attribute[0].ints) for n in model.graph.node if n.op_type == "Transpose"]
    assert orders == [[0, 2, 3, 1]] * 2
    for was, now in zip(before, answers(model, images), strict=True):
        np.testing.assert_array_equal(now, was)
    assert not cells.apply(model)


@pytest.mark.parametrize(
    "how",
    [
        {"perm": (0, 1, 2)},
        {"read_twice": True},
        {"behind": True},
        {"shape": (0, -1, 1)},
    ],
    ids=["another order", "read twice", "within the network", "other lines"],
)
def test_what_is_something_else_stays(how: dict[str, Any]) -> None:
    model = head(**how)
    before = model.SerializeToString()
    assert not cells.apply(model)
    assert model.SerializeToString() == before
