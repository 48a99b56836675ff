"""A target: a device as data, by the name of a built-in description or from a user's TOML file."""

from __future__ import annotations

import difflib
import importlib.resources
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from edgewright.core import files
from edgewright.core.errors import InvalidInput, UsageError

SCHEMA_VERSION = 1
THIS_MACHINE = "this-machine"

_DECISIVE = frozenset({"avx512f", "vnni", "amx_int8", "dotprod", "i8mm"})
"""Instruction sets that change which kernels a runtime picks for f32 and INT8, so a machine that has one more than the
target gives other latencies, and (VNNI, which does not saturate) other INT8 answers."""


Isa = Literal[
    "avx2", "avx512f", "avx_vnni", "avx512_vnni", "vnni", "avx512_bf16", "amx_int8", "amx_bf16",
    "neon", "fp16", "dotprod", "i8mm", "bf16",
]  # fmt: skip
"""Instruction sets that matter here, by the Linux kernel's x86 names; "vnni" stands for either of the two VNNI, the
names after it are Arm's (the kernel says asimd, asimdhp, asimddp)."""


class TargetRuntime(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A runtime that the device has: precisions of what is not quantized, and the INT8 schemes that suit it there."""

    name: Literal["onnxruntime", "openvino", "tensorrt"]
    precisions: tuple[Literal["f32", "bf16", "f16"], ...] = ("f32",)
    schemes: tuple[Literal["ort-x86-vnni", "ort-x86", "ort-arm", "openvino", "openvino-vnni", "tensorrt"], ...] = ()


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device.

    `model`: a part of the board's own name ("Raspberry Pi 5") where the description is of one board, empty where it is
    of a class. `memory_bytes` and `cores` (physical) are None where the class has no fixed figure.
    """

    schema_version: int = SCHEMA_VERSION
    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    title: str
    arch: Literal["x86_64", "aarch64"]
    isa: tuple[Isa, ...] = ()
    model: str = ""
    memory_bytes: Annotated[int, msgspec.Meta(gt=0)] | None = None
    cores: Annotated[int, msgspec.Meta(gt=0)] | None = None
    runtimes: Annotated[tuple[TargetRuntime, ...], msgspec.Meta(min_length=1)]
    notes: tuple[str, ...] = ()


def names() -> tuple[str, ...]:
    """What `load` takes by name: ``this-machine`` and the built-in descriptions, sorted."""
    folder = importlib.resources.files("edgewright.targets.devices")
    built_in = sorted(entry.name[: -len(".toml")] for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return (THIS_MACHINE, *built_in)


def load(name: str) -> Target:
    """The target called `name`: detected, built in, or the path of a TOML file.

    Raises `UsageError` (with the nearest name) for an unknown one, `InvalidInput` for a file that is not a target.
    """
    if name == THIS_MACHINE:
        from .detect import this_machine

        return this_machine()
    if name.endswith(".toml") or "/" in name:
        return _from_file(files.absolute(name))
    if name not in names():
        near = difflib.get_close_matches(name.lower(), names(), n=1, cutoff=0.4)
        raise UsageError(
            f"Unknown target '{name}'.",
            f"Known targets: {', '.join(names())}.",
            (f"Did you mean '{near[0]}'? " if near else "") + "A device of your own: give the path of its TOML file.",
        )
    source = importlib.resources.files("edgewright.targets.devices").joinpath(f"{name}.toml")
    return parse(source.read_text(encoding="utf-8"), f"target {name}")


def parse(text: str, what: str) -> Target:
    """A target from the text of a TOML file; `InvalidInput` names the field that is wrong. `what` is for messages."""
    toml = _toml()
    try:
        content = toml.loads(text)
        newer = content.get("schema_version", SCHEMA_VERSION)
        if isinstance(newer, int) and newer > SCHEMA_VERSION:
            raise InvalidInput(
                f"{what} has schema version {newer}.",
                f"This edgewright reads versions up to {SCHEMA_VERSION}.",
                "Update edgewright: pip install -U edgewright",
            )
        return msgspec.convert(content, type=Target)
    except (toml.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InvalidInput(
            f"{what} is not a valid target: {error}.",
            "A target needs name, title, arch (x86_64 or aarch64) and at least one [[runtimes]] with a name.",
            "Correct the field that is named; `edgewright targets show x86-vnni` shows an example.",
        ) from None


def matches(target: Target, machine: Target) -> bool:
    """Whether figures measured on `machine` hold for `target`: same architecture, board and decisive instructions.

    A machine that can more is no match either: its runtimes pick faster kernels than the device would.
    """
    if target.name == machine.name:
        return True
    have, want = set(machine.isa), set(target.isa)
    return (
        target.arch == machine.arch
        and target.model in machine.model
        and want <= have
        and not (have - want) & (_DECISIVE - ({"avx512f"} if "vnni" in want else set()))
        and target.cores in (None, machine.cores)
    )


def describe(target: Target) -> str:
    """The target in words, a line a fact, for ``edgewright targets show``."""
    lines = [
        f"{target.name}: {target.title}",
        f"architecture   {target.arch}",
        f"instructions   {', '.join(target.isa) or 'not known'}",
    ]
    if target.model:
        lines.append(f"model          {target.model}")
    if target.cores:
        lines.append(f"cores          {target.cores}")
    if target.memory_bytes:
        lines.append(f"memory         {target.memory_bytes / 2**30:.1f} GiB")
    for runtime in target.runtimes:
        schemes = f"; INT8 scheme {', '.join(runtime.schemes)}" if runtime.schemes else "; no INT8"
        lines.append(f"runtime        {runtime.name}: {', '.join(runtime.precisions)}{schemes}")
    lines += [f"note           {note}" for note in target.notes]
    return "\n".join(lines)


def _from_file(path: Path) -> Target:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidInput(
            f"Cannot read the target file {path}: {reason}.",
            "A target is one of the built-in names or a TOML file.",
            f"Built-in targets: {', '.join(names())}.",
        ) from None
    return parse(text, str(path))


def _toml() -> Any:
    # The standard library has a TOML reader from Python 3.11 on; the same code is on PyPI as tomli for 3.10.
    if sys.version_info >= (3, 11):
        import tomllib

        return tomllib
    import tomli

    return tomli
