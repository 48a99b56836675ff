"""A model that no task describes: mean colours, and a map of where it is bright."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from .case import Case, load, mean_colour

DESCRIPTION = """\
name = "colours"
task = "tensors"
[preprocess]
resize = "exact"
resize_to = [16, 16]
"""


def model() -> onnx.ModelProto:
    """The means of the colours, and the features before the mean."""
    found = mean_colour(4 * np.eye(8, 3, dtype=np.float32), "colour")
    found.graph.output.append(helper.make_tensor_value_info("positive", TensorProto.FLOAT, [1, 8, 16, 16]))
    return found


def other_colours(weights: dict[str, np.ndarray]) -> None:
    """Another model: its own float outputs are its reference."""
    weights["head"][:, 2] = 0


CASE = Case(
    "tensors", model, other_colours, DESCRIPTION, load("tiny.py").write_images, "SQNR", "sqnr", "sqnr", "positive",
    itself=True,
)  # fmt: skip
