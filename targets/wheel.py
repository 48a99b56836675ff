"""The packages to install on a device: this installation of edgewright as a wheel, and its requirements.

An editable checkout and an installed package give the same wheel: the files that the interpreter imports, and the
metadata of the distribution. The demo's weights are left out, because devices do not need them.

The host compares the requirements with `packaging`. The device reports its versions. It then receives the list of
missing packages and the versions in ``pins.txt``.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.metadata
import importlib.resources
import io
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgewright.core.errors import InvalidInput
from edgewright.core.lazy import require

if TYPE_CHECKING:
    from packaging.requirements import Requirement

SUFFIXES = (".py", ".toml", ".typed", ".json", ".j2")
PINS = "pins.txt"


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A device: CPython on Linux with this version ("3.10.12") and architecture ("aarch64")."""

    python: str
    arch: str

    def markers(self) -> dict[str, str]:
        """Return the environment for the evaluation of markers, without an extra."""
        python = self.python.removesuffix("+")  # built from a checkout
        return {
            "implementation_name": "cpython", "implementation_version": python, "os_name": "posix",
            "platform_machine": self.arch, "platform_python_implementation": "CPython", "platform_release": "",
            "platform_system": "Linux", "platform_version": "", "python_full_version": python,
            "python_version": ".".join(python.split(".")[:2]), "sys_platform": "linux", "extra": "",
        }  # fmt: skip


def pack() -> bytes:
    """Return the wheel (a ZIP in PyPA's binary distribution format); equal files give equal bytes."""
    about = _distribution()
    root = Path(str(importlib.resources.files("edgewright")))
    info = f"edgewright-{about.version}.dist-info"
    content = {f"edgewright/{name}": (root / name).read_bytes() for name in _names(root, "")}
    content[f"{info}/METADATA"] = (about.read_text("METADATA") or "").encode()
    content[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: edgewright\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    content[f"{info}/entry_points.txt"] = b"[console_scripts]\nedgewright = edgewright.__main__:main\n"
    record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in content.items())
    content[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def names() -> list[str]:
    """Return the distributions that edgewright requires on any device."""
    return sorted({need.name for need in _required() if not _of_extra(need)})


def lacking(machine: Machine, installed: Mapping[str, str]) -> list[str]:
    """Return the requirements on `machine` that the `installed` versions do not meet, as "name>=version"."""
    return [
        f"{need.name}{need.specifier}"
        for need in requirements(machine)
        if not _meets(installed.get(need.name, ""), need)
    ]


def requirements(machine: Machine) -> list[Requirement]:
    """Return the requirements of edgewright on `machine`, without extras."""
    return [need for need in _required() if need.marker is None or need.marker.evaluate(machine.markers())]


def pins(machine: Machine) -> list[str]:
    """Return the versions in ``pins.txt`` for `machine`, as "name==version"."""
    text = importlib.resources.files(__package__).joinpath(PINS).read_text(encoding="utf-8")
    found = _parsed(line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return [
        f"{pin.name}{pin.specifier}" for pin in found if pin.marker is None or pin.marker.evaluate(machine.markers())
    ]


def download(machine: Machine) -> str:
    """Return the pip command that downloads the wheels of `pins` into a folder, on a machine with a package index."""
    python = ".".join(machine.python.split(".")[:2])
    platforms = " ".join(f"--platform {tag}_{machine.arch}" for tag in ("manylinux_2_28", "manylinux2014"))
    return (
        f"pip download -d DIR --no-deps --only-binary :all: --python-version {python} {platforms} "
        + " ".join(pins(machine))
    )  # fmt: skip


@functools.cache
def _required() -> tuple[Requirement, ...]:
    """Return the requirements in the metadata of this installation, extras included."""
    found = _parsed(_distribution().requires or ())
    for need in found:
        if (need.url or need.extras) and not _of_extra(need):
            raise _unreadable(str(need), "a requirement with a URL or an extra cannot be installed on a device")
    if not found:
        raise _unreadable("Requires-Dist", "the metadata has no such field")
    return tuple(found)


def _parsed(lines: Iterable[str]) -> list[Requirement]:
    packaging = require("packaging.requirements", "host")
    found = []
    for line in lines:
        try:
            found.append(packaging.Requirement(line))
        except packaging.InvalidRequirement as error:
            raise _unreadable(line, str(error).splitlines()[0]) from None
    return found


def _of_extra(need: Requirement) -> bool:
    """Whether `need` belongs to an extra, on any machine."""
    return need.marker is not None and "extra" in str(need.marker)


def _meets(version: str, need: Requirement) -> bool:
    """Whether the installed `version` meets `need`. An invalid version, as on some systems, does not."""
    versions = require("packaging.version", "host")
    try:
        found = versions.Version(version)
    except versions.InvalidVersion:
        return False
    return need.specifier.contains(found, prereleases=True)


def _distribution() -> importlib.metadata.Distribution:
    try:
        return importlib.metadata.distribution("edgewright")
    except importlib.metadata.PackageNotFoundError:
        raise _unreadable("the metadata of edgewright", "edgewright is on the path but not installed") from None


def _unreadable(what: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"A requirement of this installation of edgewright cannot be read: '{what}'.",
        f"{why[:1].upper()}{why[1:]}.".replace("..", "."),
        "Install edgewright again.",
    )  # fmt: skip


def _names(root: Path, below: str) -> list[str]:
    found = []
    for path in sorted((root / below).iterdir()):
        name = f"{below}{path.name}"
        if path.is_dir() and path.name != "__pycache__":  # the five folders are links in a checkout
            found += _names(root, f"{name}/")
        elif path.suffix in SUFFIXES:
            found.append(name)
    return found


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
