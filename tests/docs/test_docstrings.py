"""Every public name has a docstring that says what its user must know, and is in the API reference.

Public is what ``docs/generate/api.py`` puts on the page ``docs/reference/api.md``: it has all of `edgewright.__all__`.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import example_finder as finder
import msgspec
import pytest

import edgewright

GENERATE = finder.ROOT / "docs/generate"


def groups() -> Any:
    """The groups of names of the API reference."""
    sys.path.insert(0, str(GENERATE))
    try:
        spec = importlib.util.spec_from_file_location("edgewright_api_reference", GENERATE / "api.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(GENERATE))
    return module.groups()


NAMES: dict[str, Any] = {name: value for group in groups() for name, value in group.names.items()}


def members(kind: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that a class defines, and what calling an object of it does."""
    for name, value in vars(kind).items():
        if (name.startswith("_") and name != "__call__") or name == "upgraded":
            continue
        if isinstance(value, property):
            yield name, value.fget
        elif inspect.isfunction(value) or isinstance(value, (staticmethod, classmethod)):
            yield name, getattr(value, "__func__", value)


def functions() -> dict[str, Any]:
    """All public functions, methods and properties."""
    found = {name: value for name, value in NAMES.items() if not inspect.isclass(value)}
    for name, value in NAMES.items():
        if inspect.isclass(value):
            found |= {f"{name}.{member}": function for member, function in members(value)}
    return found


FUNCTIONS = functions()
CLASSES = {name: value for name, value in NAMES.items() if inspect.isclass(value)}
FIGURES = r"ndarray|float"
MEASURE = (
    r"\([A-Z\d][\w +*x]*(?:, [\w +*x]+)*,?\) (?:float32|int64|uint8)|\(\d|pixels|percent|points|milliseconds|seconds"
    r"|0 to \d|shape|`spec\.input`"
)
"""What a docstring says of an array or a figure: shape and type, or the unit."""


def names_in(text: str) -> set[str]:
    """What stands between backquotes."""
    return {name for code in re.findall(r"`+([^`]+)`+", text) for name in re.findall(r"\w+", code)}


def fields_of(kind: type) -> dict[str, str]:
    """The fields of a struct or dataclass with their types."""
    if issubclass(kind, msgspec.Struct):
        return {field.name: str(field.type) for field in msgspec.structs.fields(kind)}
    return {name: str(one.type) for name, one in getattr(kind, "__dataclass_fields__", {}).items()}


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES])
def test_a_public_name_has_a_docstring(name: str) -> None:
    value = FUNCTIONS.get(name) or CLASSES[name]
    assert (value.__doc__ or "").strip(), "there is none"
    assert value.__doc__.strip()[0].isupper() or value.__doc__.strip()[0] in "(`", "it begins with a capital letter"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_parameter_is_named(name: str) -> None:
    given = {one.name for one in inspect.signature(FUNCTIONS[name]).parameters.values() if one.kind != one.VAR_KEYWORD}
    missing = given - {"self"} - names_in(FUNCTIONS[name].__doc__ or "")
    assert not missing, f"the docstring does not name {', '.join(sorted(missing))}"


@pytest.mark.parametrize("name", CLASSES)
def test_every_field_is_named(name: str) -> None:
    if "report-schema.md" in CLASSES[name].__doc__:
        return
    described = names_in("".join(one.__doc__ or "" for one in CLASSES[name].__mro__))  # a section extends `Head`
    missing = set(fields_of(CLASSES[name])) - described - {"schema_version"}
    assert not missing, f"the docstring does not name {', '.join(sorted(missing))}"


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_units_are_given(name: str) -> None:
    value = NAMES[name]
    if inspect.isclass(value):
        figures = any(re.search(FIGURES, kind) for kind in fields_of(value).values())
    else:
        figures = re.search(FIGURES, str(inspect.signature(value).return_annotation)) is not None
    assert not figures or re.search(MEASURE, value.__doc__), "the docstring gives no shape and no unit"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_are_named(name: str) -> None:
    """Those of the function's own `raise` lines; a function of the API names what its work raises."""
    said = FUNCTIONS[name].__doc__ or ""
    tree = ast.parse(textwrap.dedent(inspect.getsource(FUNCTIONS[name])))
    raised = {
        node.exc.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name)
    }
    assert not {error for error in raised if error not in said}
    if name in NAMES:
        assert "Raises" in said


def test_the_reference_has_every_public_name() -> None:
    page = (finder.ROOT / "docs/reference/api.md").read_text(encoding="utf-8")
    assert {f"edgewright.{name}" for name in edgewright.__all__} <= set(NAMES)
    assert [name for name in NAMES if f"### {name}\n" not in page] == []
    last = {name.rpartition(".")[2].replace("__call__", "session") for name in FUNCTIONS}
    assert [name for name in last if not re.search(rf"\b{name}\b", page)] == []


def test_the_example_of_the_package_runs_with_the_others() -> None:
    here = [one for one in finder.found() if one.where.startswith("src/edgewright/__init__.py:")]
    blocks = "".join(one.source for one in here if (one.kind, one.way) == ("python", "run"))
    assert "edgewright.open(" in blocks
    assert "edgewright.optimize(" in blocks
