"""Nodes in any order are sorted on reading; circles are refused."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import parser

from edgewright.core.errors import InvalidInput
from edgewright.graph import compare, files, order

CHAIN = """
<ir_version: 8, opset_import: ["" : 17]>
chain (float[1,3,4,4] x, bool flag) => (float[1,3,4,4] y)
{
   a = Relu (x)
   b = Neg (a)
   c = If (flag) <
      then_branch = yes () => (float[1,3,4,4] t) { t = Add (a, b) },
      else_branch = no () => (float[1,3,4,4] e) { f = Abs (b) e = Mul (f, a) }
   >
   d = Sigmoid (c)
   y = Sub (d, a)
}
"""


def _shuffled(seed: int) -> onnx.ModelProto:
    model = parser.parse_model(CHAIN)
    nodes = list(model.graph.node)
    random.Random(seed).shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


@pytest.mark.parametrize("seed", range(6))
def test_a_file_with_shuffled_nodes_answers_as_the_sorted_one(seed: int, tmp_path: Path) -> None:
    onnx.save(_shuffled(seed), tmp_path / "m.onnx")
    read = files.load(tmp_path / "m.onnx")
    x = np.random.default_rng(0).standard_normal((1, 3, 4, 4), np.float32)
    for flag in (True, False):
        feed = {"x": x, "flag": np.array(flag)}
        first, second = (_run(model, feed) for model in (parser.parse_model(CHAIN), read))
        np.testing.assert_array_equal(first, second)


def test_nodes_that_are_in_order_stay_where_they_are() -> None:
    model = parser.parse_model(CHAIN)
    before = model.SerializeToString()
    assert not order.apply(model.graph, "chain.onnx")
    assert model.SerializeToString() == before


def test_a_nested_graph_is_sorted_too() -> None:
    model = parser.parse_model(CHAIN)
    inner = next(a.g for a in model.graph.node[2].attribute if a.name == "else_branch")
    nodes = list(inner.node)[::-1]
    del inner.node[:]
    inner.node.extend(nodes)
    assert order.apply(model.graph, "chain.onnx")
    files.check(model, "chain.onnx")


def test_a_circle_of_nodes_is_refused_by_name(tmp_path: Path) -> None:
    model = parser.parse_model(CHAIN)
    model.graph.node[1].input[0] = "d"
    onnx.save(model, tmp_path / "circle.onnx")
    with pytest.raises(InvalidInput, match=r"circle\.onnx computes '[bcd]' from itself"):
        files.load(tmp_path / "circle.onnx")


def test_a_chain_of_ten_thousand_nodes_is_sorted() -> None:
    nodes = [onnx.helper.make_node("Relu", [f"t{i}"], [f"t{i + 1}"]) for i in range(10_000)]
    graph = onnx.helper.make_graph(nodes[::-1], "long", [], [])
    assert order.apply(graph, "long.onnx")
    assert [node.output[0] for node in graph.node] == [f"t{i + 1}" for i in range(10_000)]


def _run(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> np.ndarray:
    return np.asarray(compare._session(model).run(None, feed)[0])
