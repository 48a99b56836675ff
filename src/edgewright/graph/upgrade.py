"""Raise a model to an operator set that every runtime and quantizer here handles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.core.errors import InvalidInput

if TYPE_CHECKING:
    import onnx

MINIMUM = 17
"""Per-channel DequantizeLinear came with 13, LayerNormalization with 17; quantizers assume both."""


def apply(model: onnx.ModelProto, opset: int = MINIMUM) -> bool:
    """Convert `model` in place to `opset` where its own is older; raises `InvalidInput` where onnx cannot."""
    import onnx
    from onnx import version_converter

    now = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), opset)
    if now >= opset:
        return False
    kept = list(model.metadata_props)
    try:
        converted = version_converter.convert_version(model, opset)
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        raise InvalidInput(
            f"The model's operator set {now} cannot be raised to {opset}: {' '.join(str(error).split())[:200]}",
            f"Runtimes and quantizers here need operator set {opset} or newer.",
            f"Export the model again with opset {opset} or newer.",
        ) from None
    model.CopyFrom(converted)
    if not model.metadata_props:  # the converter drops them
        model.metadata_props.extend(kept)
    model.ir_version = max(model.ir_version, onnx.helper.find_min_ir_version_for(model.opset_import))
    return True
