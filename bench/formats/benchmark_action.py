"""The two kinds of github-action-benchmark: ``smaller-is-better.json`` and ``bigger-is-better.json``.

The action compares a value with the previous one of the same name by their ratio. A ratio says nothing about
percentages, so accuracy is written as a loss against the reference plus one point, where smaller is better.
"""

from __future__ import annotations

from typing import Any

import msgspec

from edgewright.bench.results import Measurement, Report

from . import values
from .values import Value

SMALLER, BIGGER = "smaller-is-better.json", "bigger-is-better.json"


def render(report: Report) -> dict[str, str]:
    """Return latency, size, memory, energy and the loss of accuracy in one file, throughput and SQNR in the other.

    The action refuses an empty file, so a file without a value is left out.
    """
    smaller: list[dict[str, Any]] = []
    bigger: list[dict[str, Any]] = []
    for id, found in values.variants(report):
        for value in values.of(found, report):
            if value.unit != "%":
                (smaller if value.better == "lower" else bigger).append(_entry(id, value))
        delta = found.accuracy.delta if isinstance(found, Measurement) and found.accuracy else None
        if delta is not None:
            loss = Value(f"{values.primary(report)} loss + 1", max(0.0, -delta.value) + 1, "points", "lower")
            smaller.append(_entry(id, loss))
    files = {SMALLER: smaller, BIGGER: bigger}
    return {name: _text(entries) for name, entries in files.items() if entries}


def _entry(id: str, value: Value) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": f"{id}: {value.name}", "unit": value.unit, "value": value.value}
    if value.low is not None and value.high is not None:
        entry["range"] = f"{value.low:.4g} to {value.high:.4g}"
    return entry


def _text(entries: list[dict[str, Any]]) -> str:
    return msgspec.json.format(msgspec.json.encode(entries), indent=1).decode() + "\n"
