"""The last layers of a landmark model and all nodes after them stay in float: coordinates need more than 256 steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.boxes import protect

if TYPE_CHECKING:
    import onnx

    from edgewright.core.spec import ModelSpec


def nodes(model: onnx.ModelProto) -> list[str]:
    """Return the names of the last layers on each path to an output, and of all later nodes."""
    return protect.nodes(model)


def score_layers(model: onnx.ModelProto, spec: ModelSpec) -> list[onnx.NodeProto]:
    """Return no layers, because the last layers stay in float."""
    return []
