"""The inputs of a model: its one image input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Input

from .index import constants_of

if TYPE_CHECKING:
    import onnx


def real(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The inputs that a caller must give: those that are not initializers (old exporters list these, too)."""
    initial = constants_of(model.graph)
    return [value for value in model.graph.input if value.name not in initial]


def image(model: onnx.ModelProto, size: tuple[int, int] | None = None) -> Input:
    """The one image input of `model`. Raises `InvalidInput` for another number or kind of inputs.

    `size`: (height, width) for a model that leaves them open.
    """
    import onnx

    found = real(model)
    if len(found) != 1:
        names = ", ".join(f"'{value.name}'" for value in found) or "none"
        raise InvalidInput(
            f"The model takes {len(found)} inputs: {names}.",
            "edgewright builds models with exactly one image input.",
            "Export the model so that images are its only input.",
        )
    tensor, name = found[0].type.tensor_type, found[0].name
    dims = shape(found[0])
    kinds: dict[int, Any] = {
        onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.UINT8: "uint8", onnx.TensorProto.INT32: "int32",
    }  # fmt: skip
    layout = _layout(dims)
    if tensor.elem_type not in kinds or layout is None:
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
        raise InvalidInput(
            f"The input '{name}' has type {kind} and shape {dims}: that is not an image.",
            "An image input is float32, uint8 or int32, and [batch, 1 or 3, height, width] or [batch, height, width, 1 "
            "or 3].",
            "Export the model with such an input.",
        )
    channels, height, width = (dims[i] for i in ((1, 2, 3) if layout == "NCHW" else (3, 1, 2)))
    height, width = (height or (size and size[0])), (width or (size and size[1]))
    if not height or not width:
        raise InvalidInput(
            f"The input '{name}' leaves height or width open: {dims}.",
            "A bundle is built for one image size.",
            "Give the size in the model's TOML: [input] height = 224, width = 224.",
        )
    return Input(
        name=name, height=height, width=width, channels=channels or 3, batch=dims[0],
        dtype=kinds[tensor.elem_type], layout=layout,
    )  # fmt: skip


def shape(value: onnx.ValueInfoProto) -> list[int | None]:
    """The dimensions of a value; None for each open one."""
    return [dim.dim_value if dim.dim_value > 0 else None for dim in value.type.tensor_type.shape.dim]


def _layout(dims: list[int | None]) -> Any:
    if len(dims) != 4:
        return None
    if dims[1] in (1, 3):
        return "NCHW"
    return "NHWC" if dims[3] in (1, 3) else None
