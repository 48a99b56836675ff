"""An existing ONNX file: verified, cleaned, raised to a current operator set, its spec read or derived."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Detect
from edgewright.graph import clean, files, inputs, metadata, upgrade

from . import ultralytics_onnx
from .loaded import Loaded

if TYPE_CHECKING:
    import onnx


DECODERS = ", ".join(get_args(msgspec.structs.fields(Detect)[0].type))


def load(
    path: str,
    size: tuple[int, int] | None = None,
    outputs: Sequence[str] = (),
    task: str | None = None,
) -> Loaded:
    """The model at `path`. `size`: (height, width) where the file leaves them open; `outputs`: the ones to read, in
    that order (default: all); `task` "detect" where they hold boxes, else they are one array of class scores. A
    detector that Ultralytics exported needs neither: its metadata is read, and its decoding is cut off (`graph.cut`).

    Raises `InvalidInput`, `IntegrityError` (see `graph.files.load`).
    """
    model = files.load(path)
    clean.apply(model)
    upgrade.apply(model)
    if outputs:
        _choose(model, outputs)
    stored = metadata.get_spec(model)
    spec: dict[str, Any] = msgspec.to_builtins(stored) if stored else {"name": Path(path).stem}
    found = inputs.image(model, size)
    spec["input"] = msgspec.to_builtins(found)
    notes: tuple[str, ...] = ()
    if stored is None and task is None and not outputs:
        spec |= ultralytics_onnx.spec_of(model, found)
        if spec.get("detect", {}).get("decoder") == "boxes":
            spec, notes = ultralytics_onnx.cut_decoding(model, spec, found)
    if (task or spec.get("task")) == "detect":
        spec["outputs"] = [value.name for value in model.graph.output]
        return Loaded(model, spec, str(path), notes)
    scores = _scores(model)
    spec["outputs"] = [scores.name]
    classes = inputs.shape(scores)[1:2]
    if classes and classes[0]:
        spec["classes"] = classes[0]
    return Loaded(model, spec, str(path))


def _choose(model: onnx.ModelProto, outputs: Sequence[str]) -> None:
    known = {value.name: type(value).FromString(value.SerializeToString()) for value in model.graph.output}
    if unknown := [name for name in outputs if name not in known]:
        raise InvalidInput(
            f"The model has no output '{unknown[0]}'.",
            f"It has: {', '.join(known)}.",
            "Correct `outputs` in the model's TOML.",
        )
    del model.graph.output[:]
    model.graph.output.extend(known[name] for name in outputs)
    clean.apply(model)


def _scores(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    found = list(model.graph.output)
    if len(found) != 1 or (found[0].type.tensor_type.shape.dim and len(inputs.shape(found[0])) != 2):
        shapes = ", ".join(f"'{value.name}' {inputs.shape(value)}" for value in found)
        raise InvalidInput(
            f"The model gives {shapes}.",
            "A classifier has one output [batch, classes]; what a detector's outputs mean cannot be guessed.",
            'Name the scores in the model\'s TOML: outputs = ["logits"]; or, for a detector: task = "detect" and '
            f"[detect] decoder = one of {DECODERS}.",
        )
    return found[0]
