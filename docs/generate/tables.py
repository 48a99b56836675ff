"""Pages that are tables of data: targets, support, exit codes."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path
from typing import Any

import text
import tomllib

from edgewright.core import errors
from edgewright.quantize.schemes import SCHEMES
from edgewright.targets import devices
from edgewright.targets.target import Target, memory_for_model

ROOT = Path(__file__).parents[2]

# --- targets ----------------------------------------------------------------------------------------------------------

TARGETS = """
A target describes a device: its processor, its runtimes, and the precisions and INT8 schemes that suit each runtime.
Give its name with `--target`, or the path of your own TOML file. Without `--target`, edgewright describes this
machine.

```bash
edgewright targets list
edgewright targets show raspberry-pi-5
edgewright targets detect
```
"""
OWN = """
## Your own device

Copy the description that is nearest to your device, change its fields and give the file's path with `--target`. A
description needs `name`, `title`, `arch` and at least one `[[runtimes]]`.

```toml
name = "my-board"
title = "My board with a Cortex-A78"
arch = "aarch64"
isa = ["neon", "fp16", "dotprod"]
cores = 4

[[runtimes]]
name = "onnxruntime"
precisions = ["f32"]
schemes = ["ort-arm"]
```
"""


def targets() -> str:
    """docs/reference/targets.md."""
    every = devices.every()
    jetsons = [target for target in every if target.gpu and target.gpu.shared_memory]
    gpus = [target for target in every if target.gpu and not target.gpu.shared_memory]
    cpus = [target for target in every if not target.gpu]
    parts = [TARGETS]
    for title, group in (("NVIDIA Jetson", jetsons), ("NVIDIA GPUs", gpus), ("Processors without a GPU", cpus)):
        parts += [f"## {title}", _targets(group), _jetpacks(group), _notes(group)]
    schemes = [(text.code(s.name), s.title, s.activations, f"{s.weight_bits} bits") for s in SCHEMES.values()]
    parts += ["## INT8 schemes", text.table(("Scheme", "For", "Activations", "Weights"), schemes), OWN]
    return text.page(
        "Targets", "Devices that edgewright knows, with their runtimes, precisions and INT8 schemes.", *parts
    )


def _targets(group: list[Target]) -> str:
    rows = []
    for target in group:
        names = ", ".join(map(text.code, (target.name, *target.aliases)))
        runtimes = [f"{r.name}: {', '.join([*r.precisions, *map(text.code, r.schemes)])}" for r in target.runtimes]
        memory = memory_for_model(target)
        room = f"{memory / 1e9:.1f} GB" if memory else "not fixed"
        gpu = f"{target.gpu.compute_capability}, {room}" if target.gpu else ""
        rows.append((names, target.title, "; ".join(runtimes), gpu))
    heads = ("Name", "Device", "Runtimes: precisions, `INT8 schemes`", "Compute capability, memory for a model")
    return text.table(heads, rows)


def _jetpacks(group: list[Target]) -> str:
    found: dict[tuple[str, ...], list[str]] = {}
    for target in group:
        for one in target.software:
            key = (one.jetpack or "", one.l4t or "", one.cuda or "", one.tensorrt or "", one.python or "")
            found.setdefault(key, []).append(target.name)
    rows = [(*key, ", ".join(text.code(name) for name in names)) for key, names in sorted(found.items())]
    heads = ("JetPack", "L4T", "CUDA", "TensorRT", "Python", "Targets")
    return f"**Software**\n\n{text.table(heads, rows)}" if rows else ""


def _notes(group: list[Target]) -> str:
    found: dict[str, list[str]] = {}
    for target in group:
        for note in target.notes:
            found.setdefault(note, []).append(text.code(target.name))
    return "\n".join(f"- {', '.join(names)}: {note}" for note, names in found.items())


# --- support ----------------------------------------------------------------------------------------------------------

LEVELS = {
    "measured": "the tests build it, run it and check its answers or its figures on x86-64",
    "executed": "the tests run it on x86-64 with small networks",
    "emulated": "the tests compute its answers on x86-64, but it never ran on its own hardware",
    "accepted": "the vendor's parser and builder accept it without the hardware, but it never ran",
}
SUPPORT = """
This page says which combinations of task, runtime and precision the tests cover. The others are untested for that task.
Its source is `tests/docs/support.toml`. A test compares that file with the targets, the schemes and the tests that it
names.
"""
OPERATORS = """
The tests cover ONNX files of operator sets 7 to 26. `tests/graphs` generates networks from these operators, exports
them and quantizes them with every scheme. The tests check that the INT8 answers are close to the float answers.
edgewright does not change other operators. They run in float.
"""


def support() -> str:
    """docs/reference/support.md."""
    table = tomllib.loads((ROOT / "tests/docs/support.toml").read_text(encoding="utf-8"))
    parts = [SUPPORT, "\n".join(f"- **{name}**: {about}." for name, about in LEVELS.items())]
    for task in dict.fromkeys(row["task"] for row in table["artifacts"]):
        rows = [_artifact(row) for row in table["artifacts"] if row["task"] == task]
        parts += [f"## Task {task}", text.table(("Runtime, precision, INT8 scheme", "Tested", "Note", "Test"), rows)]
    pythons = [(row["version"], row["use"], row["tested"], _file(row)) for row in table["pythons"]]
    parts += ["## Python versions", text.table(("Version", "Use", "What is tested", "Test"), pythons)]
    machines = [(row["name"], row["tested"], _file(row)) for row in table["machines"]]
    parts += ["## Machines", text.table(("Machine", "What is tested", "Test"), machines)]
    parts += ["## ONNX operators", OPERATORS, ", ".join(text.code(name) for name in _operators())]
    return text.page(
        "Support matrix",
        "The tasks, runtimes, precisions, Python versions and machines that are tested, and how.",
        *parts,
    )


def _artifact(row: dict[str, str]) -> tuple[str, ...]:
    what = " ".join([row["runtime"], row["precision"], text.code(row.get("scheme", ""))]).strip()
    return what, f"**{row['level']}**", row.get("note", ""), _file(row)


def _file(row: dict[str, str]) -> str:
    return text.code(row["test"].partition("::")[0]) if "test" in row else ""


def _operators() -> list[str]:
    """The operators of the generated networks of tests/graphs."""
    networks, operators = _by_path("net"), _by_path("operators")
    found = set()
    for table in (operators.STEPS, operators.HEADS):
        for since, add in table.values():
            for seed in range(8):
                pick = random.Random(seed).choice
                net = networks.Net(max(since, 18), size=(12, 12), seed=seed)
                add(net, net.relu(net.conv(net.images, 16, 3)), lambda options, pick=pick: pick(list(options)))
                found |= {node.op_type for node in net.nodes}
    return sorted(found)


def _by_path(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"graphs_{name}", ROOT / "tests/graphs" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


# --- exit codes -------------------------------------------------------------------------------------------------------

CODES = """
Every command ends with one of these codes. An error prints three lines on standard error: what happened, why, and
what to do. In Python the same error is an exception of the class in the table. All these classes are subclasses of
`edgewright.EdgewrightError`.
"""
DEBUG = """
`edgewright --debug COMMAND` prints the traceback of every error.

## Use in CI

If a gate fails, the command ends with exit code 1, so the CI job fails too:

```bash
edgewright gate out/ --budget "top1 >= -1.0"
```

Exit code 9 means that the gate found no loss, but could not compare everything. Decide in your CI job whether this is a
failure or a warning. The [workflow for GitHub](../how-to/ci-github.md) shows a warning.
"""


def exit_codes() -> str:
    """docs/reference/exit-codes.md."""
    rows = [("0", "", "The command did its work.")]
    for name, family in errors.FAMILIES.items():
        if family.__base__ is errors.EdgewrightError:
            rows.append((str(family.exit_code), text.code(name), text.docstring(family)))
    rows.append((str(errors.BUG), "", "A bug of edgewright. It prints a traceback: please report it."))
    rows.append((str(errors.INTERRUPTED), "", "You interrupted the command (Ctrl+C)."))
    table = text.table(("Code", "Exception", "Meaning"), rows)
    return text.page(
        "Exit codes", "The exit codes of the edgewright command and the exceptions behind them.", CODES, table, DEBUG
    )
