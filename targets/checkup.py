"""What a device with an NVIDIA GPU has for inference and for measuring, what it lacks, and how to get it."""

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
"""Less free memory than this is worth a word: building an engine takes some hundred MiB beside the model."""


MODULES = {
    "tensorrt": ("tensorrt",),
    "tensorrt_rtx": ("tensorrt_rtx",),
    "cuda": ("cuda.bindings.runtime", "cuda.cudart"),
}
"""Where each is found; cuda-python's places are those since 12.6, and before."""


class Check(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that was looked at: in words what is there or not, and where it can be bettered, how (a command)."""

    state: Literal["ok", "missing", "note"]
    what: str
    fix: str = ""


class Interpreter(NamedTuple):
    """This Python: its version, the modules that matter and that it finds, whether the system's are hidden from it."""

    python: str
    modules: frozenset[str]
    isolated: bool


def this_interpreter() -> Interpreter:
    """The Python that runs this. Modules are looked for; of a dotted one only what stands above it is imported."""
    found = frozenset(name for name, places in MODULES.items() if any(map(_is_there, places)))
    configuration = (text(Path(sys.prefix, "pyvenv.cfg")) or "").lower().replace(" ", "")
    isolated = sys.prefix != sys.base_prefix and "include-system-site-packages=true" not in configuration
    return Interpreter(f"{sys.version_info.major}.{sys.version_info.minor}", found, isolated)


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, OSError):  # what stands above it is missing or broken
        return False


def checkup(machine: Target, root: Path = Path("/"), interpreter: Interpreter | None = None) -> tuple[Check, ...]:
    """What there is to say about `machine`, whose files lie below `root`; nothing where it has no NVIDIA GPU."""
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
            what="The release of Jetson Linux is hidden, as in a container.",
            fix="docker run -v /etc/nv_tegra_release:/etc/nv_tegra_release:ro --security-opt systempaths=unconfined",
        )
    elif release.jetpack is None:
        yield Check(state="note", what=f"Unknown JetPack, L4T r{release.l4t}: edgewright goes by what it finds.")
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
            what="TensorRT's Python bindings are installed in the system, which this environment does not see",
            fix="python3 -m venv --system-site-packages DIR, and install edgewright there",
        )
    else:
        yield Check(
            state="missing",
            what=f"TensorRT's Python bindings are installed, but not for this Python {here.python}",
            fix="run edgewright with the system's own python3",
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
    # From 13 on cuda-python goes with every CUDA of its major version.
    pin = f"=={major}.*" if major.isdigit() and int(major) >= 13 else f"=={major}.{minor[:1]}.*" if cuda else ""
    yield Check(
        state="missing", what="cuda-python, which the TensorRT session runs on", fix=f"pip install 'cuda-python{pin}'"
    )


def _clocks(machine: Target, root: Path) -> Iterator[Check]:
    modes = jetson.modes(root)
    wanted = machine.power_mode or modes.fastest
    if modes.name is None:
        yield Check(state="note", what="The power mode is not known: nvpmodel's files are missing or hidden.")
    elif wanted in (None, modes.name):
        yield Check(state="ok", what=f"power mode {modes.name}, the fastest")
    else:
        yield Check(
            state="note",
            what=f"power mode {modes.name}; measurements are marked unless it is {wanted}",
            fix=f"sudo nvpmodel -m {modes.all[str(wanted)]}" if wanted in modes.all else "sudo nvpmodel -q",
        )
    held = sensors.gpu_is_held(root)
    if held is False:
        yield Check(state="note", what="the clocks go up and down with the load", fix="sudo jetson_clocks")
    elif held:
        yield Check(state="ok", what="the GPU's clock is held at its limit")


def _memory(root: Path) -> Iterator[Check]:
    info = meminfo(root)
    total, free, swap = (info.get(name) for name in ("MemTotal", "MemAvailable", "SwapTotal"))
    if total is None or free is None:
        return
    what = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB of memory free"
    what += "" if swap is None else f", {swap / 2**30:.1f} GiB of swap" if swap else ", no swap"
    if free < LITTLE_MEMORY:
        fix = "sudo systemctl set-default multi-user.target && sudo reboot, which starts without a desktop"
        yield Check(state="note", what=what, fix=fix)
    elif swap == 0 and total < 9 << 30:
        fix = "sudo fallocate -l 4G /swap && sudo chmod 600 /swap && sudo mkswap /swap && sudo swapon /swap"
        yield Check(state="note", what=f"{what}: building an engine may need some", fix=fix)
    else:
        yield Check(state="ok", what=what)


def _power(root: Path) -> Iterator[Check]:
    source = sensors.Meter(root).source
    if source:
        yield Check(state="ok", what=f"energy is measured at {source}")
    elif any((root / "sys/class/powercap").glob("intel-rapl:*")):
        yield Check(
            state="note",
            what="the processor counts its energy (RAPL), but only the administrator may read it",
            fix="sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj, until the next start",
        )
    else:
        yield Check(state="note", what="no sensor of power: reports have no energy")
