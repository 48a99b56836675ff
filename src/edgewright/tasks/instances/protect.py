"""What stays in float in a model of instance masks: the last layers of the head and of the prototypes.

A mask is a sum over all prototypes, so the errors of prototypes and coefficients add up. The last layer of each branch,
and all nodes after it, stay in float: boxes, class scores, coefficients and prototypes never share a scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.boxes import protect as boxes
from edgewright.boxes.protect import nodes

from . import spec as own

if TYPE_CHECKING:
    import onnx

    from edgewright.core.spec import ModelSpec

__all__ = ["nodes", "score_layers"]


def score_layers(model: onnx.ModelProto, spec: ModelSpec) -> list[onnx.NodeProto]:
    """Return the last convolutions that predict classes, by their number of channels.

    There are none if coefficients have the same number of channels.
    """
    return [] if own.of(spec).coefficients == spec.classes else boxes.score_layers(model, spec)
