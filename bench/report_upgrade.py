"""Convert older files of ``report.json`` to the current schema.

Schema 1 had a field for each score of an accuracy (`top1`, `top1_interval`, `top5`, `map`, `ap50` ...) and one `delta`.
A classifier also had `right`: one bit per image (`numpy.packbits`, base64).
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from edgewright import tasks
from edgewright.tasks.scores import pack

_SCORES = ("top1", "top5", "map", "ap50", "ap75", "map_small", "map_medium", "map_large")
_UNREADABLE = "?"


def upgrade(report: dict[str, Any]) -> dict[str, Any]:
    """Convert `report`, the JSON of a schema 1 file, to schema 2. JSON that is not a report stays invalid."""
    model, reference = report.get("model"), report.get("reference")
    task = model.get("task", "classify") if isinstance(model, dict) else "classify"
    primary = tasks.get(task).metric.SCORES[0].name if task in tasks.names() else ""
    found = {**report, "schema_version": 2}
    if isinstance(reference, dict):
        found["reference"] = _row(reference, primary)
    if isinstance(rows := report.get("measurements"), list):
        found["measurements"] = [_row(row, primary) if isinstance(row, dict) else row for row in rows]
    return found


def _row(row: dict[str, Any], primary: str) -> dict[str, Any]:
    accuracy = row.get("accuracy")
    return {**row, "accuracy": _accuracy(accuracy, primary)} if isinstance(accuracy, dict) else row


def _accuracy(old: dict[str, Any], primary: str) -> dict[str, Any]:
    gone = {*_SCORES, "top1_interval", "delta", "right"}
    found = {name: value for name, value in old.items() if name not in gone}
    scores = {name: {"value": old[name]} for name in _SCORES if old.get(name) is not None}
    for name, place, field in (("top1_interval", "top1", "interval"), ("delta", primary, "delta")):
        if place in scores and old.get(name) is not None:
            scores[place][field] = old[name]
    if old.get("right") is not None and old.get("contributions") is None:
        found["contributions"] = _contributions(old["right"], old.get("images"))
    return {**found, "scores": scores, "primary": primary}


def _contributions(right: Any, images: Any) -> str:
    """Convert bits of right and wrong to 100 and 0. Unreadable text stays as it is, and the gate reports it."""
    try:
        bits = np.frombuffer(base64.b64decode(right, validate=True), np.uint8)
        if len(bits) != -(-images // 8):
            return _UNREADABLE
        return pack(100.0 * np.unpackbits(bits, count=images).astype(np.float32))
    except (TypeError, ValueError):
        return _UNREADABLE
