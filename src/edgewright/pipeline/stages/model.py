"""The folder of a model, as stages write it: the graph, its spec, and accompanying files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.core.spec import ModelSpec, decode
from edgewright.core.store import Entry
from edgewright.runtimes import torch as torch_reference

if TYPE_CHECKING:
    from edgewright.graph.precision import Found


MODEL, SPEC, PARITY, REFERENCE = "model.onnx", "spec.json", "parity.json", torch_reference.MODEL


def spec_of(entry: Entry) -> ModelSpec:
    """The ModelSpec in the folder of a model."""
    return decode((entry.path / SPEC).read_bytes(), ModelSpec, SPEC)


def what_is(entry: Entry) -> Found:
    """Whether the ``model.onnx`` of a stage is in float or already quantized."""
    from edgewright.graph import precision

    return precision.read(entry.path / MODEL)


def require_float(entry: Entry) -> None:
    """Raise `InvalidInput` if the model of `entry` is already quantized."""
    from edgewright.graph import precision

    if found := what_is(entry).operators:
        raise precision.already(Path(spec_of(entry).source or MODEL).name, found)
