"""The struct of a target, the parser of its TOML file, and the comparison of a target with a machine."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

import msgspec

from edgewright.core.errors import InvalidInput

SCHEMA_VERSION = 1
THIS_MACHINE = "this-machine"

NAME = r"^[a-z0-9_-]+$"

_DECISIVE = frozenset({"avx512f", "vnni", "amx_int8", "dotprod", "i8mm"})
"""Instruction sets that decide which kernels a runtime chooses for f32 and INT8. With one more of them, a machine gives
other latencies. With VNNI it also gives other INT8 outputs, because VNNI does not saturate."""


Isa = Literal[
    "avx2", "avx512f", "avx_vnni", "avx512_vnni", "vnni", "avx512_bf16", "amx_int8", "amx_bf16",
    "neon", "fp16", "dotprod", "i8mm", "bf16",
]  # fmt: skip
"""Instruction sets that change the choice of kernels. x86 names are the Linux kernel's; "vnni" means either of the two
VNNI sets. The last five are Arm's (the kernel calls the first three asimd, asimdhp and asimddp)."""


class TargetRuntime(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A runtime of the device: precisions for the layers that are not quantized, and suitable INT8 schemes.

    Allowed names are those of the built-in targets. `catalogue` checks the files of users.
    """

    name: Annotated[str, msgspec.Meta(pattern=NAME)]
    precisions: tuple[Literal["f32", "bf16", "f16"], ...] = ("f32",)
    schemes: tuple[Annotated[str, msgspec.Meta(pattern=NAME)], ...] = ()


HardwarePrecision = Literal["f32", "tf32", "f16", "bf16", "int8", "fp8", "fp4"]
"""Number formats that a GPU computes in hardware. edgewright does not build for all of them."""


class Gpu(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An NVIDIA GPU.

    `model`: a part of its name in nvidia-smi ("H200") for a target of one model, empty for a target of a generation.
    `precisions`: number formats in hardware, decided by the compute capability. `shared_memory`: the GPU uses the
    memory of the CPU. `memory_bytes`: memory of the GPU alone, None if it is shared or not fixed. `max_mhz`: highest
    clock in the data sheet.
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
    """A power mode by its name in ``/etc/nvpmodel.conf``. IDs differ between releases, so they are read on the device.

    `watts`: power budget, None without a limit (MAXN). `cores`, `cpu_mhz`, `gpu_mhz`: limits of the mode, None if they
    are not documented.
    """

    name: str
    watts: Annotated[int, msgspec.Meta(gt=0)] | None = None
    cores: Annotated[int, msgspec.Meta(gt=0)] | None = None
    cpu_mhz: Annotated[int, msgspec.Meta(gt=0)] | None = None
    gpu_mhz: Annotated[int, msgspec.Meta(gt=0)] | None = None


class Software(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A release of the device's system and its software. `l4t`: a version, or the prefix of several versions."""

    jetpack: str | None = None
    l4t: str | None = None
    cuda: str | None = None
    tensorrt: str | None = None
    ubuntu: str | None = None
    python: str | None = None


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device.

    `aliases`: other names that `catalogue.load` accepts. `model`: a part of the board's name ("Raspberry Pi 5") for a
    target of one board, empty for a class of devices. `modules`: NVIDIA's part numbers of a Jetson ("p3767-0005"),
    valid on any carrier board. `memory_bytes`, `cores` (physical): None if the class has no fixed value. `power_mode`:
    the mode to measure in, None for the fastest mode.
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
    """Parse the text of a TOML file. `what` names the file in messages. Raises `InvalidInput` with the wrong field."""
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
            "Correct this field. `edgewright targets show x86-vnni` shows an example.",
        ) from None


def matches(target: Target, machine: Target) -> bool:
    """Whether figures measured on `machine` are valid for `target`: same architecture, board, decisive instructions.

    A machine with more instruction sets does not match, because runtimes choose faster kernels on it. For a GPU, the
    compute capability and model decide. For a Jetson, the module decides, because modules with the same compute
    capability differ in cores and clocks. The number of online CPU cores is ignored there: a power mode sets it.
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
    # Without a part number, the memory distinguishes modules with the same name.
    if want.shared_memory and target.memory_bytes and machine.memory_bytes:
        return 0.75 * target.memory_bytes < machine.memory_bytes <= target.memory_bytes
    return True


def fastest_mode(names: tuple[str, ...]) -> str | None:
    """Return the fastest power mode: MAXN_SUPER, MAXN, else the mode with the most watts and then the most cores.

    The highest ID is not the fastest mode: on an Orin Nano it is the slowest. None if no name states a power.
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
"""Memory that is reserved for the system, a desktop and CUDA if CPU and GPU share the memory. This is an estimate, not
a figure from NVIDIA. On the device, `free -m` prints the real value."""


def memory_for_model(target: Target) -> int | None:
    """Return the bytes that a model with its engine and buffers may use on the device; None if not known.

    This is the memory of the GPU. If CPU and GPU share the memory, it is the memory of the board minus `SYSTEM_BYTES`,
    and at least half of it.
    """
    if target.gpu and not target.gpu.shared_memory:
        return target.gpu.memory_bytes
    if target.memory_bytes is None:
        return None
    return max(target.memory_bytes - SYSTEM_BYTES, target.memory_bytes // 2)


def _toml() -> Any:
    # The standard library reads TOML from Python 3.11 on. For 3.10, the package tomli has the same code.
    if sys.version_info >= (3, 11):
        import tomllib

        return tomllib
    import tomli

    return tomli
