"""A TOML file that says of a model what neither the library nor the ONNX file knows.

It has the fields of a ModelSpec, each optional: ``name``, ``classes``, ``outputs``, ``labels`` or ``labels_file`` (one
name a line), and the tables ``[input]``, ``[preprocess]``, ``[postprocess]``; for a detector ``task = "detect"`` and
the table ``[detect]``. It stands beside the checkpoint or the .onnx as ``<stem>.toml``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from edgewright.core import files
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec, inconsistency

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EXAMPLE = "[input] height, width; [preprocess] resize, resize_to, interpolation, crop, mean, std; labels or labels_file"


def find(beside: str | None, named: str | None) -> Path | None:
    """The TOML to use: the `named` one (which must exist), else ``<stem>.toml`` beside the file `beside`, else None."""
    if named is not None:
        path = files.absolute(named)
        if not path.is_file():
            raise InvalidInput(
                f"There is no file {path}.", "It was named as the model's description.", "Check the path."
            )
        return path
    if beside is None:
        return None
    path = files.absolute(beside).with_suffix(".toml")
    return path if path.is_file() else None


def read(path: Path, named: bool = True) -> dict[str, Any]:
    """The fields of a TOML description; ``labels_file`` is read (from its own folder only) into ``labels``.

    `named`: the user named this file. One that only lies beside a model may be no link that leads elsewhere.
    """
    try:
        if named:
            content = path.read_bytes()
        else:
            with files.open_contained(path.parent, path.name, hard_links=True) as file:
                content = file.read()
        fields = tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{path} is no valid TOML: {error}", "It describes the model.", "Correct that line."
        ) from None
    if (name := fields.pop("labels_file", None)) is not None:
        with files.open_contained(path.parent, str(name)) as file:
            fields["labels"] = file.read().decode("utf-8").split("\n")
        while fields["labels"] and not fields["labels"][-1].strip():
            fields["labels"].pop()
        fields["labels"] = [label.strip() for label in fields["labels"]]
    return fields


def merge(known: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`known` with the fields of `over` laid on top, tables field by field."""
    merged = dict(known)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = {**merged[key], **value} if both else value
    if "classes" not in over and over.get("labels"):
        merged.setdefault("classes", len(over["labels"]))
    elif len(merged.get("labels", ())) != merged.get("classes") and "labels" not in over:
        merged.pop("labels", None)  # names of the library's classes, of which the user's model has another number
    return merged


def settle_bytes(fields: dict[str, Any], over: dict[str, Any]) -> None:
    """Where the model takes the image's bytes (uint8), say in `fields` that the graph normalizes them.

    Raises `InvalidInput` where the user's `over` asks for a normalization before it, which bytes cannot carry.
    """
    if fields.get("input", {}).get("dtype") != "uint8" or "preprocess" not in fields:
        return
    said = over.get("preprocess", {})
    asked = [key for key in ("divide", "mean", "std") if key in said]
    if asked and "normalize" not in said:
        raise InvalidInput(
            f"The description gives [preprocess] {', '.join(asked)}, and the model takes uint8.",
            "Bytes are not normalized before such a model: its graph does that.",
            f"Remove {', '.join(asked)}.",
        )
    fields["preprocess"] = {"normalize": "graph", **fields["preprocess"]}


def build(fields: dict[str, Any], origin: str) -> ModelSpec:
    """The ModelSpec of `fields`; raises `InvalidInput` naming the field that is unknown, missing or inconsistent."""
    absent = [f for f in ("input", "preprocess", "classes") if f not in fields]
    if absent:
        raise InvalidInput(
            f"Nothing says the {', '.join(absent)} of {origin}.",
            "How images are prepared must be as in training; it cannot be guessed.",
            f"Write a TOML beside the model or pass --spec FILE, with: {EXAMPLE}.",
        )
    try:
        spec = msgspec.convert(fields, ModelSpec, strict=True)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            f"The description of {origin} is not valid: {error}.",
            f"Known fields: name, classes, outputs, {EXAMPLE}; [postprocess] scores, top; [detect] decoder ...",
            "Correct the field that is named.",
        ) from None
    if wrong := inconsistency(spec):
        raise InvalidInput(
            f"The description of {origin} contradicts itself: {wrong}.",
            "Images must come out of preprocessing in the size and number of channels that the model takes.",
            "Correct the [input] or [preprocess] table.",
        )
    return spec
