"""Check a device with an NVIDIA GPU: installed and missing software, clocks, memory, sensors, and how to fix each."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from . import jetson, sensors
from .files import meminfo, text
from .target import Target

LITTLE_MEMORY = 2 << 30
"""Bytes. Less free memory gives a note, because building an engine needs some hundred MiB in addition to the model."""


MODULES = {
    "tensorrt": ("tensorrt",),
    "tensorrt_rtx": ("tensorrt_rtx",),
    "cuda": ("cuda.bindings.runtime", "cuda.cudart"),
}
"""Import paths of each module. cuda-python has two: from version 12.6 on, and before."""


class Check(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One result of the check. `what`: the finding. `fix`: the command that improves it, if there is one."""

    state: Literal["ok", "missing", "note"]
    what: str
    fix: str = ""


class Interpreter(NamedTuple):
    """A Python: its version, the names in `MODULES` that it finds, and whether it ignores the system's packages."""

    python: str
    modules: frozenset[str]
    isolated: bool


def this_interpreter() -> Interpreter:
    """Return the running Python. Modules are searched without an import; only parents of a dotted name are imported."""
    found = frozenset(name for name, places in MODULES.items() if any(map(_is_there, places)))
    configuration = (text(Path(sys.prefix, "pyvenv.cfg")) or "").lower().replace(" ", "")
    isolated = sys.prefix != sys.base_prefix and "include-system-site-packages=true" not in configuration
    return Interpreter(f"{sys.version_info.major}.{sys.version_info.minor}", found, isolated)


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, OSError):  # a parent package is missing or broken
        return False


def checkup(machine: Target, root: Path = Path("/"), interpreter: Interpreter | None = None) -> tuple[Check, ...]:
    """Return the checks of `machine`, whose files are below `root`; empty without an NVIDIA GPU."""
    here = interpreter or this_interpreter()
    if jetson.is_jetson(root):
        parts = (_release(machine), _tensorrt(root, here), _cuda(machine, here), _clocks(machine, root), _memory(root))
        return (*(check for part in parts for check in part), *_power(root))
    if machine.gpu is None:
        return ()
    return (*_host_tensorrt(here), *_cuda(machine, here), *_power(root))


def _release(machine: Target) -> Iterator[Check]:
    release = machine.software[0] if machine.software else None
    if release is None or release.l4t is None:
        yield Check(
            state="note",
            what="The release of Jetson Linux is not visible. A container hides it.",
            fix="docker run -v /etc/nv_tegra_release:/etc/nv_tegra_release:ro --security-opt systempaths=unconfined",
        )
    elif release.jetpack is None:
        yield Check(
            state="note", what=f"JetPack of L4T r{release.l4t} is not known. edgewright uses the installed versions."
        )
    else:
        yield Check(state="ok", what=f"JetPack {release.jetpack}, L4T r{release.l4t}")


def _tensorrt(root: Path, here: Interpreter) -> Iterator[Check]:
    installed = jetson.packages(root)
    library = next((version for name, version in installed.items() if jetson.TENSORRT.fullmatch(name)), None)
    if library:
        yield Check(state="ok", what=f"TensorRT {library.partition('-')[0]} (libraries)")
    else:
        fix = "sudo apt update && sudo apt install nvidia-jetpack"
        yield Check(state="missing", what="TensorRT's libraries", fix=fix)
    if "tensorrt" in here.modules:
        yield Check(state="ok", what=f"TensorRT's Python bindings, for Python {here.python}")
    elif "python3-libnvinfer" not in installed:
        yield Check(state="missing", what="TensorRT's Python bindings", fix="sudo apt install python3-libnvinfer")
    elif here.isolated:
        yield Check(
            state="missing",
            what="TensorRT's Python bindings are installed, but this virtual environment ignores system packages",
            fix="python3 -m venv --system-site-packages DIR, then install edgewright in it",
        )
    else:
        yield Check(
            state="missing",
            what=f"TensorRT's Python bindings are installed, but not for this Python {here.python}",
            fix="run edgewright with the system's python3",
        )


def _host_tensorrt(here: Interpreter) -> Iterator[Check]:
    names = [name for name in ("tensorrt", "tensorrt_rtx") if name in here.modules]
    if names:
        yield Check(state="ok", what=f"{' and '.join(names)} for Python {here.python}")
    else:
        yield Check(state="missing", what="TensorRT", fix="pip install 'edgewright[tensorrt]'")


def _cuda(machine: Target, here: Interpreter) -> Iterator[Check]:
    if "cuda" in here.modules:
        yield Check(state="ok", what="cuda-python")
        return
    cuda = next((s.cuda for s in machine.software if s.cuda), None)
    major, _, minor = (cuda or "").partition(".")
    # From version 13 on, cuda-python works with every CUDA of the same major version.
    pin = f"=={major}.*" if major.isdigit() and int(major) >= 13 else f"=={major}.{minor[:1]}.*" if cuda else ""
    yield Check(
        state="missing", what="cuda-python, which the TensorRT session needs", fix=f"pip install 'cuda-python{pin}'"
    )


def _clocks(machine: Target, root: Path) -> Iterator[Check]:
    modes = jetson.modes(root)
    wanted = machine.power_mode or modes.fastest
    if modes.name is None:
        yield Check(
            state="note", what="The power mode is not known: nvpmodel's files are missing, or a container hides them."
        )
    elif wanted in (None, modes.name):
        yield Check(state="ok", what=f"power mode {modes.name}, the fastest")
    else:
        yield Check(
            state="note",
            what=f"power mode {modes.name}: latencies are marked as unreliable, except in {wanted}",
            fix=f"sudo nvpmodel -m {modes.all[str(wanted)]}" if wanted in modes.all else "sudo nvpmodel -q",
        )
    held = sensors.gpu_is_held(root)
    if held is False:
        yield Check(state="note", what="the clocks change with the load", fix="sudo jetson_clocks")
    elif held:
        yield Check(state="ok", what="the GPU clock is fixed at its limit")


def _memory(root: Path) -> Iterator[Check]:
    info = meminfo(root)
    total, free, swap = (info.get(name) for name in ("MemTotal", "MemAvailable", "SwapTotal"))
    if total is None or free is None:
        return
    what = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB of memory free"
    what += "" if swap is None else f", {swap / 2**30:.1f} GiB of swap" if swap else ", no swap"
    if free < LITTLE_MEMORY:
        fix = "sudo systemctl set-default multi-user.target && sudo reboot (starts without a desktop)"
        yield Check(state="note", what=what, fix=fix)
    elif swap == 0 and total < 9 << 30:
        fix = "sudo fallocate -l 4G /swap && sudo chmod 600 /swap && sudo mkswap /swap && sudo swapon /swap"
        yield Check(state="note", what=f"{what}: building an engine can need swap", fix=fix)
    else:
        yield Check(state="ok", what=what)


def _power(root: Path) -> Iterator[Check]:
    source = sensors.Meter(root).source
    if source:
        yield Check(state="ok", what=f"energy is measured at {source}")
    elif any((root / "sys/class/powercap").glob("intel-rapl:*")):
        yield Check(
            state="note",
            what="the processor counts its energy (RAPL), but only the administrator can read it",
            fix="sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj (until the next boot)",
        )
    else:
        yield Check(state="note", what="no power sensor: reports have no energy")
