"""A target: a device as data, and the text of a TOML file that describes one."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

import msgspec

from edgewright.core.errors import InvalidInput

SCHEMA_VERSION = 1
THIS_MACHINE = "this-machine"

NAME = r"^[a-z0-9_-]+$"

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
    """A runtime that the device has: precisions of what is not quantized, and the INT8 schemes that suit it there.

    What may be named here is what the built-in descriptions name; `catalogue` looks at those of users.
    """

    name: Annotated[str, msgspec.Meta(pattern=NAME)]
    precisions: tuple[Literal["f32", "bf16", "f16"], ...] = ("f32",)
    schemes: tuple[Annotated[str, msgspec.Meta(pattern=NAME)], ...] = ()


HardwarePrecision = Literal["f32", "tf32", "f16", "bf16", "int8", "fp8", "fp4"]
"""Number formats that a GPU's units compute in. That one is here does not say that edgewright builds for it."""


class Gpu(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An NVIDIA GPU.

    `model`: a part of its name by nvidia-smi ("H200") where the description is of one model, empty where it is of a
    generation. `precisions`: what exists in hardware (the compute capability decides). `shared_memory`: it has no
    memory of its own but the CPU's. `memory_bytes`: its own memory, None where shared or not fixed. `max_mhz`: the
    highest clock by the data sheet.
    """

    name: str
    compute_capability: Annotated[str, msgspec.Meta(pattern=r"^\d+\.\d$")]
    precisions: tuple[HardwarePrecision, ...]
    model: str = ""
    sparsity: bool = False
    shared_memory: bool = False
    memory_bytes: Annotated[int, msgspec.Meta(gt=0)] | None = None
    max_mhz: Annotated[int, msgspec.Meta(gt=0)] | None = None


class PowerMode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A power mode by its name in ``/etc/nvpmodel.conf``; IDs differ between releases, so they are read on the device.

    `watts` is the mode's budget, None for one without a limit (MAXN). `cores`, `cpu_mhz` and `gpu_mhz` are its caps,
    None where they are not documented.
    """

    name: str
    watts: Annotated[int, msgspec.Meta(gt=0)] | None = None
    cores: Annotated[int, msgspec.Meta(gt=0)] | None = None
    cpu_mhz: Annotated[int, msgspec.Meta(gt=0)] | None = None
    gpu_mhz: Annotated[int, msgspec.Meta(gt=0)] | None = None


class Software(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A release of the device's system and what comes with it. `l4t` is a version or the beginning of several."""

    jetpack: str | None = None
    l4t: str | None = None
    cuda: str | None = None
    tensorrt: str | None = None
    ubuntu: str | None = None
    python: str | None = None


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device.

    `aliases`: other names that `load` takes for it. `model`: a part of the board's own name ("Raspberry Pi 5") where
    the description is of one board, empty where it is of a class; `modules`: NVIDIA's part numbers of a Jetson
    ("p3767-0005"), which hold on any carrier board. `memory_bytes` and `cores` (physical) are None where the class has
    no fixed figure. `power_mode`: the mode that figures are wanted in, None for the fastest one.
    """

    schema_version: int = SCHEMA_VERSION
    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    aliases: tuple[str, ...] = ()
    title: str
    arch: Literal["x86_64", "aarch64"]
    isa: tuple[Isa, ...] = ()
    model: str = ""
    modules: tuple[str, ...] = ()
    memory_bytes: Annotated[int, msgspec.Meta(gt=0)] | None = None
    cores: Annotated[int, msgspec.Meta(gt=0)] | None = None
    gpu: Gpu | None = None
    dla_cores: Annotated[int, msgspec.Meta(ge=0)] = 0
    power_modes: tuple[PowerMode, ...] = ()
    power_mode: str | None = None
    software: tuple[Software, ...] = ()
    runtimes: Annotated[tuple[TargetRuntime, ...], msgspec.Meta(min_length=1)]
    notes: tuple[str, ...] = ()


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

    A machine that can more is no match either: its runtimes pick faster kernels than the device would. Of a target with
    a GPU its compute capability and model decide, and on a Jetson the module: modules that share a compute capability
    differ in cores and clocks. How many CPU cores are online is a power mode's business there.
    """
    if target.name == machine.name:
        return True
    if target.gpu:
        return target.arch == machine.arch and _same_gpu(target, machine)
    have, want = set(machine.isa), set(target.isa)
    return (
        target.arch == machine.arch
        and target.model in machine.model
        and want <= have
        and not (have - want) & (_DECISIVE - ({"avx512f"} if "vnni" in want else set()))
        and target.cores in (None, machine.cores)
    )


def _same_gpu(target: Target, machine: Target) -> bool:
    have, want = machine.gpu, target.gpu
    if have is None or want is None or have.compute_capability != want.compute_capability:
        return False
    if target.modules and machine.modules:
        return bool(set(target.modules) & set(machine.modules))
    if target.model not in machine.model or want.model not in have.name:
        return False
    # Of a board that tells no part number, the memory tells the modules of one name apart.
    if want.shared_memory and target.memory_bytes and machine.memory_bytes:
        return 0.75 * target.memory_bytes < machine.memory_bytes <= target.memory_bytes
    return True


def fastest_mode(names: tuple[str, ...]) -> str | None:
    """The name of the fastest power mode: MAXN_SUPER, MAXN, else the most watts, and of those the most cores.

    Not the highest ID: on an Orin Nano that is its slowest mode. None where no name tells its power.
    """

    def rank(name: str) -> tuple[int, int, int]:
        upper = name.upper()
        if upper.startswith("MAXN"):
            return (2 if "SUPER" in upper else 1, 0, 0)
        numbers = {part.lstrip("0123456789"): part for part in upper.split("_")}
        watts, cores = numbers.get("W", "0W")[:-1], numbers.get("CORE", "0CORE")[:-4]
        # A mode called ALL has every core; one called DESKTOP is a quieter variant of another.
        return (0, int(watts or 0), 99 if "ALL" in numbers else int(cores or 0))

    best = max(names, key=rank, default=None)
    return best if best and rank(best) > (0, 0, 0) else None


SYSTEM_BYTES = 2 << 30
"""What is allowed for the system, a desktop and CUDA itself where CPU and GPU share the memory. A round figure of ours,
not NVIDIA's; on the device `free -m` tells the real one."""


def memory_for_model(target: Target) -> int | None:
    """The bytes that a model with its engine and buffers may take on the device; None where they are not known.

    The GPU's own memory; where it shares the CPU's, the board's less `SYSTEM_BYTES` (at least half of it).
    """
    if target.gpu and not target.gpu.shared_memory:
        return target.gpu.memory_bytes
    if target.memory_bytes is None:
        return None
    return max(target.memory_bytes - SYSTEM_BYTES, target.memory_bytes // 2)


def _toml() -> Any:
    # The standard library has a TOML reader from Python 3.11 on; the same code is on PyPI as tomli for 3.10.
    if sys.version_info >= (3, 11):
        import tomllib

        return tomllib
    import tomli

    return tomli
