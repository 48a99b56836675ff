"""The machine that measures: what it is, and what else it was doing meanwhile."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from edgewright.bench.results import Environment, Gpu, Load
from edgewright.core.lazy import version

LIBRARIES = (
    "numpy", "Pillow", "opencv-python", "opencv-python-headless", "onnxruntime", "openvino", "torch", "torchvision",
    "timm", "ultralytics", "ultralytics-opencv-headless", "onnx", "onnxslim", "nncf",
)  # fmt: skip

# Kernel names of the instruction sets that decide what a precision costs, and our names for them.
ISA = {
    "avx2": "avx2", "avx512f": "avx512", "avx512_vnni": "avx512_vnni", "avx_vnni": "avx_vnni",
    "avx512_bf16": "avx512_bf16", "amx_tile": "amx", "amx_int8": "amx_int8", "amx_bf16": "amx_bf16", "asimd": "neon",
    "asimddp": "dotprod", "i8mm": "i8mm", "asimdhp": "fp16", "bf16": "bf16", "sve": "sve",
}  # fmt: skip

MAX_OTHER_PERCENT = 10.0
MAX_STEAL_PERCENT = 5.0
MAX_FREQUENCY_DROP = 0.2
"""Beyond these a latency is marked invalid: others' share of the cores, the hypervisor's, and the fall of the clock."""


def describe() -> Environment:
    """This machine and its software, without its load."""
    cpuinfo = _cpuinfo()
    flags = set((cpuinfo.get("flags") or cpuinfo.get("Features") or "").split())
    return Environment(
        cpu=cpuinfo.get("model name") or cpuinfo.get("Model") or platform.processor() or platform.machine(),
        arch=platform.machine(),
        isa=tuple(ours for kernel, ours in ISA.items() if kernel in flags),
        cores=usable_cores(),
        physical_cores=_physical_cores(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        governor=_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        container=_container(),
        os=_os(),
        python=platform.python_version(),
        gpus=_gpus(),
        libraries={name: found for name in LIBRARIES if (found := version(name))},
    )


def usable_cores() -> int:
    """Logical cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Sample(NamedTuple):
    """Counters of the machine at one moment: CPU seconds since boot, of all cores together."""

    busy_s: float
    steal_s: float
    total_s: float
    throttled_ms: float
    frequency_mhz: float | None
    load_average: float


def sample() -> Sample:
    """Read the kernel's counters now (a few file reads, no waiting)."""
    words = (_read("/proc/stat") or "cpu 0 0 0 0 0 0 0 0").splitlines()[0].split()[1:9]
    user, nice, system, idle, iowait, irq, softirq, steal = (int(word) / os.sysconf("SC_CLK_TCK") for word in words)
    busy = user + nice + system + irq + softirq
    return Sample(busy, steal, busy + idle + iowait + steal, _throttled_ms(), _frequency_mhz(), os.getloadavg()[0])


def cpu_seconds(pid: int) -> float:
    """CPU time that process `pid` has used, all threads; 0 where it is gone."""
    stat = _read(f"/proc/{pid}/stat")
    if stat is None:
        return 0.0
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load_of(spans: Iterable[tuple[Sample, Sample, float]]) -> Load | None:
    """The load beside a measurement: spans of (before, after, CPU seconds that the measured process used itself).

    None without spans or where the kernel's counters stand still.
    """
    all_spans = list(spans)
    total = sum(after.total_s - before.total_s for before, after, _ in all_spans)
    if total <= 0:
        return None
    others = sum(after.busy_s - before.busy_s - own for before, after, own in all_spans)
    first, last = all_spans[0][0], all_spans[-1][1]
    return Load(
        other_cpu_percent=round(max(others, 0.0) / total * 100, 1),
        steal_percent=round(sum(a.steal_s - b.steal_s for b, a, _ in all_spans) / total * 100, 1),
        throttled_ms=round(sum(a.throttled_ms - b.throttled_ms for b, a, _ in all_spans), 1),
        frequency_start_mhz=first.frequency_mhz,
        frequency_end_mhz=last.frequency_mhz,
        load_average_start=first.load_average,
        load_average_end=last.load_average,
    )


def objection(load: Load | None) -> str | None:
    """Why latencies measured under this load are no evidence, in words; None where they are."""
    if load is None:
        return None
    why = []
    if (load.other_cpu_percent or 0) > MAX_OTHER_PERCENT:
        why.append(f"other processes used {load.other_cpu_percent:g} % of the machine's cores")
    if (load.steal_percent or 0) > MAX_STEAL_PERCENT:
        why.append(f"the hypervisor took {load.steal_percent:g} % of the time")
    if (load.throttled_ms or 0) > 0:
        why.append(f"the cores were throttled for {load.throttled_ms:g} ms")
    start, end = load.frequency_start_mhz, load.frequency_end_mhz
    if start and end and end < start * (1 - MAX_FREQUENCY_DROP):
        why.append(f"the clock fell from {start:.0f} to {end:.0f} MHz")
    return "; ".join(why) or None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return None


def _cpuinfo() -> dict[str, str]:
    pairs = (line.partition(":") for line in (_read("/proc/cpuinfo") or "").splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs if key.strip()}


def _physical_cores() -> int | None:
    siblings = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/topology/thread_siblings_list")
    found = {text for path in siblings if (text := _read(str(path)))}
    return len(found) or None


def _container() -> str | None:
    if Path("/.dockerenv").exists():
        return "docker"
    if Path("/run/.containerenv").exists():
        return "podman"
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return "kubernetes"
    return None


def _os() -> str:
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {platform.system()} {platform.release()}"
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"


def _throttled_ms() -> float:
    """Time that the control group (CPU quota) and the processor's own protection (heat, power) held cores back."""
    total = 0.0
    for line in (_read("/sys/fs/cgroup/cpu.stat") or "").splitlines():
        if line.startswith("throttled_usec "):
            total += int(line.split()[1]) / 1e3
    for path in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/*_throttle_total_time_ms"):
        total += float(_read(str(path)) or 0)
    return total


def _frequency_mhz() -> float | None:
    paths = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq")
    khz = [int(text) for path in paths if (text := _read(str(path)))]
    return round(max(khz) / 1000, 1) if khz else None


def _gpus() -> tuple[Gpu, ...]:
    if not shutil.which("nvidia-smi"):
        return ()
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader,nounits"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = [[word.strip() for word in line.split(",")] for line in found.splitlines() if line.count(",") == 2]
    return tuple(
        Gpu(name=name, driver=driver, memory_bytes=int(mib) << 20 if mib.isdigit() else None)
        for name, driver, mib in rows
    )
