"""docs/reference/report-schema.md: every field of report.json, from its JSON Schema."""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import Any

import text

INTRODUCTION = """
`edgewright optimize` and `edgewright bench` write `report.json`. Its JSON Schema ships with the package:

```python
import json
from importlib import resources

schema = json.loads(resources.files("edgewright.schemas").joinpath("report.schema.json").read_bytes())
print(schema["title"])
```

Every report has the fields in bold. A figure that was not measured is absent; it is never zero. edgewright reads files
of older schema versions and refuses newer ones. `edgewright.api.read_report` returns a report as Python objects with
the same names.
"""
UNITS = {
    "ms": "ms", "s": "s", "per_s": "1/s", "bytes": "bytes", "mhz": "MHz", "hz": "Hz", "percent": "%",
    "w": "W", "mj": "mJ", "c": "°C", "db": "dB",
}  # fmt: skip


def page() -> str:
    """The whole page."""
    schema = json.loads(resources.files("edgewright.schemas").joinpath("report.schema.json").read_bytes())
    parts = [INTRODUCTION]
    for name, one in _in_order(schema["$defs"], "Report"):
        parts += [f"## {text.code(name)}", _about(one), _fields(one)]
    return text.page("Report schema", "Every field of report.json with its type, unit and meaning.", *parts)


def _in_order(structs: dict[str, Any], first: str) -> list[tuple[str, Any]]:
    """The structs as a reader meets them: each behind the one that names it first."""
    order = [first]
    for name in order:
        for found in re.findall(r'"#/\$defs/(\w+)"', json.dumps(structs[name]["properties"])):
            if found not in order:
                order.append(found)
    return [(name, structs[name]) for name in order]


def _about(one: dict[str, Any]) -> str:
    return re.sub(r"``([^`]+)``", r"`\1`", re.sub(r"\n +", "\n", one.get("description", "")))


def _fields(one: dict[str, Any]) -> str:
    required = one.get("required", [])
    rows = []
    for name, field in one["properties"].items():
        unit = _unit(name)
        shown = f"**{text.code(name)}**" if name in required else text.code(name)
        rows.append((shown, f"{_type(field)}, {unit}" if unit else _type(field), field.get("description", "")))
    return text.table(("Field", "Type", "Meaning"), rows)


def _unit(name: str) -> str:
    return next((UNITS[name[at + 1 :]] for at, sign in enumerate(name) if sign == "_" and name[at + 1 :] in UNITS), "")


def _type(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_type(one) for one in field["anyOf"] if one.get("type") != "null")
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[`{name}`](#{name.lower()})"
    if "enum" in field:
        return " or ".join(text.code(json.dumps(value)) for value in field["enum"])
    kind = field.get("type", "any")
    if kind == "array":
        inner = field.get("items")
        return f"list of {_type(inner)}" if isinstance(inner, dict) and inner else "list"
    if kind == "object":
        inner = field.get("additionalProperties")
        return f"object of {_type(inner)}" if isinstance(inner, dict) and inner else "object"
    return kind if isinstance(kind, str) else " or ".join(kind)
