"""The text that names a source: ``kind:name?option=value&option=value``."""

from __future__ import annotations

import ast
import difflib
import re
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from edgewright.core import files
from edgewright.core.errors import UsageError

EXAMPLES = (
    "timm:resnet18?num_classes=10, torchvision:squeezenet1_1, ultralytics:yolo11n, "
    "transformers:NAME-or-folder, torch:package.module:factory?width=0.5, torch:models.py:factory, or a path to an "
    ".onnx or .tflite file or to a folder that prune or distill wrote"
)
LIBRARIES = ("timm", "torchvision", "transformers", "ultralytics")
GRAPHS = ("onnx", "tflite")
"""Kinds of sources that are a file with a graph, which contains its own weights."""
WEIGHTS = (".safetensors", ".pt", ".pth", ".ckpt")
PLAN = "plan.json"
"""The file that makes a folder a source (see `plan`)."""
_FACTORY = re.compile(r"([\w.]+|.+\.py):[A-Za-z_]\w*")


class ParsedSource(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed source: the library, the model's name (or path) in it, and the options to build it."""

    kind: str
    name: str
    options: dict[str, Any] = {}
    text: str = ""

    @property
    def is_graph(self) -> bool:
        """Whether the source is a file with a graph instead of a torch module."""
        return self.kind in GRAPHS

    @property
    def may_have_any_task(self) -> bool:
        """Whether a description of the user, and not the library, names the task."""
        return self.is_graph or self.kind == "torch"


def parse(text: str) -> ParsedSource:
    """Parse `text`. Raises `UsageError` if it names no source.

    Values after ``?`` become Python literals if possible (``10``, ``0.5``, ``true``, ``none``, ``[1,2]``), else
    strings.
    """
    body, _, query = text.partition("?")
    values = {key: literal(value) for key, value in parse_qsl(query, keep_blank_values=True)}
    kind, colon, name = body.partition(":")
    if colon and name and kind in LIBRARIES:
        return ParsedSource(kind=kind, name=name, options=values, text=text)
    if kind == "torch" and _FACTORY.fullmatch(name):
        return ParsedSource(kind="torch", name=name, options=values, text=text)
    for graph in GRAPHS:
        if body.endswith(f".{graph}"):
            return ParsedSource(kind=graph, name=body, options=values, text=text)
    if (files.absolute(body) / PLAN).is_file():
        return ParsedSource(kind="plan", name=body, options=values, text=text)
    if body.endswith(WEIGHTS):
        raise UsageError(
            f"'{text}' is a file of weights.", "A source names the architecture. --checkpoint names its weights.",
            f"For Ultralytics: ultralytics:{body} --trust-checkpoint. For other libraries e.g. "
            f"'timm:resnet18?num_classes=10' --checkpoint {body}",
        )  # fmt: skip
    raise UsageError(f"'{text}' is not a source.", f"Known forms: {EXAMPLES}.", _hint(body))


def _hint(body: str) -> str:
    """What the user probably meant by a text that is not a source. Only ``torch:`` runs code."""
    kind, colon, name = body.partition(":")
    known = (*LIBRARIES, "torch")
    if colon and name and (near := difflib.get_close_matches(kind.lower(), known, 1, cutoff=0.5)):
        return f"Did you mean '{near[0]}:{name}'?"
    if _FACTORY.fullmatch(body):
        return f"If it is a factory in your own code: torch:{body}"
    if re.fullmatch(r"[A-Za-z]\w+", body):
        return f"Name the library, for example timm:{body}"
    return "Write the source in one of these forms."


def literal(value: str) -> Any:
    """The Python value of an option's text."""
    words = {"true": True, "false": False, "none": None}
    if value.lower() in words:
        return words[value.lower()]
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value
