"""The tables of the reference pages have the names and defaults of the code, no more and no fewer."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgewright import tasks
from edgewright.bench import audit, chance, figures, metrics, report_formats
from edgewright.bench.budget import UNITS
from edgewright.boxes.spec import AnchorLevel, Decoder, Head
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.pipeline.recipe import Recipe
from edgewright.quantize import methods
from edgewright.quantize.qdq.tensorrt_rules import RULES, WARNINGS
from edgewright.runtimes.artifact import Artifact
from edgewright.runtimes.bundle import Manifest
from edgewright.runtimes.options import Builder, Options
from edgewright.tasks.classify.spec import Classify
from edgewright.tasks.detect.spec import Detect
from edgewright.tasks.instances.spec import Instances
from edgewright.tasks.landmarks.spec import Landmarks
from edgewright.tasks.obb.spec import Obb
from edgewright.tasks.pose.spec import Pose

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs/reference"
CODE = ("src/edgewright", "export", "quantize", "runtimes", "bench", "targets")
BESIDE = {"kind", "classes", "labels"}
"""Fields of a task's section that a description has at its top level."""


def rows(page: str, heading: str = "") -> list[list[str]]:
    """The cells of all tables in a page, or below one heading of it, without head and rule."""
    text = (REFERENCE / page).read_text(encoding="utf-8")
    if heading:
        _, found, text = text.partition(f"\n{heading}\n")
        assert found, f"{page} has no heading {heading}"
        text = re.split(rf"^#{{1,{heading.count('#')}}} ", text, maxsplit=1, flags=re.MULTILINE)[0]
    found_rows = []
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        found_rows += [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()[2:]]
    return found_rows


def quoted(cell: str) -> list[str]:
    """What stands between backquotes in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def names(found: list[list[str]]) -> list[str]:
    """The names in the first column."""
    return [name for row in found for name in quoted(row[0])]


def defaults(kind: Any) -> dict[str, Any]:
    """The default of each field as JSON; `...` for a field without one."""
    found = {}
    for field in msgspec.structs.fields(kind):
        made = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
        found[field.name] = ... if made is msgspec.NODEFAULT else json.loads(msgspec.json.encode(made))
    return found


def require_defaults(found: list[list[str]], kind: Any, column: int = 2) -> None:
    """Each row shows the default of its field: a dash for None, text for one that the code does not have."""
    known = defaults(kind)
    for row in found:
        for name in quoted(row[0]):
            shown = row[column]
            if known.get(name, ...) is None:
                assert shown == "—", name
            elif name in known and known[name] is not ... and shown.startswith("`"):
                assert json.loads(shown.strip("`")) == known[name], name


@pytest.mark.parametrize(
    ("page", "heading", "kind", "without"),
    [
        ("recipe.md", "## TensorRT builder", Builder, set()),
        ("model-spec.md", "## `[input]`", Input, {"preprocess"}),
        ("model-spec.md", "## `[preprocess]`", Preprocess, set()),
        ("model-spec.md", "## `[postprocess]` of a classifier", Classify, BESIDE),
    ],
)
def test_a_table_has_the_fields_of_its_struct(page: str, heading: str, kind: Any, without: set[str]) -> None:
    found = rows(page, heading)
    assert sorted(names(found)) == sorted(set(kind.__struct_fields__) - without)
    require_defaults(found, kind)


def test_every_key_of_a_recipe_is_described() -> None:
    found = [
        row
        for part in ("What is built", "How long it works", "How it measures")
        for row in rows("recipe.md", f"## {part}")
    ]
    assert sorted(names(found)) == sorted(Recipe.__struct_fields__)
    require_defaults(found, Recipe)


def test_every_int8_method_is_described() -> None:
    assert sorted(names(rows("recipe.md", "## INT8 methods"))) == sorted(methods.METHODS | methods.OTHERS)


def test_every_field_of_a_detector_is_described() -> None:
    found = rows("model-spec.md", "## `[detect]` of a detector")
    anchors = set(AnchorLevel.__struct_fields__)
    assert sorted(names(found)) == sorted((set(Detect.__struct_fields__) - BESIDE) | anchors)
    require_defaults([row for row in found if not anchors & set(quoted(row[0]))], Detect)


def test_every_field_of_points_is_described() -> None:
    for name, kind in (("pose", Pose), ("landmarks", Landmarks)):
        found = rows("model-spec.md", f"## `[{name}]` of a {name.removesuffix('s')} model")
        inherited = set(Head.__struct_fields__) - {"decoder"} if issubclass(kind, Head) else set()
        assert sorted(names(found)) == sorted(set(kind.__struct_fields__) - BESIDE - inherited)
        require_defaults(found, kind, 2)


def test_every_field_of_masks_is_described() -> None:
    found = rows("model-spec.md", "## `[instances]` of a model of instance masks")
    assert sorted(names(found)) == sorted(set(Instances.__struct_fields__) - set(Head.__struct_fields__))
    require_defaults(found, Instances, 2)


def test_every_field_of_rotated_boxes_is_described() -> None:
    found = rows("model-spec.md", "## `[obb]` of a model of rotated boxes")
    own = set(Obb.__struct_fields__) - set(Head.__struct_fields__) | {"decoder"}
    assert sorted(names(found)) == sorted(own)
    require_defaults(found, Obb, 2)


def test_every_top_level_field_of_a_spec_is_described() -> None:
    known = {"labels_file", "classes", "labels"} | set(ModelSpec.__struct_fields__) - {"schema_version", "inputs"}
    assert set(names(rows("model-spec.md", "## Top level"))) == known


def test_every_decoder_is_described() -> None:
    for heading in ("# Decoders of detectors", "## How each is read"):
        found = {row[0].strip("`") for row in rows("detector-decoders.md", heading)}
        assert found == set(Decoder.__args__)


def test_every_field_of_a_bundle_is_described() -> None:
    described = set(names(rows("bundle.md", "## `manifest.json`")))
    assert described == set(Manifest.__struct_fields__) | set(Options.__struct_fields__)
    assert set(names(rows("bundle.md", "## `artifact.json`"))) == set(Artifact.__struct_fields__)


def test_every_metric_of_a_budget_is_described() -> None:
    found = rows("budget.md", "## Metrics")
    described = {name: row for row in found for name in quoted(row[0]) if name not in ("%", "dB")}
    every = metrics.known()
    known = {name: about for name, about in every.items() if name in described}
    assert set(described) == set(known) and {about.name for about in metrics.GENERAL} <= set(known)
    for name, about in known.items():
        row = next(row for row in found if name in quoted(row[0]))  # of a score the difference stands first
        assert row[1] == (f"`{'>=' if about.at_least else '<='}`"), name
        assert row[3] == (f"`@{about.confidence}%`" if about.confidence else "—"), name
        units = [unit for unit in UNITS[about.unit] if unit and unit not in ("pt", "%")]
        assert all(unit in row[2] for unit in units), name


def test_the_default_budgets_are_shown() -> None:
    shown = [(task.strip("`"), budget) for task, budget in rows("budget.md", "## Defaults")]
    assert {task for task, _ in shown} >= {"classify", "detect"}
    for task, budget in shown:
        assert budget.strip("`") == tasks.get(task).metric.DEFAULT_BUDGET


# --- findings ---------------------------------------------------------------------------------------------------------


def calls() -> Iterator[tuple[str, ast.Call]]:
    """The name of what is called, and the call, everywhere in the code."""
    for folder in CODE:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    yield getattr(node.func, "id", getattr(node.func, "attr", "")), node


def text_of(node: ast.expr | None) -> str:
    """The text that a node is; empty where it is computed."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def codes() -> tuple[set[str], set[str]]:
    """The codes of findings that the code gives, and those of remarks on data sets."""
    found = {chance.CODE, figures.EMULATED, *audit.KINDS, *(f"tensorrt-{rule}" for rule in WARNINGS)}
    remarks = set()
    for name, call in calls():
        if name == "Finding":
            found.add(next((text_of(word.value) for word in call.keywords if word.arg == "code"), ""))
        elif name in ("remark", "_remark"):
            remarks.add(text_of(call.args[1]) if len(call.args) > 1 else "")
    return found - {""}, remarks - {""}


def test_every_finding_is_described() -> None:
    found, remarks = codes()
    described = [
        name
        for part in ("Data and reference", "Artifacts", "TensorRT without a GPU")
        for row in rows("audit.md", f"## {part}")
        for name in quoted(row[0])
    ]
    assert sorted(described) == sorted(found)
    assert sorted(names(rows("data.md", "## Findings"))) == sorted(remarks)


def test_the_limits_of_the_audit_are_shown() -> None:
    shown = {row[0]: row[1:] for row in rows("audit.md", "### Limits by precision")}
    for precision, limits in audit.PARITY.items():
        assert shown[precision][0] == f"{limits.warning_db:g}, {limits.error_db:g}"
        assert shown[precision][1] == "{:g}, {:g}".format(*audit.BATCH[precision])


def test_every_rule_of_tensorrt_is_named() -> None:
    page = (REFERENCE / "audit.md").read_text(encoding="utf-8")
    assert [rule for rule in RULES if f"`{rule}`" not in page and f"`tensorrt-{rule}`" not in page] == []


# --- glossary ---------------------------------------------------------------------------------------------------------


def test_the_glossary_is_short_and_in_order() -> None:
    page = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"^## (.+)\n\n(.+)\n", page, re.MULTILINE)
    assert len(terms) > 10
    assert [term for term, _ in terms] == sorted((term for term, _ in terms), key=str.lower)
    assert [term for term, text in terms if len(re.findall(r"[.?](?= [A-Z`]|$)", text)) > 2] == []


def test_every_format_of_reports_is_described() -> None:
    table = [row for row in rows("report-formats.md") if len(row) == 3]
    assert [row[0].strip("`") for row in table] == list(report_formats.FORMATS)
    for row in table:
        module = inspect.getmodule(report_formats.FORMATS[row[0].strip("`")].render)
        names = [getattr(module, name) for name in ("FILE", "SMALLER", "BIGGER") if hasattr(module, name)]
        assert row[1] == ", ".join(f"`{name}`" for name in names)
