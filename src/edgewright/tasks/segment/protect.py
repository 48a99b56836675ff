"""What stays in float in a segmentation model: the last layers before the maps, and all later nodes.

The maps decide between classes by small differences, and a resize spreads their errors over many pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.boxes.protect import nodes

if TYPE_CHECKING:
    import onnx

    from edgewright.core.spec import ModelSpec

__all__ = ["nodes", "score_layers"]


def score_layers(model: onnx.ModelProto, spec: ModelSpec) -> list[onnx.NodeProto]:
    """Return no layers, because an answer has no scores."""
    return []
