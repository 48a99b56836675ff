"""Facts of a Jetson: board and module, release of Jetson Linux (L4T), packages, power mode.

All facts come from files: ``/proc/device-tree``, ``/etc/nv_tegra_release``, dpkg's status, nvpmodel's configuration and
status. The version of an installed JetPack package has priority over the table of releases. An unknown release between
known ones gets their common part ("6.2.x"). Any other unknown release keeps its number.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from . import devices, nvidia
from .files import text
from .target import Gpu, PowerMode, Software, Target, fastest_mode

CHIPS = {"33": "tegra210", "24": "tegra186", "25": "tegra194", "35": "tegra234", "38": "tegra264"}
"""The chip by ``/sys/devices/soc0/soc_id``, which is visible in a container even if the device tree is hidden."""

CAPABILITIES = {"tegra210": "5.3", "tegra186": "6.2", "tegra194": "7.2", "tegra234": "8.7", "tegra264": "11.0"}
"""The compute capability of each chip's GPU, for boards without a built-in target."""

JETPACKS = {
    "35.1.0": "5.0.2", "35.2.1": "5.1", "35.3.1": "5.1.1", "35.4.1": "5.1.2", "35.5.0": "5.1.3", "35.6.0": "5.1.4",
    "35.6.1": "5.1.5", "35.6.2": "5.1.5", "36.3.0": "6.0", "36.4.0": "6.1", "36.4.3": "6.2", "36.4.4": "6.2.1",
    "36.4.7": "6.2.1", "36.5.0": "6.2.2", "38.2.0": "7.0", "38.2.1": "7.0", "38.4.0": "7.1", "39.2.0": "7.2",
}  # fmt: skip
"""JetPack by release of Jetson Linux, in order. Source: NVIDIA's Jetson Linux archive."""

TENSORRT = re.compile(r"libnvinfer\d+")
PACKAGES = ("nvidia-l4t-core", "nvidia-jetpack", "nvidia-jetpack-runtime", "python3-libnvinfer", "cuda-cudart")


class Board(NamedTuple):
    """A board. `model`: name in the device tree, or "". `modules`: part numbers ("p3767-0005"). `chip`: "tegra234"."""

    model: str
    modules: tuple[str, ...]
    chip: str


class Modes(NamedTuple):
    """nvpmodel's state: name and ID of the current mode (None if not known), and the IDs of all modes by name."""

    name: str | None
    id: int | None
    all: dict[str, int]

    @property
    def fastest(self) -> str | None:
        """Return the name of the fastest mode of this board."""
        return fastest_mode(tuple(self.all))


def is_jetson(root: Path = Path("/")) -> bool:
    """Whether this is a Jetson, by the device tree, the release file or, in a container, the kernel's name."""
    release = text(root / "proc/sys/kernel/osrelease") or ""
    return bool(board(root).chip or l4t(root)) or "tegra" in release


def board(root: Path = Path("/")) -> Board:
    """Return the board from the device tree; in a container from ``/sys/devices/soc0``, without part numbers."""
    words = (text(root / "proc/device-tree/compatible") or "").split("\0")
    chips = [w.removeprefix("nvidia,") for w in words if w.startswith("nvidia,tegra")]
    soc = root / "sys/devices/soc0"
    if not chips and text(soc / "family") == "Tegra":
        chips = [CHIPS.get(text(soc / "soc_id") or "", "")]
    chip = next((chip for chip in chips if chip in CAPABILITIES), chips[0] if chips else "")
    # "nvidia,p3768-0000+p3767-0005-super": carrier board, module. If a module is named, the carrier is ignored.
    numbers = [re.findall(r"p\d{4}-\d{4}", w) for w in words if w.startswith("nvidia,p")]
    modules = dict.fromkeys(found[-1] for found in numbers if found)
    model = (text(root / "proc/device-tree/model") or "").rstrip("\0").strip()
    if not model and chip:
        model = text(soc / "machine") or ""
    return Board(model, tuple(modules), chip)


def l4t(root: Path = Path("/")) -> str | None:
    """Return the release of Jetson Linux ("36.4.3"), or None if it is not known.

    ``/etc/nv_tegra_release`` begins with "# R36 (release), REVISION: 4.3, GCID: ...". Without this file, the version of
    the package nvidia-l4t-core is used ("36.4.3-20250107174145").
    """
    found = re.search(r"R(\d+)\s*\(release\).*?REVISION:\s*([\d.]+)", text(root / "etc/nv_tegra_release") or "")
    if found:
        return f"{found[1]}.{found[2].rstrip('.')}"
    return packages(root).get("nvidia-l4t-core", "").partition("-")[0] or None


def packages(root: Path = Path("/")) -> dict[str, str]:
    """Return the versions of the installed Debian packages in `PACKAGES` and of TensorRT's libraries."""
    found: dict[str, str] = {}
    for paragraph in (text(root / "var/lib/dpkg/status") or "").split("\n\n"):
        name = re.match(r"Package: (\S+)", paragraph)
        if not name or not (TENSORRT.fullmatch(name[1]) or name[1].startswith(PACKAGES)):
            continue
        version = re.search(r"^Version: (\S+)", paragraph, re.M)
        if version and re.search(r"^Status: \S+ \S+ installed", paragraph, re.M):
            found[name[1]] = version[1]
    return found


def software(root: Path, known: tuple[Software, ...] = ()) -> Software:
    """Return the installed software. Values that no file reports come from the target's releases (`known`).

    If several releases match the L4T release, the longest match is used. JetPack is None if its package is not
    installed and the release is far from all known ones (see `jetpack_of`).
    """
    release, installed = l4t(root), packages(root)
    fitting = [v for v in known if release and v.l4t and f"{release}.".startswith(f"{v.l4t}.")]
    base = max(fitting, key=lambda v: len(v.l4t or ""), default=Software())
    package = installed.get("nvidia-jetpack") or installed.get("nvidia-jetpack-runtime")
    libraries = [version for name, version in installed.items() if TENSORRT.fullmatch(name)]
    cudart = [name for name in installed if name.startswith("cuda-cudart-") and "dev" not in name]
    os_release = dict(line.partition("=")[::2] for line in (text(root / "etc/os-release") or "").splitlines())
    return Software(
        jetpack=package.partition("+")[0] if package else jetpack_of(release) if release else None,
        l4t=release,
        cuda=cudart[0].removeprefix("cuda-cudart-").replace("-", ".") if cudart else base.cuda,
        tensorrt=libraries[0].partition("-")[0] if libraries else None,
        ubuntu=os_release.get("VERSION_ID", "").strip('"') or base.ubuntu,
        python=base.python,
    )


def jetpack_of(release: str) -> str | None:
    """Return the JetPack version of a Jetson Linux release: exact if known ("36.4.4" -> "6.2.1"), never a guess.

    A release between two known ones, or after the last one of its series ("36.4"), gets their common part ("6.2.x",
    "6.x"). None for another major version.
    """
    number = _number(release)
    exact = {_number(known): jetpack for known, jetpack in JETPACKS.items()}
    if number in exact:
        return exact[number]
    siblings = {known: jetpack for known, jetpack in exact.items() if known[0] == number[0]}
    if not siblings:
        return None
    below = max((known for known in siblings if known < number), default=None)
    above = min((known for known in siblings if known > number), default=None)
    if above is None and below and below[:2] == number[:2]:
        above = below
    ends = {siblings[known].split(".")[1] for known in (below, above) if known}
    major = next(iter(siblings.values())).split(".")[0]
    return f"{major}.{ends.pop()}.x" if below and above and len(ends) == 1 else f"{major}.x"


def _number(release: str) -> tuple[int, int, int]:
    major, minor, patch, *_ = (*map(int, re.findall(r"[0-9]+", release)), 0, 0, 0)
    return major, minor, patch


def modes(root: Path = Path("/")) -> Modes:
    """Return the current power mode and all modes; empty if nvpmodel is not installed or a container hides its files.

    ``/var/lib/nvpmodel/status`` contains "pmode:0002 fmode:quiet". ``/etc/nvpmodel.conf`` contains lines such as
    "< POWER_MODEL ID=2 NAME=MAXN_SUPER >" and the default "< PM_CONFIG DEFAULT=1 >". The default applies until the user
    chooses a mode.
    """
    configuration = _without_comments(text(root / "etc/nvpmodel.conf") or "")
    every: dict[str, int] = {}
    for block in re.findall(r"<\s*POWER_MODEL\s+([^>]*)>", configuration):
        fields = dict(re.findall(r"(\w+)\s*=\s*(\S+)", block))
        if fields.get("ID", "").isdigit() and "NAME" in fields:
            every[fields["NAME"]] = int(fields["ID"])
    status = re.search(r"pmode:\s*(\d+)", text(root / "var/lib/nvpmodel/status") or "")
    default = re.search(r"<\s*PM_CONFIG\s+DEFAULT\s*=\s*(\d+)", configuration)
    chosen = status or default
    id = int(chosen[1]) if chosen else None
    return Modes(next((name for name, number in every.items() if number == id), None), id, every)


def gpu_cap_mhz(root: Path, mode: str) -> int | None:
    """Return the GPU clock limit of the power mode `mode` in MHz by nvpmodel's configuration; None without a limit."""
    configuration = _without_comments(text(root / "etc/nvpmodel.conf") or "")
    body = re.search(rf"<\s*POWER_MODEL\s+[^>]*NAME\s*=\s*{re.escape(mode)}\s*>([^<]*)", configuration)
    cap = re.search(r"^GPU\s+MAX_FREQ\s+(\d+)", body[1], re.M) if body else None
    return round(int(cap[1]) / 1e6) if cap else None


def as_target(root: Path, machine: Target) -> Target:
    """Return `machine` (with CPU and memory) completed by module, GPU, DLA, power modes and software of the Jetson."""
    found = board(root)
    like = next((t for t in devices.every() if set(t.modules) & set(found.modules)), None)
    if like is None and found.model and not found.modules:
        # The device tree has no NVIDIA part numbers (carrier of another maker, container): compare name and memory.
        named = [t for t in devices.every() if t.modules and t.model and t.model in found.model]
        like = next((t for t in named if _near(t.memory_bytes, machine.memory_bytes)), None)
    chip = CAPABILITIES.get(found.chip)
    capability = like.gpu.compute_capability if like and like.gpu else chip
    variant = software(root, like.software if like else ())
    title = found.model or (like.title if like else "NVIDIA Jetson")
    every = modes(root).all
    documented = {mode.name: mode for mode in like.power_modes} if like else {}
    return Target(
        name=machine.name,
        title=f"{title}, {_release(variant)}" if variant.l4t else title,
        arch="aarch64",
        isa=machine.isa,
        model=found.model,
        modules=found.modules,
        memory_bytes=machine.memory_bytes,
        cores=machine.cores,
        gpu=like.gpu if like else _gpu(chip) if chip else None,
        dla_cores=like.dla_cores if like else 0,
        power_modes=tuple(documented.get(name) or PowerMode(name=name) for name in every or documented),
        software=(variant,) if variant != Software() else (),
        runtimes=machine.runtimes,
        notes=_notes(found, variant, known=like is not None, capability=capability),
    )


def _gpu(capability: str) -> Gpu:
    return Gpu(
        name="NVIDIA GPU", compute_capability=capability, precisions=nvidia.precisions(capability), shared_memory=True,
        sparsity=float(capability) >= 8,
    )  # fmt: skip


def _notes(found: Board, variant: Software, known: bool, capability: str | None) -> tuple[str, ...]:
    notes = []
    if not known:
        named = ", ".join(found.modules) or found.model or found.chip
        notes.append(
            f"This board ({named}) has no built-in target, so its DLA cores and clocks are not known."
            if named
            else "The board is not known, because the device tree is hidden. In Docker, add: "
            "--security-opt systempaths=unconfined"
        )
    if capability is None:
        notes.append("The GPU's compute capability is not known.")
    if variant.l4t and not variant.jetpack:
        notes.append(
            f"JetPack of L4T r{variant.l4t} is not known to this version of edgewright. This has no other effect."
        )
    return tuple(notes)


def _release(variant: Software) -> str:
    return f"JetPack {variant.jetpack}" if variant.jetpack else f"unknown JetPack, L4T r{variant.l4t}"


def _near(memory: int | None, found: int | None) -> bool:
    return memory is None or found is None or 0.75 * memory < found <= memory


def _without_comments(configuration: str) -> str:
    return re.sub(r"^\s*#.*$", "", configuration, flags=re.M)
