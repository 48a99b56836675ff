"""The TOML description of a model: facts that neither the library nor the ONNX file knows.

It has the fields of a ModelSpec, all optional: ``name``, ``classes``, ``outputs``, ``labels`` or ``labels_file`` (one
name per line), and the tables ``[input]``, ``[preprocess]``, ``[postprocess]``. A model of any inputs (``task =
"tensors"``) has a table ``[inputs.NAME]`` for each input. For a detector it has ``task =
"detect"`` and the table ``[detect]``; for another task its name and a table with that name (`core.description`). It is
stored next to the checkpoint or the .onnx as ``<stem>.toml``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import msgspec

from edgewright import tasks
from edgewright.core import description, files
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Count, Input, ModelSpec, Preprocess, TensorInput, convert, inconsistency

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EXAMPLE = "[input] height, width; [preprocess] resize, resize_to, interpolation, crop, mean, std; labels or labels_file"

_FORMS = {
    "name": "a text",
    "classes": "a whole number from 1 to 10000000",
    "outputs": 'a list of texts, such as ["logits"]',
    "labels": 'a list of texts, one for each class, such as ["cat", "dog"]',
    "labels_file": 'a text, the name of a file next to the description, such as "labels.txt"',
}
"""The type of each top-level field, as text for messages."""
_TYPES: dict[str, Any] = {
    "name": str, "source": str, "classes": Count, "outputs": tuple[str, ...], "labels": tuple[str, ...],
    "labels_file": str,
}  # fmt: skip


def find(model_file: str | None, named: str | None) -> Path | None:
    """The TOML to use: the `named` one (which must exist), else ``<stem>.toml`` next to the file `model_file`, else
    None."""
    if named is not None:
        path = files.absolute(named)
        if not path.is_file():
            raise InvalidInput(
                f"There is no file {path}.", "You named it as the model's description.", "Check the path."
            )
        return path
    if model_file is None:
        return None
    path = files.absolute(model_file).with_suffix(".toml")
    return path if path.is_file() else None


def read(path: Path, named: bool = True) -> dict[str, Any]:
    """The fields of a TOML description; ``labels_file`` is read (from the same folder only) into ``labels``.

    `named`: the user named this file. Otherwise it must not be a link that leads elsewhere. Raises `InvalidInput` if
    the file is not TOML, or if a field has a value of a wrong type. Unknown and missing fields are found later, by
    `build`.
    """
    try:
        if named:
            content = path.read_bytes()
        else:
            with files.open_contained(path.parent, path.name, hard_links=True) as file:
                content = file.read()
        fields = tomllib.loads(content.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{path} is not a valid TOML: {error}", "It describes the model.", "Correct that line."
        ) from None
    if isinstance(fields.get("outputs"), str):
        fields["outputs"] = [fields["outputs"]]
    _check_types(fields, path)
    if (name := fields.pop("labels_file", None)) is not None:
        fields["labels"] = _labels(path.parent, name)
    return fields


def _check_types(fields: dict[str, Any], path: Path) -> None:
    """Raise `InvalidInput`, which names the first field with a value of a wrong type, at top level or in a table."""
    tables = _tables()
    for key, value in fields.items():
        if key == "inputs":
            _check_inputs(value, path)
        elif key in tables:
            if not isinstance(value, dict):
                raise _wrong_type(path, f"`{key}`", value, f"It must be a table, such as [{key}].")
            _check_table(value, tables[key], key, path)
        elif key == "task" and value not in tasks.names():
            known = " or ".join(f'"{name}"' for name in tasks.names())
            raise _wrong_type(path, "`task`", value, f"It must be {known}.")
        elif key in _TYPES and (why := _misfit(value, _TYPES[key])):
            raise _wrong_type(path, f"`{key}`", value, f"It must be {_FORMS[key]}." if key in _FORMS else f"{why}.")


def _check_inputs(value: Any, path: Path) -> None:
    """Check the tables of several inputs."""
    if not isinstance(value, dict) or not all(isinstance(table, dict) for table in value.values()):
        raise _wrong_type(path, "`inputs`", value, "It must hold a table for each input, such as [inputs.NAME].")
    for name, table in value.items():
        kind = Input if description.is_image(table) else TensorInput
        _check_table(table, kind, f"inputs.{name}", path)


def _check_table(table: dict[str, Any], kind: Any, name: str, path: Path) -> None:
    inner = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    for key, entry in table.items():
        if key in inner and (why := _misfit(entry, inner[key])):
            raise _wrong_type(path, f"`{key}` in [{name}]", entry, f"{why}.")


def _tables() -> dict[str, Any]:
    """The tables of a description, with the types of their fields."""
    own = {description.table_of(name): description.section_of(name) for name in tasks.names()}
    return {"input": Input, "preprocess": Preprocess, **own}


def _misfit(value: Any, kind: Any) -> str:
    """Why `value` cannot be converted to `kind`, as text; empty if it can."""
    try:
        msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        return str(error)
    return ""


def _wrong_type(path: Path, field: str, value: Any, why: str) -> InvalidInput:
    shown = str(value) if len(str(value)) <= 60 else f"{str(value)[:60]}..."
    shown = f"'{shown}'" if isinstance(value, str) else shown
    return InvalidInput(f"{path} is not valid: {field} is {shown}.", why, f"Correct {field}.")


def _labels(folder: Path, name: str) -> list[str]:
    """The labels in the file `name` of `folder`, one per line; empty lines at the end are ignored."""
    with files.open_contained(folder, name) as file:
        content = file.read()
    try:
        labels = [line.strip() for line in content.decode("utf-8-sig").split("\n")]
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InvalidInput(
            f"{folder / name} is not UTF-8: byte {error.object[error.start]:#04x} in line {line}.",
            "`labels_file` must be a text file in UTF-8, with one label on each line.",
            "Save it as UTF-8.",
        ) from None
    while labels and not labels[-1]:
        labels.pop()
    return labels


def merge(known: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`known` with the fields of `over` instead of its own, also inside tables."""
    merged = dict(known)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        own = value
        if both and key == "inputs":
            own = {name: {**merged[key].get(name, {}), **table} for name, table in value.items()}
        merged[key] = {**merged[key], **own} if both else own
    if "classes" not in over and over.get("labels"):
        merged.setdefault("classes", len(over["labels"]))
    elif len(merged.get("labels", ())) != merged.get("classes") and "labels" not in over:
        merged.pop("labels", None)  # names of the library's classes: the user's model has another number of classes
    return merged


def settle_bytes(fields: dict[str, Any], over: dict[str, Any]) -> None:
    """If the model takes the image's pixels (uint8 or int32), set in `fields` that the graph normalizes.

    Raises `InvalidInput` if the user's `over` has a normalization, which is not possible before integers.
    """
    for table in fields.get("inputs", {}).values():
        if description.is_image(table) and table.get("dtype") in ("uint8", "int32"):
            table["preprocess"] = {"normalize": "graph", **fields.get("preprocess", {}), **table.get("preprocess", {})}
    dtype = fields.get("input", {}).get("dtype")
    if dtype not in ("uint8", "int32") or "preprocess" not in fields:
        return
    said = over.get("preprocess", {})
    asked = [key for key in ("divide", "mean", "std") if key in said]
    if asked and "normalize" not in said:
        raise InvalidInput(
            f"The description has [preprocess] {', '.join(asked)}, but the model takes {dtype}.",
            "The graph of such a model normalizes.",
            f"Remove {', '.join(asked)}.",
        )
    fields["preprocess"] = {"normalize": "graph", **fields["preprocess"]}


def build(fields: dict[str, Any], origin: str) -> ModelSpec:
    """The ModelSpec of `fields`. Raises `InvalidInput`, which names an unknown, missing or inconsistent field."""
    task = fields.get("task", description.TASK)
    needed = [] if "inputs" in fields else ["input", "preprocess"]
    absent = [f for f in (*needed, *description.top_level_fields(task)) if f not in fields and f != "labels"]
    if absent:
        raise InvalidInput(
            f"The {', '.join(absent)} of {origin} is unknown.",
            "The preprocessing must be the same as in training, so edgewright does not guess it.",
            f"Write a TOML next to the model, or pass --spec FILE, with: {EXAMPLE}.",
        )
    table = description.table_of(task)
    if others := [
        name for name in sorted(_tables().keys() - {"input", "preprocess", "postprocess", table}) if fields.get(name)
    ]:
        raise InvalidInput(
            f"The description of {origin} has the table [{others[0]}], but its task is {task}.",
            'The table belongs to another task: a detector has task = "detect" and a table [detect].',
            f"Correct the task, or remove [{others[0]}].",
        )
    try:
        spec = convert(description.structured(fields), ModelSpec)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            f"The description of {origin} is not valid: {_as_written(str(error), table)}.",
            f"Known fields: name, classes, outputs, {EXAMPLE}; [postprocess] scores, top; [detect] decoder ...; for "
            "the task tensors [inputs.NAME] shape, dtype, batched, or the fields of an image.",
            "Correct the named field.",
        ) from None
    if wrong := inconsistency(spec):
        raise InvalidInput(
            f"The description of {origin} contradicts itself: {wrong}.",
            "Preprocessing must give the size and the number of channels that the model takes.",
            "Correct the [input] or [preprocess] table.",
        )
    return spec


def _as_written(text: str, table: str) -> str:
    """msgspec's message about the data of a spec, with paths as in the description."""
    text = re.sub(r" - at `\.(classes|labels)([^`]*)` - at `\$\.task`", r" - at `$.\1\2`", text)
    text = re.sub(r" - at `\.([^`]*)` - at `\$\.task`", rf" - at `$.{table}.\1`", text)
    text = text.replace("`$.task`", f"`$.{table}`").replace("$.inputs[0].preprocess", "$.preprocess")
    return text.replace("$.inputs[0]", "$.input")
