"""The inputs of a model: one image, or any arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Input, TensorInput

from .index import constants_of

if TYPE_CHECKING:
    import onnx


AS_TENSORS = 'or write task = "tensors" into the model\'s TOML: it takes any inputs and outputs.'
"""The end of a fix that offers the task for every model."""
_KNOWN = get_args(get_type_hints(TensorInput)["dtype"])


def real(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The inputs that a caller must give: those that are not initializers (old exporters list these, too)."""
    initial = constants_of(model.graph)
    return [value for value in model.graph.input if value.name not in initial]


def image(model: onnx.ModelProto, size: tuple[int, int] | None = None) -> Input:
    """The one image input of `model`. Raises `InvalidInput` for another number or kind of inputs.

    `size`: (height, width) for a model that leaves them open.
    """
    found = real(model)
    if len(found) != 1:
        names = ", ".join(f"'{value.name}'" for value in found) or "none"
        raise InvalidInput(
            f"The model takes {len(found)} inputs: {names}.",
            "Only the task tensors takes other inputs than one image.",
            f"Export the model so that images are its only input, {AS_TENSORS}",
        )
    return image_of(found[0], size)


def image_of(value: onnx.ValueInfoProto, size: Sequence[int | None] | None = None) -> Input:
    """The image input `value`; `size`: (height, width) if it leaves them open. Raises `InvalidInput` as `image`."""
    dims, name = shape(value), value.name
    order, dtype = layout(dims), _dtype(value)
    if dtype not in ("float32", "uint8", "int32") or order is None:
        raise InvalidInput(
            f"The input '{name}' has type {dtype} and shape {dims}: that is not an image.",
            "An image input is float32, uint8 or int32, and [batch, 1 or 3, height, width] or [batch, height, width, 1 "
            "or 3].",
            f"Export the model with such an input, {AS_TENSORS}",
        )
    channels, height, width = (dims[i] for i in ((1, 2, 3) if order == "NCHW" else (3, 1, 2)))
    height, width = (height or (size[0] if size else None)), (width or (size[1] if size else None))
    if not height or not width:
        raise InvalidInput(
            f"The input '{name}' leaves height or width open: {dims}.",
            "A bundle is built for one image size.",
            "Give the size in the model's TOML: [input] height = 224, width = 224.",
        )
    kind: Any = dtype
    return Input(
        name=name, height=height, width=width, channels=channels or 3, batch=dims[0], dtype=kind, layout=order
    )  # fmt: skip


def tables(
    model: onnx.ModelProto, said: Mapping[str, Any], images: bool, sample: Mapping[str, Sequence[int]]
) -> dict[str, dict[str, Any]]:
    """The table of each input of `model` by its name, as a description has them (`core.description`).

    `said`: the tables that the user wrote. `images`: whether inputs that look like images are images, because the user
    described their preprocessing. `sample`: the shapes of the arrays of one sample, for sizes that the graph leaves
    open. Raises `InvalidInput` for a size that nobody gives, a type that is not supported, and an unknown name.
    """
    values = {value.name: value for value in real(model)}
    if unknown := next((name for name in said if name not in values), None):
        raise InvalidInput(
            f"The description has the input '{unknown}', but the model has: {', '.join(values)}.",
            "A description cannot add inputs to a graph.",
            "Correct the name of the table below [inputs].",
        )
    found = {}
    for name, value in values.items():
        own = said.get(name, {})
        could = layout(shape(value)) is not None and _dtype(value) in ("float32", "uint8", "int32")
        if own.get("kind", "image" if could and (images or "preprocess" in own) else "tensor") == "image":
            one = image_of(value, (own.get("height"), own.get("width")))
            table = {
                "kind": "image",
                **{k: getattr(one, k) for k in ("height", "width", "channels", "dtype", "layout")},
            }
        else:
            table = _tensor(value, own, sample.get(name))
        if "preprocess" in own:
            table["preprocess"] = own["preprocess"]
        found[name] = {**table, "batch": shape(value)[0] if shape(value) and table.get("batched", True) else 1}
    return found


def _tensor(value: onnx.ValueInfoProto, own: Mapping[str, Any], sample: Sequence[int] | None) -> dict[str, Any]:
    dims, dtype = shape(value), _dtype(value)
    if not value.type.tensor_type.HasField("shape"):
        raise InvalidInput(
            f"The input '{value.name}' has no shape.", "A bundle is built for fixed sizes.", "Export the model again."
        )
    if dtype not in _KNOWN:
        raise InvalidInput(
            f"The input '{value.name}' has the type {dtype}.",
            f"An input is one of: {', '.join(_KNOWN)}.",
            "Export the model with such an input.",
        )
    # Exporters write the batch as an open size, or as 1.
    batched = own.get("batched", bool(dims) and (dims[0] in (None, 1) or layout(dims) is not None))
    rest = dims[1:] if batched else dims
    given = own.get("shape", sample if sample is None or len(sample) == len(rest) else list(sample)[-len(rest) :])
    sides = [side or (given[k] if given is not None and k < len(given) else None) for k, side in enumerate(rest)]
    if None in sides:
        raise InvalidInput(
            f"The input '{value.name}' leaves a size open: {dims}.",
            "A bundle is built for fixed sizes. They come from the model's TOML or from the first sample.",
            f'Write it into the TOML, without the batch: [inputs."{value.name}"] shape = {_example(rest)}',
        )
    return {"kind": "tensor", "shape": sides, "dtype": dtype, "batched": batched}


def _example(sides: Sequence[int | None]) -> str:
    return f"[{', '.join(str(side or 16) for side in sides)}]"


def _dtype(value: onnx.ValueInfoProto) -> str:
    import onnx

    kind = value.type.tensor_type.elem_type
    try:
        return str(onnx.helper.tensor_dtype_to_np_dtype(kind))
    except KeyError:
        return str(onnx.TensorProto.DataType.Name(kind))


def shape(value: onnx.ValueInfoProto) -> list[int | None]:
    """The dimensions of a value; None for each open one."""
    return [dim.dim_value if dim.dim_value > 0 else None for dim in value.type.tensor_type.shape.dim]


def layout(dims: list[int | None]) -> Any:
    """The order of the axes of an image input with these sizes; None if they are not those of images."""
    if len(dims) != 4:
        return None
    if dims[1] in (1, 3):
        return "NCHW"
    return "NHWC" if dims[3] in (1, 3) else None
