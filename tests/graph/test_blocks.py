"""Blocks are found by the paths through a graph, whatever its nodes are called."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgewright.graph import blocks

WEIGHTS = numpy_helper.from_array(np.ones((4, 4, 1, 1), np.float32), "w")


def graph(*nodes: tuple[str, str, str, str], outputs: str = "y") -> onnx.ModelProto:
    """(operator, name, inputs, outputs), tensors separated by blanks; a Conv has weights of its own."""
    made = []
    for operator, name, given, out in nodes:
        weights = ["w"] if operator == "Conv" else []
        options = {"axis": 1} if operator == "Concat" else {}
        made.append(helper.make_node(operator, [*given.split(), *weights], out.split(), name, **options))
    shape = [1, 4, 8, 8]
    return helper.make_model(
        helper.make_graph(
            made, "g", [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs.split()], [WEIGHTS],
        )
    )  # fmt: skip


RESIDUAL = graph(
    ("Conv", "stem", "x", "a"), ("Relu", "stem_relu", "a", "b"),
    ("Conv", "first", "b", "c"), ("Relu", "inner", "c", "d"), ("Conv", "second", "d", "e"),
    ("Add", "sum", "b e", "f"), ("Relu", "after", "f", "g"),
    ("Conv", "left", "g", "h"), ("Sigmoid", "gate", "h", "i"), ("Mul", "silu", "h i", "j"),
    ("Conv", "last", "j", "y"),
)  # fmt: skip


def names(model: onnx.ModelProto, most: int = 2) -> list[tuple[str, ...]]:
    return [block.nodes for block in blocks.find(model, most)]


def test_a_residual_block_is_one_and_functions_join_their_layer() -> None:
    assert names(RESIDUAL) == [
        ("stem", "stem_relu"), ("first", "inner", "second", "sum", "after"), ("left", "gate", "silu"), ("last",)
    ]  # fmt: skip
    assert [block.layers for block in blocks.find(RESIDUAL)] == [("stem",), ("first", "second"), ("left",), ("last",)]


def test_with_one_layer_each_is_a_block() -> None:
    assert names(RESIDUAL, most=1) == [
        ("stem", "stem_relu"), ("first", "inner"), ("second", "sum", "after"), ("left", "gate", "silu"), ("last",)
    ]  # fmt: skip


def test_a_branch_that_another_tensor_leaves_is_no_block() -> None:
    """A pyramid: the skip crosses everything, so the whole is no block, and the inner residual block is one."""
    model = graph(
        ("Conv", "a", "x", "a"), ("Conv", "b", "a", "b"), ("Conv", "c", "b", "c"), ("Conv", "d", "c", "d"),
        ("Add", "e", "b d", "e"), ("Conv", "f", "e", "y"), ("Concat", "g", "a e", "z"), outputs="y z",
    )  # fmt: skip
    found = {block.layers for block in blocks.find(model)}
    assert found == {("a",), ("b",), ("c", "d"), ("f",)}


@pytest.mark.parametrize("most", [1, 2, 12])
def test_every_node_is_in_one_block_with_a_layer(most: int) -> None:
    found = blocks.find(RESIDUAL, most)
    assert sorted(name for block in found for name in block.nodes) == sorted(n.name for n in RESIDUAL.graph.node)
    assert all(1 <= len(block.layers) <= most for block in found)
