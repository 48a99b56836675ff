"""How many layers of a plan run in which precision, from the engine inspector's JSON."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

_TYPES = (
    ("Int8", "int8"), ("FP8", "fp8"), ("E4M3", "fp8"), ("FP4", "fp4"), ("BFloat16", "bf16"), ("BF16", "bf16"),
    ("Half", "f16"), ("FP16", "f16"), ("Float", "f32"), ("FP32", "f32"),
)  # fmt: skip
"""Parts of the inspector's names of formats ("Int8 NC/32HW32", "Half") and what we call the type; the order counts."""


def count(text: str) -> dict[str, int]:
    """Layers by the type that they read ("int8", "f16", "f32", ...), and "reformat": copies that change type or layout.

    A layer that reads several types counts as the lowest of them: its other inputs are biases or scales. `text` is
    what ``get_engine_information(JSON)`` gives with detailed profiling verbosity; layers without types are "unknown".
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
