"""Read ONNX files with checks, and write them atomically.

A foreign ONNX file is parsed. edgewright, not onnx, reads its external data into the model, since a location may point
anywhere. The nodes are sorted, and onnx.checker checks the model before any runtime, since runtimes hang on some models
that it rejects.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.core import files
from edgewright.core.errors import InvalidInput
from edgewright.core.lazy import require

from . import order

if TYPE_CHECKING:
    import onnx

Mend = Callable[["onnx.ModelProto", str], object]

LIMIT_BYTES = 2 << 30
"""The limit of protobuf, and so of an ONNX file with its data inside."""

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Operator domains that a supported runtime knows; only ONNX Runtime knows com.microsoft."""

_MAX_ELEMENTS = 1 << 31
_NOT_ONNX = (
    (b"PK\x03\x04", "a ZIP archive, such as a PyTorch checkpoint"),
    (b"\x80", "a Python pickle, such as a PyTorch checkpoint"),
    (b"version https://git-lfs", "a Git LFS pointer: the model itself was not downloaded (git lfs pull)"),
    (b"<", "an HTML or XML page"),
)


def load(path: Path | str, limit_bytes: int = LIMIT_BYTES, mend: Mend | None = None) -> onnx.ModelProto:
    """Read and check the ONNX model at `path`. Its external data is then inside it, and its nodes are sorted.

    `mend` is called with the model and its file's name before operators and types are checked.

    Raises `InvalidInput` for an invalid ONNX model, and for one that is larger than `limit_bytes` with its data. Raises
    `IntegrityError` if its external data points out of the model's folder.
    """
    require("onnx", "host")
    path = files.absolute(path)  # a bare file name has a folder, too, which must contain its external data
    model = _parse(path, limit_bytes)
    _check_versions(model, path.name)
    _inline(model, path, limit_bytes - path.stat().st_size)
    for graph in (model.graph, *model.functions):
        order.apply(graph, path.name)
    if mend is not None:
        _forget_shapes(model)
        mend(model, path.name)
    _check_domains(model, path.name)
    check(model, path.name)
    return model


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write `model` to `path` atomically; the same model gives the same bytes."""
    files.write(path, model.SerializeToString(deterministic=True))


def copy(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model`, for edits that must not change the original."""
    clone = type(model)()
    clone.CopyFrom(model)
    return clone


def check(model: onnx.ModelProto, name: str) -> None:
    """Raise `InvalidInput` unless onnx.checker (with shape inference) accepts the model and its sizes are plausible."""
    import onnx

    try:
        onnx.checker.check_model(model, full_check=True)
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (
        onnx.checker.ValidationError, onnx.shape_inference.InferenceError, RuntimeError, ValueError, TypeError,
    ) as error:  # fmt: skip
        raise InvalidInput(
            f"{name} is not a valid ONNX model: {_one_line(error)}",
            "onnx.checker refuses it, and runtimes crash or hang on such files.",
            "Export the model again, or get an undamaged copy.",
        ) from None
    for value in (*inferred.graph.value_info, *inferred.graph.output):
        elements = 1
        for dim in value.type.tensor_type.shape.dim:
            elements *= max(1, dim.dim_value)
        if elements > _MAX_ELEMENTS:
            raise InvalidInput(
                f"{name} computes the tensor '{value.name}' with {elements} elements.",
                f"A vision model has at most {_MAX_ELEMENTS} in one tensor.",
                "Export the model again, or get an undamaged copy.",
            )


def external_names(path: Path) -> list[str]:
    """The names of the external data files of the ONNX model at `path`; empty if it cannot be read."""
    import onnx

    try:
        model = _parse(path, LIMIT_BYTES)
    except InvalidInput:
        return []  # `load` reports the error
    outside = (t for t in tensors(model) if t.data_location == onnx.TensorProto.EXTERNAL)
    return sorted({e.value for tensor in outside for e in tensor.external_data if e.key == "location"})


def tensors(message: Any) -> Iterator[onnx.TensorProto]:
    """Every tensor in a model: initializers, attributes, subgraphs, functions, training graphs."""
    import onnx

    if isinstance(message, onnx.TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for item in (value,) if hasattr(value, "ListFields") else value:
                yield from tensors(item)


def nodes(graph: Any) -> Iterator[onnx.NodeProto]:
    """Every node of a graph or function, including those of nested graphs."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from nodes(inner)


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes of `node` as Python values; strings as bytes."""
    from onnx import helper

    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def refill(field: Any, items: Iterable[Any]) -> None:
    """Replace the content of a repeated field by `items`, copied first, since clearing the field frees its messages."""
    copies = [type(item).FromString(item.SerializeToString()) for item in items]
    del field[:]
    field.extend(copies)


def pads(node: onnx.NodeProto) -> bool:
    """Whether a convolution or a pool pads its input."""
    attrs = attributes(node)
    return any(attrs.get("pads", [])) or attrs.get("auto_pad") in (b"SAME_UPPER", b"SAME_LOWER")


def _forget_shapes(model: onnx.ModelProto) -> None:
    """Remove a foreign file's shapes of inner tensors, often of another image size; infer missing output shapes."""
    import onnx

    del model.graph.value_info[:]
    if all(value.type.tensor_type.HasField("shape") for value in model.graph.output):
        return
    with contextlib.suppress(onnx.shape_inference.InferenceError, RuntimeError):  # onnx.checker reports the error
        known = {value.name: value for value in onnx.shape_inference.infer_shapes(model).graph.output}
        for value in model.graph.output:
            if value.type.WhichOneof("value") in (None, "tensor_type"):
                value.CopyFrom(known[value.name])


def _parse(path: Path, limit_bytes: int) -> onnx.ModelProto:
    import onnx

    decode_error = require("google.protobuf.message", "host").DecodeError

    if not path.is_file():
        raise InvalidInput(
            f"There is no file {path}.", "It must be an ONNX model.", "Check the path and the current folder."
        )
    if path.stat().st_size > limit_bytes:
        raise _too_large(path.name, path.stat().st_size, limit_bytes)
    content = path.read_bytes()
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except decode_error:
        raise _not_onnx(path.name, content) from None
    # Protobuf accepts foreign bytes as a message without any field.
    if not model.ir_version or not model.opset_import or not model.graph.node:
        raise _not_onnx(path.name, content)
    return model


def _not_onnx(name: str, content: bytes) -> InvalidInput:
    looks = next((what for head, what in _NOT_ONNX if content.startswith(head)), "")
    if not content:
        looks = "empty"
    return InvalidInput(
        f"{name} is not an ONNX model" + (f": it is {looks}." if looks else "."),
        f"Its {len(content)} bytes lack a version, an operator set or a graph; the file may be incomplete.",
        "Pass an .onnx file, or name the checkpoint's source: edgewright export SOURCE --checkpoint FILE",
    )


def _check_versions(model: onnx.ModelProto, name: str) -> None:
    import onnx

    if model.ir_version > onnx.IR_VERSION:
        raise InvalidInput(
            f"{name} has ONNX IR version {model.ir_version}.",
            f"The installed onnx {onnx.__version__} supports versions up to {onnx.IR_VERSION}.",
            "Update onnx, or export the model with an older IR version.",
        )
    newest = onnx.defs.onnx_opset_version()
    for opset in model.opset_import:
        # onnx.checker accepts 2147483647, on which OpenVINO 2026.4 hangs.
        if opset.domain in ("", "ai.onnx") and not 1 <= opset.version <= newest:
            raise InvalidInput(
                f"{name} needs operator set {opset.version}.",
                f"The installed onnx {onnx.__version__} supports operator sets 1 to {newest}.",
                "Update onnx, or export the model with an operator set in that range.",
            )


def _check_domains(model: onnx.ModelProto, name: str) -> None:
    local = {(f.domain, f.name) for f in model.functions}
    found = [n for g in (model.graph, *model.functions) for n in nodes(g)]
    custom = {f"{n.domain}::{n.op_type}" for n in found if n.domain not in DOMAINS} - {"::".join(f) for f in local}
    if custom:
        raise InvalidInput(
            f"{name} uses custom operators: {', '.join(sorted(custom))}.",
            "They come from a plug-in that no supported runtime has.",
            "Export the model without custom operators.",
        )


def _inline(model: onnx.ModelProto, path: Path, budget: int) -> None:
    """Read each external tensor through `open_contained`, and store its bytes in the model."""
    import onnx

    for tensor in tensors(model):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        location, offset, size = _place(tensor, path.name)
        budget -= size
        if budget < 0:
            raise _too_large(path.name, size - budget, LIMIT_BYTES)
        with files.open_contained(path.parent, location) as file:
            have = file.seek(0, 2)
            if offset + size > have:
                raise InvalidInput(
                    f"{path.name}: the data of '{tensor.name}' ends at byte {offset + size} of '{location}'.",
                    f"That file has {have} bytes.",
                    "Copy the data file again: it is incomplete, or belongs to another model.",
                )
            file.seek(offset)
            tensor.raw_data = file.read(size)
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")


def _place(tensor: onnx.TensorProto, name: str) -> tuple[str, int, int]:
    """The location of an external tensor: file name, offset, length in bytes (which must fit its shape and type)."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    size = _bytes_of(tensor)
    wrong = ""
    if size is None:
        wrong = f"shape {list(tensor.dims)} or type {tensor.data_type} that cannot be external"
    elif "location" not in entries or len(entries) != len(tensor.external_data):
        wrong = "no location, or a key twice"
    elif not all(entries.get(key, "0").isdecimal() and len(entries.get(key, "")) < 20 for key in ("offset", "length")):
        wrong = "an offset or length that is not a number"
    elif int(entries.get("length", size)) != size:
        wrong = f"{entries['length']} bytes where its shape and type need {size}"
    if wrong or size is None:
        raise InvalidInput(
            f"{name}: the external data of '{tensor.name}' has {wrong}.",
            "The model file and its data do not fit together.",
            "Export the model again, or get an undamaged copy.",
        )
    return entries["location"], int(entries.get("offset", 0)), size


def _bytes_of(tensor: onnx.TensorProto) -> int | None:
    """The size of a tensor's raw data in bytes, by its shape and type; None if that is undefined."""
    import onnx

    types = onnx.TensorProto
    if tensor.data_type in (types.UNDEFINED, types.STRING) or tensor.data_type not in types.DataType.values():
        return None
    elements = 1
    for dim in tensor.dims:
        if dim < 0:
            return None
        elements *= dim
    bits = 4 if types.DataType.Name(tensor.data_type) in ("INT4", "UINT4", "FLOAT4E2M1") else 0
    if types.DataType.Name(tensor.data_type) in ("INT2", "UINT2"):
        bits = 2
    bits = bits or 8 * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    return (elements * bits + 7) // 8


def _too_large(name: str, size: int, limit: int) -> InvalidInput:
    return InvalidInput(f"{name} has {size} bytes with its data.", f"The limit is {limit}.", "Use a smaller model.")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
