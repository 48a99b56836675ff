"""docs/reference/api.md: every public name with its signature and docstring. Imports no torch."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, NamedTuple

import msgspec
import text

import edgewright
from edgewright import api
from edgewright.bench.results import Report
from edgewright.boxes.spec import AnchorLevel, Head
from edgewright.core import errors
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.points.crops import Crop, cut
from edgewright.tasks.classify.answer import Classification, Prediction
from edgewright.tasks.classify.spec import Classify
from edgewright.tasks.detect.answer import Detection, Detections
from edgewright.tasks.detect.spec import Detect
from edgewright.tasks.instances.answer import InstanceMask, InstanceMasks
from edgewright.tasks.instances.spec import Instances
from edgewright.tasks.landmarks.answer import Points
from edgewright.tasks.landmarks.spec import Landmarks
from edgewright.tasks.obb.answer import RotatedBox, RotatedBoxes
from edgewright.tasks.obb.spec import Obb
from edgewright.tasks.pose import answer as poses
from edgewright.tasks.pose.spec import Pose

INTRODUCTION = """
`import edgewright` takes milliseconds, because it imports a name only when you use it. The first two groups need
numpy, Pillow, msgspec and one runtime. The third group needs `edgewright[host]`.
"""


class Group(NamedTuple):
    """Names that belong together."""

    title: str
    about: str
    names: dict[str, Any]


def groups() -> tuple[Group, ...]:
    """All that is public, in the order of the page."""
    verbs = ("optimize", "export", "quantize", "prune", "distill", "sensitivity", "compile", "audit", "bench", "gate")
    files = ("read_report", "write_report", "clean_device")
    functions = {f"edgewright.api.{name}": getattr(api, name) for name in (*verbs, *files)}
    functions["edgewright.optimize"] = functions.pop("edgewright.api.optimize")
    first = "edgewright.optimize"
    return (
        Group("On a device", "Open a bundle and run it on images.", {
            "edgewright.open": edgewright.open, "edgewright.Session": edgewright.Session,
            "Classification": Classification, "Prediction": Prediction, "Detections": Detections,
            "Detection": Detection,
            "InstanceMasks": InstanceMasks, "InstanceMask": InstanceMask,
            "RotatedBoxes": RotatedBoxes, "RotatedBox": RotatedBox,
            "Poses": poses.Poses, "Pose": poses.Pose, "Keypoint": poses.Keypoint, "Points": Points,
            "edgewright.points.crops.cut": cut, "Crop": Crop,
        }),
        Group("The description of a model", "The classes of `session.spec`, stored in each exported ONNX file.", {
            "edgewright.ModelSpec": ModelSpec, "Input": Input, "Preprocess": Preprocess, "Classify": Classify,
            "Detect": Detect, "Head": Head, "AnchorLevel": AnchorLevel,
            "Instances": Instances, "pose.spec.Pose": Pose, "Landmarks": Landmarks, "Obb": Obb,
        }),
        Group("On the machine that builds", "One function for each command. `edgewright.optimize` is the main job.", {
            first: functions.pop(first), "Outcome": api.Outcome, "Best": api.Best, "Report": Report, **functions,
        }),
        Group("Errors", "Each is an `EdgewrightError` with an [exit code](exit-codes.md).", {
            "edgewright.EdgewrightError": errors.EdgewrightError, **errors.FAMILIES,
        }),
    )  # fmt: skip


def page() -> str:
    """The whole page."""
    rows = [
        (f"[`{name}`](#{_anchor(name)})", group.title, text.first_sentence(value))
        for group in groups()
        for name, value in group.names.items()
    ]
    parts = [INTRODUCTION, text.table(("Name", "Group", "Meaning"), rows)]
    for group in groups():
        parts += [f"## {group.title}", group.about]
        for name, value in group.names.items():
            parts += _one(name, value)
    return text.page("Python API", "Every public function and class of edgewright with signature and meaning.", *parts)


def _one(name: str, value: Any) -> Iterator[str]:
    yield f"### {name}"
    if inspect.isclass(value):
        yield text.docstring(value)
        yield _fields(value)
        yield _members(value)
    else:
        yield text.fence("python", f"def {signature(name, value)}: ...", "a signature")
        yield text.docstring(value)


def signature(name: str, value: Any) -> str:
    """The call of a function, an argument a line where it is long."""
    found = inspect.signature(value)
    given = [p.replace(default="...") if _is_object(p.default) else p for p in found.parameters.values()]
    given = [p for p in given if p.name != "self"]
    arguments = [_argument(p) for p in given]
    keywords = next((at for at, p in enumerate(given) if p.kind is p.KEYWORD_ONLY), None)
    if keywords is not None and not any(p.kind is p.VAR_POSITIONAL for p in given):
        arguments.insert(keywords, "*")
    answer = "" if found.return_annotation is found.empty else f" -> {_annotation(found.return_annotation)}"
    line = f"{name.rpartition('.')[2]}({', '.join(arguments)}){answer}"
    if len(line) <= 100:
        return line
    inside = "".join(f"    {argument},\n" for argument in arguments)
    return f"{name.rpartition('.')[2]}(\n{inside}){answer}"


def _argument(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    typed = "" if parameter.annotation is parameter.empty else f": {_annotation(parameter.annotation)}"
    if parameter.default is parameter.empty:
        return f"{stars}{parameter.name}{typed}"
    shown = "..." if parameter.default == "..." else repr(parameter.default).replace("'", '"')
    return f"{parameter.name}{typed} = {shown}" if typed else f"{parameter.name}={shown}"


def _annotation(value: Any) -> str:
    shown = value if isinstance(value, str) else getattr(value, "__name__", str(value))
    return str(shown).replace("'", '"')


def _is_object(value: Any) -> bool:
    """Whether a default has a form that says nothing, such as that of a function."""
    plain = (str, int, float, bool, type(None), tuple)
    return value is not inspect.Parameter.empty and not isinstance(value, plain)


def _fields(kind: type) -> str:
    rows = [(text.code(name), text.code(_typed(kind, name)), _shown(default)) for name, default in _defaults(kind)]
    return text.table(("Field", "Type", "Default"), rows) if rows else ""


def _defaults(kind: type) -> Iterator[tuple[str, Any]]:
    if issubclass(kind, msgspec.Struct):
        for field in msgspec.structs.fields(kind):
            default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory
            yield field.name, MISSING if default is msgspec.NODEFAULT else default
    elif is_dataclass(kind):
        for one in fields(kind):
            yield one.name, one.default


def _typed(kind: type, name: str) -> str:
    found = next(
        str(base.__annotations__[name]) for base in kind.__mro__ if name in getattr(base, "__annotations__", {})
    )
    return re.sub(r"Annotated\[(.+?), msgspec\.Meta\(.*?\)\]", r"\1", found)


def _shown(default: Any) -> str:
    if default is MISSING:
        return "**required**"
    if callable(default):
        default = default()
    return text.code(repr(default) if len(repr(default)) < 40 else "...")


def _members(kind: type) -> str:
    """Methods, properties and `__call__` with the first paragraph of their docstrings."""
    parts = []
    for name, value in vars(kind).items():
        if (name.startswith("_") and name != "__call__") or name == "upgraded":
            continue
        if isinstance(value, property):
            parts.append(f"- `{name}`: {_line(value.fget)}")
        elif inspect.isfunction(value) or isinstance(value, (staticmethod, classmethod)):
            function = getattr(value, "__func__", value)
            call = " ".join(signature(name, function).split()).replace("( ", "(").replace(", )", ")")
            call = call.replace("__call__(", "session(") if name == "__call__" else call
            parts.append(f"- `{call}`: {_line(function)}")
    return "\n".join(parts)


def _line(function: Any) -> str:
    return " ".join(text.docstring(function).split())


def _anchor(name: str) -> str:
    return re.sub(r"[^\w-]", "", name.lower())
