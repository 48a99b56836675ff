"""An existing ONNX file: verified, cleaned, raised to a current operator set, its spec read or derived."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgewright.core.errors import InvalidInput
from edgewright.graph import clean, files, inputs, metadata, upgrade

from .loaded import Loaded

if TYPE_CHECKING:
    import onnx


def load(path: str, size: tuple[int, int] | None = None, output: str | None = None) -> Loaded:
    """The model at `path`. `size`: (height, width) where the file leaves them open; `output`: the one with the scores.

    Raises `InvalidInput`, `IntegrityError` (see `graph.files.load`).
    """
    model = files.load(path)
    clean.apply(model)
    upgrade.apply(model)
    if output is not None:
        _choose(model, output)
    stored = metadata.get_spec(model)
    spec: dict[str, Any] = msgspec.to_builtins(stored) if stored else {"name": Path(path).stem}
    found = inputs.image(model, size)
    scores = _scores(model)
    spec["input"] = msgspec.to_builtins(found)
    spec["outputs"] = [scores.name]
    classes = inputs.shape(scores)[1:2]
    if classes and classes[0]:
        spec["classes"] = classes[0]
    return Loaded(model, spec, str(path))


def _choose(model: onnx.ModelProto, output: str) -> None:
    kept = [value for value in model.graph.output if value.name == output]
    if not kept:
        raise InvalidInput(
            f"The model has no output '{output}'.",
            f"It has: {', '.join(value.name for value in model.graph.output)}.",
            "Correct `outputs` in the model's TOML.",
        )
    copies = [type(value).FromString(value.SerializeToString()) for value in kept]
    del model.graph.output[:]
    model.graph.output.extend(copies)
    clean.apply(model)


def _scores(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    outputs = list(model.graph.output)
    if len(outputs) != 1:
        raise InvalidInput(
            f"The model has {len(outputs)} outputs: {', '.join(value.name for value in outputs)}.",
            "A classifier has one: the scores of its classes.",
            'Name it in the model\'s TOML: outputs = ["logits"]. Detectors are not supported yet.',
        )
    dims = inputs.shape(outputs[0])
    if outputs[0].type.tensor_type.shape.dim and len(dims) != 2:
        raise InvalidInput(
            f"The output '{outputs[0].name}' has shape {dims}.",
            "A classifier's output is [batch, classes].",
            "Export the model with a flat head. Detectors are not supported yet.",
        )
    return outputs[0]
