"""Convert a model to an operator set that every supported runtime and quantizer handles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.core.errors import InvalidInput

from .files import attributes, nodes, refill
from .index import constants_of

if TYPE_CHECKING:
    import onnx

MINIMUM = 17
"""DequantizeLinear per channel exists from 13 on, LayerNormalization from 17 on; quantizers assume both."""


def apply(model: onnx.ModelProto, opset: int = MINIMUM) -> bool:
    """Convert `model` in place to `opset` if its own is older. Raises `InvalidInput` if onnx cannot."""
    import onnx
    from onnx import version_converter

    now = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), opset)
    if now >= opset:
        return False
    if now < 9 and any(node.op_type == "Scan" for node in nodes(model.graph)):
        raise InvalidInput(
            f"The model has a Scan of operator set {now}.",
            "It runs over a batch, and onnx's version converter loses that.",
            "Export the model again with opset 9 or newer.",
        )
    kept = list(model.metadata_props)
    _drop_unused_values(model)
    try:
        converted = version_converter.convert_version(model, opset)
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        raise InvalidInput(
            f"The model's operator set {now} cannot be converted to {opset}: {' '.join(str(error).split())[:200]}",
            f"Runtimes and quantizers need operator set {opset} or newer.",
            f"Export the model again with opset {opset} or newer.",
        ) from None
    model.CopyFrom(converted)
    if not model.metadata_props:  # the converter drops them
        model.metadata_props.extend(kept)
    model.ir_version = max(model.ir_version, onnx.helper.find_min_ir_version_for(model.opset_import))
    if now < 11:
        _resize_as_before_11(model)
    return True


def _drop_unused_values(model: onnx.ModelProto) -> None:
    """Remove the attribute `value` from every Pad that repeats or mirrors: the converter leaves it there, invalid."""
    for node in nodes(model.graph):
        if node.op_type == "Pad" and attributes(node).get("mode", b"constant") != b"constant":
            for attribute in [a for a in node.attribute if a.name == "value"]:
                node.attribute.remove(attribute)


def _ratios(model: onnx.ModelProto, node: onnx.NodeProto) -> np.ndarray:
    """The factors of a Resize with computed scales, for each side, as far as shapes can be inferred."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    values = (*inferred.input, *inferred.value_info, *inferred.output)
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values}
    before, after = shapes.get(node.input[0], []), shapes.get(node.output[0], [])
    return np.array([b / a for a, b in zip(before, after) if a and b], np.float64)


def _resize_as_before_11(model: onnx.ModelProto) -> None:
    """Make every Resize compute what Resize and Upsample computed before operator set 11.

    They had no coordinate modes. The coordinate of a pixel was its index divided by the scale ("asymmetric"), and the
    nearest pixel was the one below; in ONNX Runtime the one above if the image shrinks. The converter instead sets the
    defaults of newer operator sets ("half_pixel", "round_prefer_floor").
    """
    import onnx

    constants = constants_of(model.graph)
    makers = [node for node in nodes(model.graph) if node.op_type == "Constant"]
    constants |= {node.output[0]: a.t for node in makers for a in node.attribute if a.HasField("t")}
    for node in nodes(model.graph):
        if node.op_type != "Resize":
            continue
        modes: dict[str, Any] = {"coordinate_transformation_mode": "asymmetric"}
        if attributes(node).get("mode", b"nearest") == b"nearest":
            scales = constants.get(node.input[2]) if len(node.input) > 2 else None
            ratios = _ratios(model, node) if scales is None else onnx.numpy_helper.to_array(scales)
            if (ratios < 1).any() and (ratios > 1).any():
                raise InvalidInput(
                    f"The Resize '{node.name or node.output[0]}' enlarges one side and reduces the other.",
                    "Before operator set 11 each side had another nearest pixel; no later Resize does both.",
                    "Export the model again with opset 11 or newer.",
                )
            modes["nearest_mode"] = "ceil" if (ratios < 1).any() else "floor"
        others = [a for a in node.attribute if a.name not in modes]
        new = [*others, *(onnx.helper.make_attribute(name, value) for name, value in modes.items())]
        refill(node.attribute, new)
