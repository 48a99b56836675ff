"""The flat description of a model, as people write it: tables ``input`` and ``preprocess``, and a table of the task.

A model with several inputs, or with an array as input, has the table ``inputs`` instead: one table for each input, by
its name. Then ``preprocess`` is the preprocessing of every image input that has none of its own.

The TOML files of users, the descriptions by sources, and a ModelSpec of schema 1 have this form. ``task`` is the task's
name. Its fields are in the table that its section names: ``postprocess`` for a classifier, else a table with the task's
name. ``classes`` and ``labels`` are at the top level.
"""

from __future__ import annotations

import importlib
from typing import Any

import msgspec

from .errors import InvalidInput

TASK = "classify"
"""The task of a description without the field ``task``."""
_ALWAYS = ("postprocess", "detect")
"""Tables that schema 1 wrote for every model, even if its task did not read them."""
_BESIDE = ("classes", "labels")
"""Fields of a section that a description has at the top level."""


def section_of(task: str) -> type[msgspec.Struct]:
    """The type of a task's section. Raises `msgspec.ValidationError` for an unknown task."""
    tasks = importlib.import_module("edgewright.tasks")  # by name: core must not import it
    try:
        found: type[msgspec.Struct] = tasks.get(task).section
    except InvalidInput as error:
        raise msgspec.ValidationError(f"{error.what} {error.why}") from error
    return found


def table_of(task: str) -> str:
    """The name of the description's table for this task. Raises as `section_of` does."""
    table: str = getattr(section_of(task), "TABLE", "")
    return table or task


def top_level_fields(task: str) -> tuple[str, ...]:
    """The fields of a task's section that a description has at the top level."""
    known = {field.name for field in msgspec.structs.fields(section_of(task))}
    return tuple(name for name in _BESIDE if name in known)


def structured(fields: dict[str, Any]) -> dict[str, Any]:
    """The plain data of a ModelSpec from a flat description; data that is already structured is returned unchanged.

    Fields that the section lacks are kept, so that the conversion reports them. Raises `msgspec.ValidationError` for an
    unknown task, and for a table of another type.
    """
    if isinstance(fields.get("inputs"), (list, tuple)) or not isinstance(fields.get("task", ""), str):
        return fields
    rest = dict(fields)
    task = rest.pop("task", TASK)
    table = table_of(task)
    section = {"kind": task, **_table(rest, table)}
    section |= {name: rest[name] for name in top_level_fields(task) if name in rest}
    for name in _BESIDE:
        rest.pop(name, None)
    for other in _ALWAYS:
        if not rest.get(other) or other == "postprocess":
            rest.pop(other, None)
    inputs = _inputs(rest)
    return {**rest, "inputs": inputs, "task": section}


def is_image(table: dict[str, Any]) -> bool:
    """Whether the table of one of several inputs is that of an image."""
    return bool(
        table.get("kind", "image" if {"preprocess", "height", "layout"} & table.keys() else "tensor") == "image"
    )


def _inputs(rest: dict[str, Any]) -> list[dict[str, Any]]:
    """The inputs of a description; their tables are removed from `rest`."""
    shared = {"preprocess": rest.pop("preprocess")} if "preprocess" in rest else {}
    if "inputs" not in rest:
        return [{"kind": "image", **_table(rest, "input"), **shared}]
    found = []
    for name, table in _table(rest, "inputs").items():
        if not isinstance(table, dict):
            raise msgspec.ValidationError(f"Expected `object` - at `$.inputs.{name}`")
        image = is_image(table)
        found.append({"kind": "image" if image else "tensor", "name": name, **(shared if image else {}), **table})
    return found


def _table(fields: dict[str, Any], name: str) -> dict[str, Any]:
    found = fields.pop(name, None)
    if not isinstance(found, dict | None):
        raise msgspec.ValidationError(f"Expected `object` - at `$.{name}`")
    return found or {}
