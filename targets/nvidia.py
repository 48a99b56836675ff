"""Read the NVIDIA GPUs of this machine from ``nvidia-smi``."""

from __future__ import annotations

import functools
import shutil
import subprocess
from typing import NamedTuple

from .target import Gpu, HardwarePrecision

FIELDS = ("name", "driver_version", "memory.total", "compute_cap")


class Found(NamedTuple):
    """A GPU by nvidia-smi. Fields that it does not report are None (drivers before 510: compute capability)."""

    name: str
    driver: str | None = None
    memory_bytes: int | None = None
    compute_capability: str | None = None


@functools.cache
def gpus() -> tuple[Found, ...]:
    """Return the NVIDIA GPUs of this machine in the driver's order; empty without a driver. Runs once per process."""
    if not shutil.which("nvidia-smi"):
        return ()
    for fields in (FIELDS, FIELDS[:-1]):
        query = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
        try:
            found = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            continue
        return parse(found)
    return ()


def parse(text: str) -> tuple[Found, ...]:
    """Parse the output of ``nvidia-smi --query-gpu=... --format=csv,noheader,nounits`` for `FIELDS`.

    The last field, the compute capability, can be absent.

    Unknown values are in brackets ("[N/A]", for example the memory of a GPU that shares the CPU's memory).
    """
    rows = [[word.strip() for word in line.split(",")] for line in text.splitlines()]
    return tuple(_found(row) for row in rows if len(row) >= len(FIELDS) - 1)


def _found(row: list[str]) -> Found:
    name, driver, mib, capability = [None if word.startswith("[") else word for word in (*row, "[]")][: len(FIELDS)]
    return Found(name or "", driver, int(mib) << 20 if mib and mib.isdigit() else None, capability)


def as_gpu(found: Found) -> Gpu | None:
    """Return `found` as the GPU of a target, or None if its compute capability is not known."""
    if found.compute_capability is None:
        return None
    return Gpu(
        name=found.name, compute_capability=found.compute_capability,
        precisions=precisions(found.compute_capability), sparsity=_version(found.compute_capability) >= (8, 0),
        shared_memory=found.memory_bytes is None, memory_bytes=found.memory_bytes,
    )  # fmt: skip


def precisions(capability: str) -> tuple[HardwarePrecision, ...]:
    """Return the number formats that a GPU of this compute capability ("8.7") computes in hardware.

    Source: the table "Hardware and Precision" of TensorRT's support matrix (8.2 to 10): no INT8 in 5.x, 6.0 and 6.2,
    FP16 from 5.3 on but not in 6.1, TF32 and BF16 from 8.0, FP8 from 8.9, FP4 from 10.0.
    """
    at = _version(capability)
    found: list[HardwarePrecision] = ["f32"]
    if at >= (8, 0):
        found.append("tf32")
    if at >= (5, 3) and at != (6, 1):
        found.append("f16")
    if at >= (8, 0):
        found.append("bf16")
    if at >= (7, 0) or at == (6, 1):
        found.append("int8")
    if at >= (8, 9):
        found.append("fp8")
    if at >= (10, 0):
        found.append("fp4")
    return tuple(found)


def _version(capability: str) -> tuple[int, int]:
    major, _, minor = capability.partition(".")
    return int(major), int(minor or 0)
