"""The machine that measures: its properties, its other load, and its clocks."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec

from edgewright.core.lazy import version
from edgewright.targets import jetson, nvidia, sensors
from edgewright.targets.files import text
from edgewright.targets.sensors import GpuClock
from edgewright.targets.target import Target

from .results import Environment, Gpu, Load

LIBRARIES = (
    "numpy", "Pillow", "opencv-python", "opencv-python-headless", "onnxruntime", "openvino", "torch", "torchvision",
    "timm", "transformers", "ultralytics", "ultralytics-opencv-headless", "onnx", "onnxslim", "nncf",
)  # fmt: skip

# Kernel names of the instruction sets that affect the latency of a precision, and edgewright's names for them.
ISA = {
    "avx2": "avx2", "avx512f": "avx512", "avx512_vnni": "avx512_vnni", "avx_vnni": "avx_vnni",
    "avx512_bf16": "avx512_bf16", "amx_tile": "amx", "amx_int8": "amx_int8", "amx_bf16": "amx_bf16", "asimd": "neon",
    "asimddp": "dotprod", "i8mm": "i8mm", "asimdhp": "fp16", "bf16": "bf16", "sve": "sve",
}  # fmt: skip

MAX_OTHER_PERCENT = 10.0
MAX_STEAL_PERCENT = 5.0
MAX_FREQUENCY_DROP = 0.2
"""Beyond these limits, a latency is unreliable: the other processes' share of the cores, the hypervisor's share, and
the decrease of the clock."""
MIN_OF_CAP = 0.9
MIN_GPU_LOAD = 10.0
"""A clock below this share of its limit makes a latency unreliable. The GPU's clock counts only if the GPU was busy for
`MIN_GPU_LOAD` percent of the time, because an artifact on the CPU leaves the GPU idle."""


def describe() -> Environment:
    """Return the description of this machine and its software, without its load."""
    cpuinfo = _cpuinfo()
    flags = set((cpuinfo.get("flags") or cpuinfo.get("Features") or "").split())
    return Environment(
        cpu=cpuinfo.get("model name") or cpuinfo.get("Model") or platform.processor() or platform.machine(),
        arch=platform.machine(),
        isa=tuple(ours for kernel, ours in ISA.items() if kernel in flags),
        cores=usable_cores(),
        physical_cores=_physical_cores(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        governor=sensors.governor(),
        board=jetson.board().model or None,
        release=_release(),
        power_mode=jetson.modes().name,
        temperature_c=_hottest(),
        container=_container(),
        os=_os(),
        python=platform.python_version(),
        gpus=_gpus(),
        libraries={name: found for name in LIBRARIES if (found := version(name))},
    )


def usable_cores() -> int:
    """Return the number of logical cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Sample(NamedTuple):
    """Counters of the machine at one moment. CPU times are in seconds since boot, summed over all cores."""

    busy_s: float
    steal_s: float
    total_s: float
    throttled_ms: float
    frequency_mhz: float | None
    load_average: float
    temperature_c: float | None = None
    throttled_by: tuple[str, ...] = ()
    over_current: int | None = None


def sample() -> Sample:
    """Read the kernel's counters now: a few file reads without waiting."""
    frequency = sensors.cpu_mhz()  # first, because the clock of an idle core decreases within milliseconds
    words = (text(Path("/proc/stat")) or "cpu 0 0 0 0 0 0 0 0").splitlines()[0].split()[1:9]
    user, nice, system, idle, iowait, irq, softirq, steal = (int(word) / os.sysconf("SC_CLK_TCK") for word in words)
    busy = user + nice + system + irq + softirq
    return Sample(
        busy, steal, busy + idle + iowait + steal, _throttled_ms(), frequency, os.getloadavg()[0], _hottest(),
        sensors.throttling(), sensors.over_current_events(),
    )  # fmt: skip


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that process `pid` has used in all its threads, or 0 if the process has ended."""
    stat = text(Path(f"/proc/{pid}/stat"))
    if stat is None:
        return 0.0
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load_of(spans: Iterable[tuple[Sample, Sample, float]]) -> Load | None:
    """Return the machine's load during a measurement.

    Each span is (before, after, CPU seconds of the measured process). None without spans, or if the kernel's counters
    do not change.
    """
    all_spans = list(spans)
    total = sum(after.total_s - before.total_s for before, after, _ in all_spans)
    if total <= 0:
        return None
    others = sum(after.busy_s - before.busy_s - own for before, after, own in all_spans)
    first, last = all_spans[0][0], all_spans[-1][1]
    clocks = [after.frequency_mhz for _, after, _ in all_spans if after.frequency_mhz is not None]
    events = [
        after.over_current - before.over_current
        for before, after, _ in all_spans
        if after.over_current is not None and before.over_current is not None
    ]
    return Load(
        other_cpu_percent=round(max(others, 0.0) / total * 100, 1),
        steal_percent=round(sum(a.steal_s - b.steal_s for b, a, _ in all_spans) / total * 100, 1),
        throttled_ms=round(sum(a.throttled_ms - b.throttled_ms for b, a, _ in all_spans), 1),
        frequency_start_mhz=first.frequency_mhz,
        frequency_end_mhz=last.frequency_mhz,
        load_average_start=first.load_average,
        load_average_end=last.load_average,
        frequency_median_mhz=median(clocks) if clocks else None,
        temperature_start_c=first.temperature_c,
        temperature_end_c=last.temperature_c,
        throttled_by=tuple(dict.fromkeys(name for _, after, _ in all_spans for name in after.throttled_by)),
        over_current_events=sum(events) if events else None,
    )


def with_clocks(load: Load, gpu: GpuClock | None, target: Target | None, root: Path = Path("/")) -> Load:
    """Return `load` with the clocks and the power mode, and with their required values.

    `gpu`: the GPU during the measurement. The required values are those of `target`, or else of sysfs.
    """
    modes = jetson.modes(root)
    wanted = (target.power_mode if target else None) or modes.fastest
    documented = next((m.gpu_mhz for m in target.power_modes if m.name == wanted), None) if target else None
    return msgspec.structs.replace(
        load,
        frequency_cap_mhz=sensors.cpu_cap_mhz(root),
        gpu_mhz=gpu.mhz if gpu else None,
        gpu_cap_mhz=gpu.cap_mhz if gpu else None,
        gpu_wanted_mhz=(jetson.gpu_cap_mhz(root, wanted) if wanted else None) or documented,
        gpu_load_percent=gpu.load_percent if gpu else None,
        power_mode=modes.name,
        power_mode_wanted=wanted,
    )


def objection(load: Load | None, clocks: bool = True) -> str | None:
    """Return why latencies under this load are unreliable, or None if they are reliable.

    With `clocks` False, a low clock is not a reason, because it may decrease between the frames of a camera.
    """
    if load is None:
        return None
    why = []
    if (load.other_cpu_percent or 0) > MAX_OTHER_PERCENT:
        why.append(f"CPU load {load.other_cpu_percent:g}% from other processes")
    if (load.steal_percent or 0) > MAX_STEAL_PERCENT:
        why.append(f"the hypervisor took {load.steal_percent:g}% of the CPU time")
    if (load.throttled_ms or 0) > 0:
        why.append(f"the CPU was throttled for {load.throttled_ms:g} ms")
    start, end = load.frequency_start_mhz, load.frequency_end_mhz
    if clocks and start and end and end < start * (1 - MAX_FREQUENCY_DROP):
        why.append(f"the clock fell from {start:.0f} to {end:.0f} MHz")
    if load.throttled_by:
        why.append(f"{', '.join(load.throttled_by)} limited the clocks")
    if load.over_current_events:
        why.append(f"over-current protection lowered the clocks {load.over_current_events} times")
    return "; ".join([*why, *_below_target(load), *(_below_limits(load) if clocks else ())]) or None


def _below_target(load: Load) -> Iterable[str]:
    """Yield the settings that make the machine slower than the target: power mode, GPU clock."""
    mode, wanted = load.power_mode, load.power_mode_wanted
    if mode and wanted and mode != wanted:
        yield f"the power mode is {mode}, not the target's {wanted}"
    elif load.gpu_cap_mhz and load.gpu_wanted_mhz and load.gpu_cap_mhz < MIN_OF_CAP * load.gpu_wanted_mhz:
        yield f"the GPU clock is limited to {load.gpu_cap_mhz:.0f} MHz, the target has {load.gpu_wanted_mhz:.0f} MHz"


def _below_limits(load: Load) -> Iterable[str]:
    """Yield the clocks that did not reach their limit."""
    parts = [("CPU", load.frequency_median_mhz, load.frequency_cap_mhz)]
    if (load.gpu_load_percent or 0) >= MIN_GPU_LOAD:
        parts.append(("GPU", load.gpu_mhz, load.gpu_cap_mhz))
    for name, clock, cap in parts:
        if clock and cap and clock < MIN_OF_CAP * cap:
            yield f"the {name} ran at {clock:.0f} of {cap:.0f} MHz"


def _hottest() -> float | None:
    return max(sensors.temperatures().values(), default=None)


def _release() -> str | None:
    if not jetson.is_jetson():
        return None
    found = jetson.software(Path("/"))
    return ", ".join(f"{name} {value}" for name, value in (("JetPack", found.jetpack), ("L4T", found.l4t)) if value)


def _cpuinfo() -> dict[str, str]:
    pairs = (line.partition(":") for line in (text(Path("/proc/cpuinfo")) or "").splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs if key.strip()}


def _physical_cores() -> int | None:
    siblings = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/topology/thread_siblings_list")
    found = {siblings_of for path in siblings if (siblings_of := text(path))}
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
    """Return the milliseconds for which the CPU quota of the control group, or the processor's protection against heat
    and power, stopped or slowed cores."""
    total = sensors.throttled_ms() or 0.0
    for line in (text(Path("/sys/fs/cgroup/cpu.stat")) or "").splitlines():
        if line.startswith("throttled_usec "):
            total += int(line.split()[1]) / 1e3
    return total


def _gpus() -> tuple[Gpu, ...]:
    return tuple(
        Gpu(name=g.name, driver=g.driver, memory_bytes=g.memory_bytes, compute_capability=g.compute_capability)
        for g in nvidia.gpus()
    )
