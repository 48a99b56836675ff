"""What stays in float in a pose model: its last layers, which give coordinates and scores, and all nodes after them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.boxes import protect

from . import spec as section

if TYPE_CHECKING:
    import onnx

    from edgewright.core.spec import ModelSpec


def nodes(model: onnx.ModelProto) -> list[str]:
    """Return the names of the last layers on each path to an output, and of all later nodes."""
    return protect.nodes(model)


def score_layers(model: onnx.ModelProto, spec: ModelSpec) -> list[onnx.NodeProto]:
    """Return the last convolutions that predict classes of boxes; none for a model with one object."""
    return [] if section.of(spec).single is not None else protect.score_layers(model, spec)
