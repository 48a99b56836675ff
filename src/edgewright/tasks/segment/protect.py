"""What stays in float in a segmentation model: the last layers before the maps, and all later nodes.

The maps decide between classes by small differences, and a resize spreads their errors over many pixels. Some networks
(U-2-Net, HED) predict the maps at several scales and fuse them by one small convolution. All of them are maps already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.graph.census import PRODUCTS
from edgewright.graph.index import constants_of

if TYPE_CHECKING:
    import onnx

    from edgewright.core.spec import ModelSpec

__all__ = ["nodes", "score_layers"]

FUSED = 16
"""Most input channels of a 1x1 convolution that fuses maps; others compute maps from features."""


def nodes(model: onnx.ModelProto) -> list[str]:
    """Return the names of the last layers on each path to an output, and of all later nodes."""
    constants = constants_of(model.graph)
    leads: set[str] = set()  # tensors that lead to a later layer
    found = []
    for node in reversed(model.graph.node):
        if leads.intersection(node.output):
            leads.update(node.input)
            continue
        found.append(node.name)
        weights = [constants[name] for name in node.input if name in constants]
        if node.op_type in PRODUCTS and weights and not _fuses(node, list(weights[0].dims)):
            leads.update(node.input)
    return found[::-1]


def score_layers(model: onnx.ModelProto, spec: ModelSpec) -> list[onnx.NodeProto]:
    """Return no layers, because an answer has no scores."""
    return []


def _fuses(node: onnx.NodeProto, shape: list[int]) -> bool:
    return node.op_type == "Conv" and len(shape) == 4 and shape[2:] == [1, 1] and shape[1] <= FUSED
