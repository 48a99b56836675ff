"""Checks source code that uses TensorRT against the real bindings of a version, by walking the code's syntax tree.

`describe` reads a version's interface out of its bindings, in a process of its own over stub libraries: every class,
its members, and the signatures that pybind11 writes into docstrings. `check` follows the types of expressions through
the code, from ``trt.Builder(...)`` and annotations like ``trt.IBuilderConfig`` on; it says which class, member, keyword
or number of arguments the version lacks. ``hasattr(x, "name")`` decides a branch as it would at run time: code that a
version never reaches is not checked against it.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SYMBOLS = (
    "createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL",
    "createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getBuilderPluginRegistry",
    "getPluginRegistry", "getNvOnnxParserVersion", "initLibNvInferPlugins", "getInferLibVersion",
    # version 8 only: the parsers of Caffe and UFF
    "_ZN11nvuffparser15createUffParserEv", "_ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi",
    "_ZN14nvcaffeparser117createCaffeParserEv", "_ZN14nvcaffeparser123shutdownProtobufLibraryEv",
)  # fmt: skip
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser", "nvparsers")

DUMP = r"""
import importlib, inspect, json, sys

def member(value):
    if isinstance(value, property):
        return {"kind": "property", "doc": value.fget.__doc__ or "", "settable": value.fset is not None}
    return {"kind": "method" if callable(value) else "value", "doc": value.__doc__ or ""}

trt = importlib.import_module(sys.argv[1])
found = {"version": trt.__version__, "classes": {}, "functions": {}, "values": ["__version__", "__name__"]}
for name in dir(trt):
    value = getattr(trt, name)
    if inspect.isclass(value):
        members = {n: member(inspect.getattr_static(value, n)) for n in dir(value) if n == "__init__" or n[:2] != "__"}
        enum = list(getattr(value, "__members__", {}))
        found["classes"][name] = {"members": members, "enum": enum}
    elif callable(value):
        found["functions"][name] = {"kind": "method", "doc": value.__doc__ or ""}
print(json.dumps(found))
"""


def stub_libraries(folder: Path, major: int) -> None:
    """Compile libraries into `folder` that have the names and symbols which the bindings of a major version ask for."""
    source = folder / "stub.c"
    source.write_text("\n".join(f"void *{symbol}(void) {{ return 0; }}" for symbol in SYMBOLS))
    for name in LIBRARIES:
        file = f"lib{name}.so.{major}"
        subprocess.run(
            ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{file}", "-o", folder / file, source], check=True
        )  # fmt: skip


def describe(module: str, path: Path | None = None, libraries: Path | None = None) -> dict[str, Any]:
    """The interface of the bindings `module`, imported from `path` over `libraries`."""
    env = {**os.environ, "PYTHONPATH": str(path or ""), "LD_LIBRARY_PATH": str(libraries or "")}
    done = subprocess.run([sys.executable, "-c", DUMP, module], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@dataclass
class Type:
    """What an expression is: the module, a class, an instance or a list of instances of one, a bound method, a plain
    Python value, or nothing of TensorRT's ("other")."""

    kind: str
    name: str = ""
    docs: tuple[str, ...] = ()


OTHER, MODULE, PLAIN = Type("other"), Type("module"), Type("plain")
_PLAIN = re.compile(
    r"^(int|bool|str|float|None|bytes|object|capsule|dict|numpy\..*|(typing\.)?(List|list|Tuple|tuple|Dict|Any).*)$"
)
_SEQUENCES = {"Dims"}


@dataclass
class Walk:
    """One pass over one module's source against one version."""

    api: dict[str, Any]
    uses: list[tuple[int, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    dead: set[int] = field(default_factory=set)
    guards: dict[tuple[int, str], bool] = field(default_factory=dict)
    attributes: dict[str, Type] = field(default_factory=dict)

    def module(self, tree: ast.Module) -> None:
        """Check every function; attributes of self get their types from annotated assignments first."""
        for node in ast.walk(tree):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute):
                self.attributes[node.target.attr] = self.annotation(node.annotation)
        self.block(tree.body, {"trt": MODULE})

    def function(self, node: ast.FunctionDef, outer: dict[str, Type]) -> None:
        env = dict(outer)
        for argument in (*node.args.args, *node.args.kwonlyargs):
            if argument.annotation is not None and argument.arg != "trt":
                env[argument.arg] = self.annotation(argument.annotation)
        if node.returns is not None:
            self.annotation(node.returns)
        self.block(node.body, env)

    def annotation(self, node: ast.expr) -> Type:
        """The type that an annotation names; classes in it are uses like others."""
        for part in ast.walk(node):
            if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id == "trt":
                if not self.annotated(part):
                    return Type("instance", part.attr)  # a class that this version lacks: its members are not checked
                inside = isinstance(node, ast.Subscript)
                return Type("list" if inside else "instance", part.attr)
        return OTHER

    def annotated(self, part: ast.Attribute) -> bool:
        self.uses.append((id(part), part.attr))
        if part.attr not in self.api["classes"]:
            known = part.attr in OPTIONAL_CLASSES
            if not known:
                self.problem(part, f"no class {part.attr}")
            return False
        return True

    def block(self, body: list[ast.stmt], env: dict[str, Type]) -> None:
        for number, node in enumerate(body):
            self.statement(node, env)
            if (
                isinstance(node, ast.If)
                and self.truth(node.test, env)
                and isinstance(node.body[-1], ast.Raise | ast.Return)
            ):
                for rest in body[number + 1 :]:
                    self.bury(rest)
                return
            if isinstance(node, ast.Return | ast.Raise):
                return

    def statement(self, node: ast.stmt, env: dict[str, Type]) -> None:
        if isinstance(node, ast.If):
            self.infer(node.test, env)
            truth = self.truth(node.test, env)
            self.block(node.body, env) if truth is not False else [self.bury(n) for n in node.body]
            self.block(node.orelse, env) if truth is not True else [self.bury(n) for n in node.orelse]
        elif isinstance(node, ast.Assign):
            value = self.infer(node.value, env)
            for target in node.targets:
                self.assign(target, value, node.value, env)
        elif isinstance(node, ast.AnnAssign):
            found = self.infer(node.value, env) if node.value else OTHER
            if isinstance(node.target, ast.Name):
                named = self.annotation(node.annotation)
                env[node.target.id] = named if named is not OTHER else found
        elif isinstance(node, ast.For):
            several = self.infer(node.iter, env)
            self.assign(node.target, element(several), node.iter, env)
            self.block(node.body, env)
        elif isinstance(node, ast.With):
            for item in node.items:
                self.infer(item.context_expr, env)
            self.block(node.body, env)
        elif isinstance(node, ast.Try):
            for part in (node.body, *(handler.body for handler in node.handlers), node.orelse, node.finalbody):
                self.block(part, env)
        elif isinstance(node, ast.FunctionDef):
            self.function(node, env)
        elif isinstance(node, ast.ClassDef):
            for base in node.bases:
                self.overrides(node, self.infer(base, env))
            self.block(node.body, env)
        else:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr):
                    self.infer(child, env)

    def overrides(self, node: ast.ClassDef, base: Type) -> None:
        """A class that implements an interface defines every method of it, with as many parameters."""
        if base.kind != "class":
            return
        own = {part.name: part for part in node.body if isinstance(part, ast.FunctionDef)}
        for name, about in self.api["classes"][base.name]["members"].items():
            if about["kind"] != "method" or name.startswith("_") or name[0].isupper():
                continue
            if name not in own:
                self.problems.append(f"line {node.lineno}: {base.name}.{name} is not defined in {self.api['version']}")
                continue
            self.uses.append((id(own[name]), name))
            wanted = {len(names) for names, _ in parameters(about["doc"])}
            if wanted and len(own[name].args.args) - 1 not in wanted:
                self.problems.append(f"line {own[name].lineno}: {name} takes {wanted} in {self.api['version']}")

    def assign(self, target: ast.expr, value: Type, source: ast.expr, env: dict[str, Type]) -> None:
        if isinstance(target, ast.Name):
            env[target.id] = value
        elif isinstance(target, ast.Tuple):
            parts = source.elts if isinstance(source, ast.Tuple) else []
            for index, one in enumerate(target.elts):
                self.assign(one, self.infer(parts[index], env) if parts else OTHER, source, env)
        elif isinstance(target, ast.Attribute):
            owner = self.infer(target.value, env)
            if owner.kind == "instance":
                found = self.member(target, owner)
                if found and not found.get("settable"):
                    self.problem(target, f"{owner.name}.{target.attr} cannot be set")

    def infer(self, node: ast.expr, env: dict[str, Type]) -> Type:
        """The type of an expression; everything in it is checked on the way."""
        if isinstance(node, ast.Name):
            return env.get(node.id, OTHER)
        if isinstance(node, ast.Attribute):
            return self.attribute(node, env)
        if isinstance(node, ast.Call):
            return self.call(node, env)
        if isinstance(node, ast.IfExp):
            self.infer(node.test, env)
            truth = self.truth(node.test, env)
            found = self.infer(node.body, env) if truth is not False else self.bury(node.body)
            other = self.infer(node.orelse, env) if truth is not True else self.bury(node.orelse)
            return found if found.kind != "other" else other
        if isinstance(node, ast.ListComp | ast.GeneratorExp | ast.SetComp):
            inner = dict(env)
            for comprehension in node.generators:
                self.assign(
                    comprehension.target, element(self.infer(comprehension.iter, inner)), comprehension.iter, inner
                )
                for test in comprehension.ifs:
                    self.infer(test, inner)
            found = self.infer(node.elt, inner)
            return Type("list", found.name) if found.kind == "instance" else OTHER
        if isinstance(node, ast.Subscript):
            self.infer(node.slice, env)
            return element(self.infer(node.value, env))
        if isinstance(node, ast.BoolOp):
            for value in node.values:
                self.infer(value, env)
                if isinstance(node.op, ast.And) and self.truth(value, env) is False:
                    break
            return OTHER
        if isinstance(node, ast.Lambda):
            return self.infer(node.body, env)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.infer(child, env)
            elif isinstance(child, ast.comprehension):
                self.infer(child.iter, env)
        return OTHER

    def attribute(self, node: ast.Attribute, env: dict[str, Type]) -> Type:
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            return MODULE if node.attr == "_trt" else self.attributes.get(node.attr, OTHER)
        owner = self.infer(node.value, env)
        if owner.kind == "module":
            self.uses.append((id(node), node.attr))
            if node.attr in self.api["classes"]:
                return Type("class", node.attr)
            if node.attr in self.api["functions"]:
                return Type("method", node.attr, (self.api["functions"][node.attr]["doc"],))
            if node.attr not in self.api["values"]:
                self.problem(node, f"no trt.{node.attr}")
            return PLAIN
        if owner.kind == "class":
            if node.attr == "__members__":
                return OTHER
            found = self.member(node, owner)
            about = self.api["classes"][owner.name]
            if node.attr in about["enum"]:
                return Type("instance", owner.name)
            return Type("unbound", node.attr, (found["doc"],)) if found else OTHER
        if owner.kind == "instance" and owner.name in self.api["classes"]:
            found = self.member(node, owner)
            if not found:
                return OTHER
            if found["kind"] == "property":
                return self.returned(node, found["doc"])
            return Type("method", f"{owner.name}.{node.attr}", (found["doc"],))
        return OTHER

    def member(self, node: ast.Attribute, owner: Type) -> dict[str, Any] | None:
        self.uses.append((id(node), node.attr))
        about = self.api["classes"].get(owner.name, {"members": {}})
        found = about["members"].get(node.attr)
        if found is None:
            self.problem(node, f"no {owner.name}.{node.attr}")
        return found

    def call(self, node: ast.Call, env: dict[str, Type]) -> Type:
        function = self.infer(node.func, env)
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            self.infer(argument, env)
        if function.kind == "class":
            about = self.api["classes"][function.name]
            self.arguments(node, about["members"]["__init__"]["doc"], function.name, len(node.args))
            return Type("instance", function.name)
        if function.kind in ("method", "unbound"):
            self.arguments(node, function.docs[0], function.name, len(node.args) - (function.kind == "unbound"))
            return self.returned(node, function.docs[0])
        return OTHER

    def arguments(self, node: ast.Call, doc: str, what: str, given: int) -> None:
        """Keywords must be known to a signature that also takes so many arguments (self not counted)."""
        signatures = list(parameters(doc))
        for keyword in node.keywords:
            self.uses.append((id(keyword), keyword.arg or ""))
        if not signatures or any(isinstance(argument, ast.Starred) for argument in node.args):
            return
        for names, required in signatures:
            keywords = {keyword.arg for keyword in node.keywords}
            if keywords <= set(names[given:]) and given <= len(names) and set(names[given:required]) <= keywords:
                return
        asked = [*("_" for _ in range(given)), *(f"{k.arg}=" for k in node.keywords)]
        self.problem(node, f"{what}({', '.join(asked)}) fits none of {signatures}")

    def returned(self, node: ast.expr, doc: str) -> Type:
        names = re.findall(r"\) -> (.+)$", doc, re.M)
        if not names:
            return PLAIN
        name = re.split(r"\.|::", names[0].strip())[-1]
        if name not in self.api["classes"] and "::" in names[0]:
            name = name.removeprefix("I")  # IParserError is ParserError in Python
        if name in self.api["classes"]:
            return PLAIN if name in _SEQUENCES else Type("instance", name)
        if not _PLAIN.match(names[0].strip()):
            self.problem(node, f"cannot follow the type {names[0]}")
        return PLAIN

    def truth(self, node: ast.expr, env: dict[str, Type]) -> bool | None:
        """What a condition comes to in this version; None where it depends on more than ``hasattr``."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            inner = self.truth(node.operand, env)
            return None if inner is None else not inner
        if isinstance(node, ast.BoolOp):
            values = [self.truth(value, env) for value in node.values]
            decisive = isinstance(node.op, ast.Or)
            if decisive in values:
                return decisive
            return None if None in values else not decisive
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "hasattr":
            owner, name = self.infer(node.args[0], env), ast.literal_eval(node.args[1])
            there: bool | None = None
            if owner.kind == "module":
                there = name in self.api["classes"] or name in self.api["functions"]
            if owner.kind in ("class", "instance") and owner.name in self.api["classes"]:
                there = name in self.api["classes"][owner.name]["members"]
            if there is not None:
                self.guards[id(node.args[1]), name] = there
            return there
        return None

    def bury(self, node: ast.AST) -> Type:
        self.dead.update(id(part) for part in ast.walk(node))
        return OTHER

    def problem(self, node: ast.expr, text: str) -> None:
        self.problems.append(f"line {node.lineno}: {text} in {self.api['version']}")


OPTIONAL_CLASSES = {"IProgressMonitor"}
"""Classes that an annotation may name though a version lacks them: annotations are not evaluated."""


def unknown_guards(source: str | ast.Module, versions: list[dict[str, Any]]) -> list[str]:
    """Names that ``hasattr`` asks for and that no version has: the branch would never be taken."""
    tree = ast.parse(source) if isinstance(source, str) else source
    asked: dict[tuple[int, str], list[bool]] = {}
    for api in versions:
        for guard, there in check(tree, api).guards.items():
            asked.setdefault(guard, []).append(there)
    return [name for (_, name), found in asked.items() if not any(found)]


def element(several: Type) -> Type:
    """What iterating over or indexing a value gives."""
    return Type("instance", several.name) if several.kind == "list" else OTHER


def parameters(doc: str) -> Iterator[tuple[list[str], int]]:
    """The names of the parameters of each signature in a pybind11 docstring, without self, and how many have no
    default."""
    for match in re.finditer(r"^(?:\d+\. )?\w+\((.*)\) -> .+$", doc, re.M):
        names, required = [], 0
        for part in split(match[1]):
            if part.startswith(("*", "self:")):
                continue
            names.append(part.partition(":")[0].strip())
            required += " = " not in part
        if "*args" not in match[1]:
            yield names, required


def split(text: str) -> list[str]:
    """`text` at the commas that stand outside of brackets."""
    parts, depth, start = [], 0, 0
    for place, letter in enumerate(text):
        depth += (letter in "([{<") - (letter in ")]}>")
        if letter == "," and depth == 0:
            parts.append(text[start:place].strip())
            start = place + 1
    return [part for part in (*parts, text[start:].strip()) if part]


def check(source: str | ast.Module, api: dict[str, Any]) -> Walk:
    """What of the module `source` the version described by `api` lacks (`problems`), and all that was looked at.

    `guards`: the names that ``hasattr`` asks for, and whether the version has them.
    """
    walk = Walk(api)
    walk.module(ast.parse(source) if isinstance(source, str) else source)
    return walk
