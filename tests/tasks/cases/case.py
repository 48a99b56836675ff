"""The description of a case, and what the cases share."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TESTS = Path(__file__).parent.parent.parent


class Case(NamedTuple):
    """A task with a model that does it well.

    `model` returns the ONNX file. `worsen` changes its weights for the worse. `description` is its TOML. `data` writes
    images below a folder. `heading`: of the score's column. `primary`, `title`: the name and title of the primary
    score. `says`: a part of what `edgewright run` prints. `itself`: the score compares a variant with the model's own
    float outputs, so it has no difference to them, and a worse model is no worse variant.
    """

    task: str
    model: Callable[[], onnx.ModelProto]
    worsen: Callable[[dict[str, np.ndarray]], Any]
    description: str
    data: Callable[[Path], Any]
    heading: str
    primary: str
    title: str
    says: str
    itself: bool = False


def load(path: str) -> Any:
    """A module of the tests, by its path."""
    name = f"contract_{Path(path).stem}"
    spec = importlib.util.spec_from_file_location(name, TESTS / path)
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[name] = found
    spec.loader.exec_module(found)
    return found


def network(
    nodes: Sequence[onnx.NodeProto], output: tuple[str, Sequence[int]], weights: dict[str, np.ndarray], side: int = 16
) -> onnx.ModelProto:
    """A model with the input "images" [1, 3, side, side] and one output (name, shape)."""
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "case", [info("images", TensorProto.FLOAT, [1, 3, side, side])],
        [info(output[0], TensorProto.FLOAT, list(output[1]))],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def mean_colour(head: np.ndarray, output: str) -> onnx.ModelProto:
    """A convolution that keeps the colours, their means, and a layer with the weights `head` (8, 3)."""
    first = np.zeros((8, 3, 3, 3), np.float32)
    for channel in range(3):
        first[channel, channel, 1, 1] = 1
    node = helper.make_node
    nodes = [
        node("Conv", ["images", "first"], ["mixed"], "conv", pads=[1, 1, 1, 1]),
        node("Relu", ["mixed"], ["positive"], "relu"),
        node("GlobalAveragePool", ["positive"], ["means"], "pool"),
        node("Flatten", ["means"], ["flat"], "flatten"),
        node("Gemm", ["flat", "head"], [output], "head"),
    ]
    return network(nodes, (output, [1, 3]), {"first": first, "head": head})
