"""Find the part of a restoration model that stays in float: the first layer, the last ones, and the nodes after them.

The first layer reads pixels and the last one gives them, so the error of 8 bits there is visible. So is that of small
layers just before the last ones, which already hold colors: of a network with a pixel shuffle, or a resize before the
last convolution.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edgewright.graph import endings

if TYPE_CHECKING:
    import onnx

    from edgewright.core.spec import ModelSpec

SMALL = 0.05
"""Layers with at most this share of the weights are small."""


def nodes(model: onnx.ModelProto) -> list[str]:
    """Return the names of the first layers, of small layers before the last ones, of these, and of all later nodes."""
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
    most = SMALL * sum(sizes.values())
    small = [node for node in endings.before(model) if sum(sizes.get(name, 0) for name in node.input) <= most]
    every = [*endings.first_layers(model), *small, *(node for node, _ in endings.of(model))]
    return list(dict.fromkeys(node.name for node in every))


def score_layers(model: onnx.ModelProto, spec: ModelSpec) -> list[onnx.NodeProto]:
    """Return no layers, because an image has no scores."""
    return []
