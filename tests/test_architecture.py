"""How the code is built: no import circles, short functions, and no task or runtime known outside its home."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("export", "quantize", "runtimes", "bench", "targets")
TASKS = frozenset(p.name for p in (ROOT / "src/edgewright/tasks").iterdir() if (p / "__init__.py").is_file())
RUNTIMES = frozenset({"torch", "onnxruntime", "openvino", "tensorrt"})


def sources() -> dict[str, Path]:
    """Every module of the product by its name."""
    found = {}
    for folder in ("src/edgewright", *FOLDERS):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            parts = parts[2:] if parts[0] == "src" else parts
            if "__pycache__" in parts or (folder == "src/edgewright" and parts[0] in FOLDERS):
                continue  # the five folders are links in there
            found[".".join(("edgewright", *(part for part in parts if part != "__init__")))] = path
    return found


MODULES = sources()
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}


def imported(name: str) -> set[str]:
    """The modules of the product that a module imports anywhere, for type checking too."""
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {
                full if (full := f"{base}.{alias.name}") in MODULES else base for alias in node.names
            }  # fmt: skip
    return {one for one in found if one in MODULES and one != name}


def circles() -> list[list[str]]:
    """The groups of modules that reach each other through imports."""
    arrows = {name: imported(name) for name in MODULES}
    reached = {name: set(arrows[name]) for name in arrows}
    grew = True
    while grew:
        grew = False
        for mine in reached.values():
            more = set().union(*(reached[one] for one in mine)) - mine if mine else set()
            mine |= more
            grew = grew or bool(more)
    groups = {frozenset(b for b in reached if b in reached[a] and a in reached[b]) for a in reached if a in reached[a]}
    return sorted(sorted(group) for group in groups)


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name}.{node.name}", node


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    every = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
    return len(every) - (every[:1] in (["self"], ["cls"]))


def constants(node: ast.AST) -> set[object]:
    """The constants of an expression, those in tuples, lists and sets included."""
    if isinstance(node, ast.Constant):
        return {node.value}
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return set().union(*(constants(one) for one in node.elts)) if node.elts else set()
    return set()


def switches(tree: ast.AST, names: frozenset[str]) -> Iterator[ast.AST]:
    """What depends on one of the names: comparisons, cases, types, and tables or lists of nothing but such names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            if set().union(*(constants(part) for part in (node.left, *node.comparators))) & names:
                yield node
        elif isinstance(node, ast.MatchValue):
            if constants(node.value) & names:
                yield node
        elif isinstance(node, ast.Subscript):
            if isinstance(node.value, ast.Name) and node.value.id == "Literal" and constants(node.slice) & names:
                yield node
        elif isinstance(node, ast.Dict):
            keys = [constants(key) if key else set() for key in node.keys]
            if keys and all(key and key <= names for key in keys):
                yield node
        elif isinstance(node, ast.Tuple | ast.List | ast.Set):
            found = [constants(one) for one in node.elts]
            if len(found) > 1 and all(one and one <= names for one in found):
                yield node


def sections(tree: ast.AST) -> Iterator[ast.AST]:
    """Where a task's own section of a ModelSpec is read."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in (*TASKS, "postprocess"):
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            if owner in ("spec", "_spec"):
                yield node


def home(name: str, *packages: str) -> bool:
    return any(f"{name}.".startswith(f"edgewright.{package}.") for package in packages)


def test_no_module_takes_part_in_an_import_circle() -> None:
    assert circles() == []


def test_functions_are_short() -> None:
    assert {name for name, node in functions() if (node.end_lineno or 0) - node.lineno + 1 > 60} == set()


def test_few_functions_take_many_parameters() -> None:
    """Commands and the API's verbs are options by nature."""
    many = {name for name, node in functions() if parameters(node) > 6}
    assert len(many) <= 20
    assert [name for name in many if not home(name, "cli", "api")] == []


NOT_THE_TASK = frozenset({
    "edgewright.data.wants",  # kinds of files that belong to images
    "edgewright.export.sources.ultralytics_onnx",  # Ultralytics' own words in the metadata of its exports
})  # fmt: skip
"""What compares a word of a library, and has nothing to do with the task of that name."""


def test_nothing_outside_its_folder_asks_for_a_task() -> None:
    found = {
        name
        for name, tree in TREES.items()
        if not home(name, "tasks") and [*switches(tree, TASKS), *sections(tree)]
    }  # fmt: skip
    assert found - NOT_THE_TASK == set()


NOT_THE_RUNTIME = frozenset({
    "edgewright.export.sources.parse",  # torch: a kind of source, here and below
    "edgewright.export.sources.plan",
    "edgewright.pipeline.stages.export",
    "edgewright.targets.checkup",  # the Python package that a device lacks
    "edgewright.vision.image",  # torch's tensors
})  # fmt: skip
"""What compares the name of a library, and has nothing to do with the runtime of that name."""


def test_nothing_outside_its_module_asks_for_a_runtime() -> None:
    found = {name for name, tree in TREES.items() if not home(name, "runtimes") and [*switches(tree, RUNTIMES)]}
    assert found - NOT_THE_RUNTIME == set()
