"""The ModelSpec inside an ONNX file: one metadata property, which every ONNX tool keeps or ignores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from edgewright.core.spec import METADATA_KEY, ModelSpec, decode

if TYPE_CHECKING:
    import onnx


def get_spec(model: onnx.ModelProto) -> ModelSpec | None:
    """The spec stored in `model`; None if there is none. Raises `InvalidInput` for a malformed one."""
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            return decode(entry.value, ModelSpec, f"The metadata '{METADATA_KEY}' of the model")
    return None


def set_spec(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Store `spec` in `model`; an older one is replaced."""
    kept = [entry for entry in model.metadata_props if entry.key != METADATA_KEY]
    entry = type(model.metadata_props.add())(key=METADATA_KEY, value=msgspec.json.encode(spec).decode())
    del model.metadata_props[:]
    model.metadata_props.extend([*kept, entry])
