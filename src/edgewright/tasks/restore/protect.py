"""Find the part of a restoration model that stays in float: the first layer, the last ones, and the sums after them.

The first layer reads pixels and the last one gives them, so the error of 8 bits there is visible. Both are small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.graph import endings

if TYPE_CHECKING:
    import onnx

    from edgewright.core.spec import ModelSpec


def nodes(model: onnx.ModelProto) -> list[str]:
    """Return the names of the first layers, of the last ones, and of all nodes after those."""
    return [node.name for node in endings.first_layers(model)] + [node.name for node, _ in endings.of(model)]


def score_layers(model: onnx.ModelProto, spec: ModelSpec) -> list[onnx.NodeProto]:
    """Return no layers, because an image has no scores."""
    return []
