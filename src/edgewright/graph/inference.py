"""Refuse graphs that are not for inference: their outputs depend on the batch or on random numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.core.errors import InvalidInput

from .files import attributes, nodes

if TYPE_CHECKING:
    import onnx

RANDOM = frozenset(
    {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"}
)
"""Operators whose output differs between calls."""


def require(model: onnx.ModelProto, name: str) -> None:
    """Raise `InvalidInput` if a BatchNormalization or Dropout of `model` is in training mode, or an operator draws
    random numbers. `name`: the file, for the message."""
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
    constants = _constants(model)
    for node in nodes(model.graph):
        if node.domain not in ("", "ai.onnx"):
            continue
        label = f"{node.op_type} '{node.name or node.output[0]}'"
        if _trains(node, opset, constants):
            raise InvalidInput(
                f"{name}: {label} is in training mode.",
                "It normalizes by the statistics of the batch, or drops values at random, so its outputs are not those "
                "of the trained model.",
                "Export the model again after model.eval().",
            )
        if node.op_type in RANDOM:
            raise InvalidInput(
                f"{name}: {label} draws random numbers.",
                "Outputs that differ between calls cannot be compared or quantized.",
                "Export only the part of the model that is for inference.",
            )


def _trains(node: onnx.NodeProto, opset: int, constants: dict[str, Any]) -> bool:
    said = attributes(node)
    if node.op_type == "BatchNormalization":
        # Before 14 the further outputs (running statistics) indicated training; before 7 a flag did.
        further = any(node.output[1:])
        return bool(said.get("training_mode", 0)) if opset >= 14 else further or (opset < 7 and not said.get("is_test"))
    if node.op_type != "Dropout":
        return False
    if opset < 7:
        return not said.get("is_test")
    if opset < 12 or len(node.input) < 3 or not node.input[2]:
        return False
    mode, ratio = constants.get(node.input[2]), constants.get(node.input[1], 0.5)
    return (mode is None or bool(np.all(mode))) and bool(np.all(ratio != 0))


def _constants(model: onnx.ModelProto) -> dict[str, Any]:
    """The values of small constants by name."""
    from onnx import numpy_helper

    found = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer if len(t.dims) == 0}
    for node in nodes(model.graph):
        if node.op_type == "Identity" and node.input[0] in found:
            found[node.output[0]] = found[node.input[0]]
        if node.op_type == "Constant":
            value = next((a.t for a in node.attribute if a.name == "value"), None)
            if value is not None:
                found[node.output[0]] = numpy_helper.to_array(value)
    return found
