"""Find the part of a depth model that stays in float: its last convolution, and all nodes after it.

An exponential or an inversion multiplies the error of its input, so a step of INT8 becomes a step in distance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.graph import endings

if TYPE_CHECKING:
    import onnx

    from edgewright.core.spec import ModelSpec


def nodes(model: onnx.ModelProto) -> list[str]:
    """Return the names of the last layers on each path to an output, and of all later nodes."""
    return [node.name for node, _ in endings.of(model)]


def score_layers(model: onnx.ModelProto, spec: ModelSpec) -> list[onnx.NodeProto]:
    """Return no layers, because a depth map has no scores."""
    return []
