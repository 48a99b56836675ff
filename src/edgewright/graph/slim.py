"""Fold constants and shape arithmetic, and fuse operators (onnxslim)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.core.errors import RuntimeFailed
from edgewright.core.lazy import require, version

if TYPE_CHECKING:
    import onnx


def apply(model: onnx.ModelProto) -> bool:
    """Simplify `model` in place. The caller has to check that the outputs stay the same (`compare`).

    Raises `RuntimeFailed`, with `model` unchanged, if onnxslim fails or writes a graph that onnx.checker refuses.
    """
    import onnx

    before = len(model.graph.node)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)  # onnxslim edits its argument
    try:
        slimmed = require("onnxslim", "host").slim(copy)
        onnx.checker.check_model(slimmed, full_check=True)
    except Exception as error:  # onnxslim raises any class: AttributeError, IndexError, UnboundLocalError ...
        raise RuntimeFailed(
            f"onnxslim {version('onnxslim')} cannot simplify the graph.",
            f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            "Report it with the model, or try another version of onnxslim.",
        ) from error
    del slimmed.metadata_props[:]
    slimmed.metadata_props.extend(model.metadata_props)
    changed = bool(slimmed.SerializeToString(deterministic=True) != model.SerializeToString(deterministic=True))
    model.CopyFrom(slimmed)
    return changed or len(model.graph.node) != before
