"""Count the layers of a plan by precision, from the engine inspector's JSON."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

_TYPES = (
    ("Int8", "int8"), ("FP8", "fp8"), ("E4M3", "fp8"), ("FP4", "fp4"), ("BFloat16", "bf16"), ("BF16", "bf16"),
    ("Half", "f16"), ("FP16", "f16"), ("Float", "f32"), ("FP32", "f32"),
)  # fmt: skip
"""Parts of the inspector's format names ("Int8 NC/32HW32", "Half") and our type names. The order matters."""


def count(text: str) -> dict[str, int]:
    """Count layers by input type ("int8", "f16", "f32", ...), and copies that change type or layout as "reformat".

    A layer with several input types counts as the lowest one, because its other inputs are biases or scales. `text`:
    the result of ``get_engine_information(JSON)`` with detailed profiling verbosity. Layers without types are
    "unknown".
    """
    found: Counter[str] = Counter()
    for layer in json.loads(text).get("Layers", []):
        found[_kind(layer)] += 1
    return dict(found)


def _kind(layer: Any) -> str:
    if isinstance(layer, str):  # names only: the plan was built without detailed verbosity
        return "unknown"
    if layer.get("LayerType") == "Reformat":
        return "reformat"
    formats = [one.get("Format/Datatype", one.get("Datatype", "")) for one in layer.get("Inputs", [])]
    return next((ours for theirs, ours in _TYPES if any(theirs in text for text in formats)), "unknown")
