"""A model's description, flat as people write it: tables ``input`` and ``preprocess``, and a task with its table.

So are the TOML files of users, what sources say of a model, and a ModelSpec of schema 1: the task's name under
``task``, its fields in the table that its section names (``postprocess`` of a classifier, else a table that is called
as the task), ``classes`` and ``labels`` beside it.
"""

from __future__ import annotations

import importlib
from typing import Any

import msgspec

from .errors import InvalidInput

TASK = "classify"
"""The task of a description that names none."""
_ALWAYS = ("postprocess", "detect")
"""Tables that schema 1 wrote for every model, whether its task read them or not."""
_BESIDE = ("classes", "labels")
"""Fields of a section that a description has beside the task's table."""


def section_of(task: str) -> type[msgspec.Struct]:
    """The type of a task's section; `msgspec.ValidationError` where there is no such task."""
    tasks = importlib.import_module("edgewright.tasks")  # by its name: tasks stand on a floor above
    try:
        found: type[msgspec.Struct] = tasks.get(task).section
    except InvalidInput as error:
        raise msgspec.ValidationError(f"{error.what} {error.why}") from error
    return found


def table_of(task: str) -> str:
    """The table of a description that has the fields of this task; raises as `section_of` does."""
    table: str = getattr(section_of(task), "TABLE", "")
    return table or task


def beside(task: str) -> tuple[str, ...]:
    """Which fields of a task's section a description has beside its table."""
    known = {field.name for field in msgspec.structs.fields(section_of(task))}
    return tuple(name for name in _BESIDE if name in known)


def structured(fields: dict[str, Any]) -> dict[str, Any]:
    """The plain data of a ModelSpec from a flat description; one that is no longer flat stays as it is.

    What a section has no field for is kept beside it, so that whoever converts the data hears of it. Raises
    `msgspec.ValidationError` where a table is none, or there is no such task.
    """
    if "inputs" in fields or not isinstance(fields.get("task", ""), str):
        return fields
    rest = dict(fields)
    task = rest.pop("task", TASK)
    table = table_of(task)
    section = {"kind": task, **_table(rest, table)}
    section |= {name: rest[name] for name in beside(task) if name in rest}
    for name in _BESIDE:
        rest.pop(name, None)
    for other in _ALWAYS:
        if not rest.get(other) or other == "postprocess":
            rest.pop(other, None)
    image = {"kind": "image", **_table(rest, "input")}
    if "preprocess" in rest:
        image["preprocess"] = rest.pop("preprocess")
    return {**rest, "inputs": [image], "task": section}


def _table(fields: dict[str, Any], name: str) -> dict[str, Any]:
    found = fields.pop(name, None)
    if not isinstance(found, dict | None):
        raise msgspec.ValidationError(f"Expected `object` - at `$.{name}`")
    return found or {}
