"""Every class, member, keyword and argument count that the TensorRT runtime uses exists in the real bindings of each
version that it supports, and where a version lacks one the code has a branch for it.

`make test` puts the bindings (without NVIDIA's libraries, which no test machine needs) under the environment's
``tensorrt-bindings`` folder.
"""

from __future__ import annotations

import ast
import importlib.util
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import edgewright.runtimes.tensorrt as package

_spec = importlib.util.spec_from_file_location("tensorrt_api", Path(__file__).with_name("tensorrt_api.py"))
api = importlib.util.module_from_spec(_spec)
sys.modules["tensorrt_api"] = api
_spec.loader.exec_module(api)

BINDINGS = Path(sys.prefix, "tensorrt-bindings")
VERSIONS = ("8.6.1", "10.3.0", "10.13.3.9", "11.4.0.106")
SOURCES = sorted(Path(package.__file__).parent.glob("*.py"))

pytestmark = [
    pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc for the stub libraries"),
    pytest.mark.skipif(not BINDINGS.is_dir(), reason=f"no bindings in {BINDINGS}: `make test` puts them there"),
    pytest.mark.xdist_group("tensorrt_api"),
]


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    found = {}
    for version in VERSIONS:
        if not (BINDINGS / version).is_dir():
            continue  # 8.6.1 has none for newer Pythons
        stubs = tmp_path_factory.mktemp(version)
        api.stub_libraries(stubs, int(version.partition(".")[0]))
        found[version] = api.describe("tensorrt_bindings", BINDINGS / version, stubs)
    assert {"10.3.0", "10.13.3.9", "11.4.0.106"} <= set(found)
    if importlib.util.find_spec("tensorrt_rtx"):
        found["rtx"] = api.describe("tensorrt_rtx")
    return found


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_every_name_exists_in_every_version(source: Path, versions: dict[str, dict[str, Any]]):
    for version, described in versions.items():
        assert api.check(source.read_text(), described).problems == [], version
    assert api.unknown_guards(source.read_text(), list(versions.values())) == []


def test_the_walk_reaches_what_the_code_uses(versions: dict[str, dict[str, Any]]):
    """A walk that lost track of a type would pass everything: count what it saw by hand-countable marks."""
    names = {name for source in SOURCES for _, name in api.check(source.read_text(), versions["10.3.0"]).uses}
    assert {
        "OnnxParser", "parse", "get_error", "set_memory_pool_limit", "WORKSPACE", "STRONGLY_TYPED", "flags",
        "DLA_core", "can_run_on_DLA", "ignore_mismatch", "IProgressMonitor", "phase_start", "create_engine_inspector",
        "deserialize_cuda_engine", "execute_async_v3", "set_tensor_address", "get_tensor_mode", "JSON",
    } <= names  # fmt: skip
    assert len(names) > 60


def test_precision_flags_are_used_only_where_they_exist(versions: dict[str, dict[str, Any]]):
    """11 has no BuilderFlag.FP16 and 8.6 no STRONGLY_TYPED: without its branches the code would fail on each."""
    assert "FP16" in versions["10.3.0"]["classes"]["BuilderFlag"]["enum"]
    assert "FP16" not in versions["11.4.0.106"]["classes"]["BuilderFlag"]["enum"]
    source = next(path for path in SOURCES if path.name == "builder.py").read_text()

    class Unguarded(ast.NodeTransformer):
        def visit_Call(self, node: ast.Call) -> ast.AST:
            self.generic_visit(node)
            is_guard = isinstance(node.func, ast.Name) and node.func.id == "hasattr"
            return ast.copy_location(ast.Name("true", ast.Load()), node) if is_guard else node

    bare = ast.fix_missing_locations(Unguarded().visit(ast.parse(source)))
    lacks = {version: " ".join(api.check(bare, about).problems) for version, about in versions.items()}
    assert "BuilderFlag.FP16" in lacks["11.4.0.106"] and "BuilderFlag.INT8" in lacks["11.4.0.106"]
    assert "EXPLICIT_BATCH" in lacks["11.4.0.106"]
    if "8.6.1" in lacks:
        assert "STRONGLY_TYPED" in lacks["8.6.1"] and "IProgressMonitor" in lacks["8.6.1"]


def test_any_misspelt_name_is_found(versions: dict[str, dict[str, Any]]):
    """Misspell each used name in turn (far more than 20): the check fails for at least one version."""
    missed, tried = [], 0
    for source in SOURCES:
        text = source.read_text()
        seen = set().union(*(_seen(text, about) for about in versions.values()))
        kinds = ast.Attribute | ast.keyword | ast.FunctionDef
        for place in (n for n in ast.walk(ast.parse(text)) if isinstance(n, kinds) and _key(n) in seen):
            tree = ast.parse(text)
            node = next(n for n in ast.walk(tree) if type(n) is type(place) and _key(n) == _key(place))
            field = {ast.Attribute: "attr", ast.keyword: "arg", ast.FunctionDef: "name"}[type(node)]
            setattr(node, field, f"{getattr(node, field)}x")
            tried += 1
            if not any(api.check(tree, about).problems for about in versions.values()):
                missed.append(f"{source.name}:{place.lineno} {ast.unparse(place)}")
        for number in range(text.count("hasattr(")):
            tree = ast.parse(text)
            calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "hasattr"]
            guard = calls[number].args[1]
            guard.value += "x"
            tried += 1
            if not api.unknown_guards(tree, list(versions.values())):
                missed.append(f"{source.name}:{guard.lineno} hasattr {guard.value}")
    print(f"{tried} names misspelt, one at a time")
    assert tried >= 80
    assert missed == []


def _key(node: Any) -> tuple[int, int, int]:
    return (node.lineno, node.end_lineno, node.end_col_offset)


def _seen(text: str, about: dict[str, Any]) -> set[tuple[int, int, int]]:
    tree = ast.parse(text)
    uses = {identity for identity, _ in api.check(tree, about).uses}
    return {_key(node) for node in ast.walk(tree) if id(node) in uses}
