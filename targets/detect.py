"""Detect this machine as a target: instruction sets, the cores and memory that this process may use, and the GPU.

``jetson`` adds the facts of a Jetson. ``nvidia-smi`` reports a GPU in an x86 host.
"""

from __future__ import annotations

import functools
import math
import os
import platform
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

from msgspec.structs import replace

from . import jetson, nvidia
from .files import meminfo, text
from .target import THIS_MACHINE, Gpu, Isa, Target, TargetRuntime

_X86_FLAGS: tuple[Isa, ...] = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
_ARM_FLAGS: dict[str, Isa] = {"asimd": "neon", "asimdhp": "fp16", "asimddp": "dotprod", "i8mm": "i8mm", "bf16": "bf16"}
_Arch = Literal["x86_64", "aarch64"]


class Cpu(NamedTuple):
    """A CPU by ``/proc/cpuinfo``: model name, instruction sets, number of physical cores."""

    name: str
    isa: tuple[Isa, ...]
    cores: int


@functools.cache
def physical_cores() -> int:
    """Return the number of physical cores that this process may use: the default number of threads of a runtime."""
    return _cpu_only(Path("/"), None).cores or 1  # sessions call this: it must not wait for nvidia-smi


def this_machine(root: Path = Path("/"), cpus: frozenset[int] | None = None) -> Target:
    """Return this machine as a target named ``this-machine``.

    `root`: folder with ``proc``, ``sys`` and the other files. `cpus`: logical CPUs to count; default: the affinity of
    the process. For a recorded machine (another `root`), nvidia-smi does not run, so only a known Jetson has a GPU.
    """
    machine = _cpu_only(root, cpus)
    if jetson.is_jetson(root):
        machine = jetson.as_target(root, machine)
    if machine.gpu is None and root == Path("/") and (found := nvidia.gpus()) and (gpu := nvidia.as_gpu(found[0])):
        machine = replace(machine, title=f"{machine.title}, {gpu.name}", gpu=gpu)
    if machine.gpu is None:
        return machine
    # An x86 host may have a GPU for other purposes: TensorRT is a runtime only if it is installed.
    chosen = machine.arch == "aarch64" or find_spec("tensorrt") or find_spec("tensorrt_rtx")
    return replace(machine, runtimes=runtimes_for(machine.arch, machine.isa, machine.gpu)) if chosen else machine


def _cpu_only(root: Path, cpus: frozenset[int] | None) -> Target:
    arch = _arch(platform.machine())
    cpuinfo = root / "proc/cpuinfo"
    if not cpuinfo.is_file():
        return _elsewhere(arch)
    content = cpuinfo.read_text(errors="replace")
    if root != Path("/"):  # a recorded machine can have another architecture
        arch = "aarch64" if "CPU implementer" in content else "x86_64"
    cpu = parse_cpuinfo(content, _affinity() if cpus is None else cpus)
    board = jetson.board(root).model
    quota = _cpu_quota(root)
    cores = max(1, min(cpu.cores, math.floor(quota))) if quota else cpu.cores
    memory = _memory(root)
    plural = "core" if cores == 1 else "cores"
    return Target(
        name=THIS_MACHINE,
        title=f"{board or cpu.name or arch}, {cores} {plural}",
        arch=arch,
        isa=cpu.isa,
        model=board or cpu.name,
        memory_bytes=memory,
        cores=cores,
        runtimes=runtimes_for(arch, cpu.isa),
    )


def runtimes_for(arch: _Arch, isa: tuple[Isa, ...], gpu: Gpu | None = None) -> tuple[TargetRuntime, ...]:
    """Return runtimes, precisions and INT8 schemes for a CPU with these instruction sets; with `gpu`, TensorRT first.

    With TensorRT on Arm, ONNX Runtime is the only CPU runtime: next to a GPU, OpenVINO's f16 gains nothing.
    """
    cpu = _cpu_runtimes(arch, isa, gpu is None)
    if gpu is None:
        return cpu
    precisions: tuple[Any, ...] = ("f32", "f16") if "f16" in gpu.precisions else ("f32",)
    tensorrt = TargetRuntime(
        name="tensorrt", precisions=precisions, schemes=("tensorrt",) if "int8" in gpu.precisions else ()
    )
    return (tensorrt, *cpu)


def _cpu_runtimes(arch: _Arch, isa: tuple[Isa, ...], alone: bool) -> tuple[TargetRuntime, ...]:
    if arch == "aarch64":
        f16: tuple[Any, ...] = ("f32", "f16") if "fp16" in isa else ("f32",)
        runtimes = (TargetRuntime(name="onnxruntime", schemes=("ort-arm",)),)
        return (*runtimes, TargetRuntime(name="openvino", precisions=f16)) if alone else runtimes
    bf16: tuple[Any, ...] = ("f32", "bf16") if {"amx_bf16", "avx512_bf16"} & set(isa) else ("f32",)
    return (
        TargetRuntime(name="onnxruntime", schemes=("ort-x86-vnni" if "vnni" in isa else "ort-x86",)),
        TargetRuntime(name="openvino", precisions=bf16, schemes=("openvino-vnni" if "vnni" in isa else "openvino",)),
    )


def parse_cpuinfo(text: str, cpus: frozenset[int] | None = None) -> Cpu:
    """Parse the text of ``/proc/cpuinfo``. `cpus`: count only these logical CPUs; None counts all.

    Instruction sets are those of every counted CPU. On x86 the kernel reports the core of each CPU, so two threads of a
    core count once. Elsewhere each CPU counts as a core.
    """
    blocks = list(_blocks(text))
    counted = [b for b in blocks if cpus is None or int(b["processor"]) in cpus] or blocks
    flags = [set((b.get("flags") or b.get("Features") or "").split()) for b in counted]
    common = set.intersection(*flags) if flags else set()
    cores = {(b.get("physical id", ""), b.get("core id", b["processor"])) for b in counted}
    name = next((b["model name"] for b in counted if b.get("model name")), "")
    return Cpu(name, _isa(common), len(cores) or 1)


def _blocks(text: str) -> Iterator[dict[str, str]]:
    for paragraph in text.split("\n\n"):
        pairs = (line.partition(":") for line in paragraph.splitlines() if ":" in line)
        block = {key.strip(): value.strip() for key, _, value in pairs}
        if block.get("processor", "").isdigit():
            yield block


def _isa(flags: set[str]) -> tuple[Isa, ...]:
    found = [flag for flag in _X86_FLAGS if flag in flags]
    if {"avx_vnni", "avx512_vnni"} & flags:
        found.append("vnni")
    return tuple(found + [name for flag, name in _ARM_FLAGS.items() if flag in flags])


def _arch(machine: str) -> _Arch:
    return "aarch64" if machine.lower() in ("aarch64", "arm64", "armv8b", "armv8l") else "x86_64"


def _affinity() -> frozenset[int] | None:
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _elsewhere(arch: _Arch) -> Target:
    # macOS and others have no /proc. Every 64-bit Arm has NEON; other instruction sets are unknown.
    isa: tuple[Isa, ...] = ("neon",) if arch == "aarch64" else ()
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    return Target(
        name=THIS_MACHINE,
        title=f"{platform.system()} on {platform.processor() or arch}",
        arch=arch,
        isa=isa,
        model=platform.processor(),
        memory_bytes=pages if pages > 0 else None,
        cores=os.cpu_count() or 1,
        runtimes=runtimes_for(arch, isa),
        notes=(f"Instruction sets are not detected on {platform.system()}.",),
    )


def _memory(root: Path) -> int | None:
    limits = [int(v) for v in _cgroup_values(root, "memory.max", "memory/memory.limit_in_bytes") if v.isdigit()]
    total = meminfo(root).get("MemTotal")
    return min([*limits, *([total] if total else [])], default=None)


def _cpu_quota(root: Path) -> float | None:
    """Return the CPU quota of the control groups in CPUs, or None without a limit."""
    quotas = []
    for value in _cgroup_values(root, "cpu.max"):
        quota, _, period = value.partition(" ")
        if quota.isdigit() and period.isdigit():
            quotas.append(int(quota) / int(period))
    old = [text(root / f"sys/fs/cgroup/cpu/cpu.cfs_{part}_us") for part in ("quota", "period")]
    if old[0] and old[1] and int(old[0]) > 0:
        quotas.append(int(old[0]) / int(old[1]))
    return min(quotas, default=None)


def _cgroup_values(root: Path, name: str, old: str = "") -> list[str]:
    """Return the values of a control group file from this process's group to the root. `old`: its path in version 1."""
    mount = root / "sys/fs/cgroup"
    own = PurePosixPath("/")
    for line in (text(root / "proc/self/cgroup") or "").splitlines():
        if line.startswith("0::"):
            own = PurePosixPath(line[3:])
    groups = [mount.joinpath(*group.parts[1:]) / name for group in (own, *own.parents)]
    found = [text(path) for path in (*groups, *([mount / old] if old else []))]
    return [value.strip() for value in found if value]
