"""Each place that opens a file, loads a model, imports by name or starts a program is listed with the attack on it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import tomllib

from .attacks import ATTACKS

ROOT = Path(__file__).parents[2]
FOLDERS = ("src/edgewright", "export", "quantize", "runtimes", "bench", "targets")
LISTED = tomllib.loads((Path(__file__).parent / "openings.toml").read_text())
OPENING = frozenset(
    [
        "open",
        "read_bytes",
        "read_text",
        "open_contained",
        "linked_file",
        "fromstring",
        "safe_load",
        "InferenceSession",
        "read_model",
        "compile_model",
        "import_module",
        "spec_from_file_location",
        "exec_module",
        "find_spec",
        "unpack_archive",
        "ZipFile",
        "ParseFromString",
        "deserialize_cuda_engine",
        "Popen",
        "check_output",
        "CDLL",
        "yaml_model_load",
        "load_checkpoint",
        "create_model",
        "get_model",
        "attempt_download_asset",
        "copyfile",
        "copytree",
        "run_module",
        "open_memmap",
        "load_file",
        "loads",
        "fromfile",
        "read_array",
        "memmap",
        "parse_from_file",
        "iterparse",
        "execv",
        "system",
        "extractall",
    ]
)
"""What opens, by the last part of a call's name."""
LIBRARIES = ("np", "torch", "onnx", "torch.export", "json", "yaml", "pickle", "marshal", "library")
"""What `load` opens something of; `load` of our own modules leads to one of the places that are listed."""
OURS = ("edgewright", "session", "runtime")


def openings() -> Iterator[tuple[str, str]]:
    """(module, call) of every such call in the package."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not any(parent.is_symlink() for parent in path.parents):
                for node in ast.walk(ast.parse(path.read_text())):
                    if isinstance(node, ast.Call) and (name := _opens(node.func)):
                        yield path.relative_to(ROOT).as_posix(), name


def _opens(called: ast.expr) -> str | None:
    if isinstance(called, ast.Name):
        return called.id if called.id in OPENING | {"eval", "exec", "load", "__import__"} else None
    if not isinstance(called, ast.Attribute):
        return None
    on = ast.unparse(called.value)
    if called.attr in OPENING and on not in OURS:
        return called.attr
    if called.attr in ("load", "run") and on in (*LIBRARIES, "subprocess"):
        return f"{on}.{called.attr}"
    return None


def test_each_place_that_opens_something_is_listed_with_its_attack() -> None:
    found = set(openings())
    listed = {(module, call) for module, calls in LISTED.items() for call in calls}
    assert not found - listed, "new: add it to openings.toml with the attack on it, or why it needs none"
    assert not listed - found, "gone: take it out of openings.toml"


def test_each_listed_attack_exists() -> None:
    for module, calls in LISTED.items():
        for call, why in calls.items():
            words = why.removeprefix("attack: ").split(", ") if why.startswith("attack: ") else []
            assert words or why.startswith(("own: ", "user: ", "test: ")), f"{module} {call}: {why}"
            assert set(words) <= set(ATTACKS), f"{module} {call}: {set(words) - set(ATTACKS)}"
            if why.startswith("test: "):
                assert (ROOT / why.removeprefix("test: ")).is_file(), why
