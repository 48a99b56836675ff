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
    perm: tuple[int, ...] = (0, 2, 1), sizes: tuple[tuple[int, int], ...] = SIZES, axis: int = -1, read: str = "",
    inside: str = "", behind: bool = False,
) -> onnx.ModelProto:  # fmt: skip
    """Two maps of 5 channels, each flattened to `shape`; joined and turned by `perm`, or each turned by itself.

    `read`, `inside`: a tensor that is read a second time, by a node and by one in a nested graph.
    """
    node, nodes, outputs = helper.make_node, [], ["answer"] if joined else ["answer0", "answer1"]
    for number in range(2):
        nodes += [
            node("Relu", [f"map{number}"], [f"seen{number}"]),
            node("Reshape", [f"seen{number}", "shape"], [f"line{number}"]),
        ]
        if not joined:
            nodes.append(node("Transpose", [f"line{number}"], [f"answer{number}"], perm=perm))
    if joined:
        nodes.append(node("Concat", ["line0", "line1"], ["lines"], axis=axis))
        nodes.append(node("Transpose", ["lines"], ["turned" if behind else "answer"], perm=perm))
    if behind:
        nodes.append(node("Sigmoid", ["turned"], ["answer"]))
    if read:
        nodes.append(node("Relu", [read], ["other"]))
        outputs.append("other")
    if inside:
        other = helper.make_tensor_value_info("other", TensorProto.FLOAT, None)
        branch = helper.make_graph([node("Relu", [inside], ["other"])], "branch", [], [other])
        nodes.append(node("If", ["true"], ["other"], then_branch=branch, else_branch=branch))
        outputs.append("other")
    value, maps = helper.make_tensor_value_info, enumerate(sizes)
    graph = helper.make_graph(
        nodes, "head", [value(f"map{n}", TensorProto.FLOAT, [images, 5, *size]) for n, size in maps],
        [value(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.array(shape, np.int64), "shape"), numpy_helper.from_array(np.array(True), "true")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def answers(model: onnx.ModelProto, images: int) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {
        value.name: random.normal(size=(images, *value.shape[1:])).astype(np.float32) for value in session.get_inputs()
    }
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
        {"read": "line0"},
        {"read": "lines"},
        {"inside": "line0"},
        {"inside": "lines"},
        {"behind": True},
        {"shape": (0, -1, 1), "joined": False},
        {"axis": 1, "shape": (0, 5, 6), "sizes": ((2, 3), (3, 2))},
        {"images": 2, "shape": (5, -1), "perm": (1, 0)},
    ],
    ids=[
        "another order",
        "a line read twice",
        "lines read twice",
        "a line read inside",
        "lines read inside",
        "within the network",
        "other lines",
        "channels joined",
        "images and channels in one",
    ],
)
def test_what_is_something_else_stays(how: dict[str, Any]) -> None:
    model = head(**how)
    assert answers(model, 2), "a model that runs"
    before = model.SerializeToString()
    assert not cells.apply(model)
    assert model.SerializeToString() == before
