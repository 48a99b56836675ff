"""Checks that the outputs of an ONNX file are known to be class scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgewright.core.description import TASK
from edgewright.core.errors import InvalidInput
from edgewright.graph.index import producers_of

from .sources.loaded import Loaded

if TYPE_CHECKING:
    import onnx

_PASSES = frozenset({"Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Cast", "Dropout",
                     "QuantizeLinear", "DequantizeLinear"})  # fmt: skip
_FUNCTIONS = frozenset({"Softmax", "Sigmoid", "HardSigmoid"})


def require_classes(loaded: Loaded, over: Mapping[str, Any]) -> None:
    """Raise `InvalidInput` unless the outputs of an ONNX file are known to be class scores.

    They are known by `classes` or labels in the user's TOML `over`, by a spec inside the file, and by a Softmax at the
    end of the graph.
    """
    spec = loaded.spec
    described = over.get("task", spec.get("task", TASK)) != TASK or over.get("classes") or over.get("labels")
    if described or "task" in spec or ending(loaded.model, spec["outputs"][0]) == "Softmax":
        return
    count = spec.get("classes")
    numbers = f"{count} numbers" if count else "numbers"
    raise InvalidInput(
        f"The meaning of the {numbers} that {spec['name']} gives for an image is unknown.",
        "They may be class scores, or an embedding, which has no classes.",
        f"If they are class scores, add classes = {count or 'N'} (or labels, or labels_file) to the model's TOML. If "
        'they are an embedding, or anything else, write task = "tensors".',
    )


def ending(model: onnx.ModelProto, output: str) -> str:
    """The function that produces the tensor `output`, if it gives probabilities: Softmax or Sigmoid; else empty."""
    makers = producers_of(model.graph)
    node = makers.get(output)
    while node is not None and node.op_type in _PASSES and node.input:
        node = makers.get(node.input[0])
    return node.op_type if node is not None and node.op_type in _FUNCTIONS else ""
