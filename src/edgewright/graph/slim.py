"""Fold constants and shape arithmetic, fuse what belongs together (onnxslim)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.core.lazy import require

if TYPE_CHECKING:
    import onnx


def apply(model: onnx.ModelProto) -> bool:
    """Simplify `model` in place. Whether the result computes the same is for the caller to check (`compare`)."""
    import onnx

    before = len(model.graph.node)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)  # onnxslim edits what it is given
    slimmed = require("onnxslim", "host").slim(copy)
    del slimmed.metadata_props[:]
    slimmed.metadata_props.extend(model.metadata_props)
    changed = bool(slimmed.SerializeToString(deterministic=True) != model.SerializeToString(deterministic=True))
    model.CopyFrom(slimmed)
    return changed or len(model.graph.node) != before
