"""What is installed on a device: this very installation of edgewright as a wheel, and what that requires.

An editable checkout and an installed package give the same wheel: the files that the interpreter imports, with the
metadata of the distribution. The demo's weights stay here; no device needs them.

Requirements are read and compared here, by `packaging`: the device says which versions it has, and gets a list of what
it lacks, and the versions of ``pins.txt`` to install.
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
    """A device to install on: CPython on Linux, of this version ("3.10.12") and architecture ("aarch64")."""

    python: str
    arch: str

    def markers(self) -> dict[str, str]:
        """The environment that markers are evaluated in; without an extra."""
        python = self.python.removesuffix("+")  # built from a checkout
        return {
            "implementation_name": "cpython", "implementation_version": python, "os_name": "posix",
            "platform_machine": self.arch, "platform_python_implementation": "CPython", "platform_release": "",
            "platform_system": "Linux", "platform_version": "", "python_full_version": python,
            "python_version": ".".join(python.split(".")[:2]), "sys_platform": "linux", "extra": "",
        }  # fmt: skip


def pack() -> bytes:
    """The wheel (a ZIP by the binary distribution format of PyPA), the same bytes for the same files."""
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
    """The distributions that edgewright requires on any device."""
    return sorted({need.name for need in _required() if not _of_extra(need)})


def lacking(machine: Machine, installed: Mapping[str, str]) -> list[str]:
    """What edgewright requires on `machine` and is not met by the `installed` versions: "name>=version"."""
    return [
        f"{need.name}{need.specifier}"
        for need in requirements(machine)
        if not _meets(installed.get(need.name, ""), need)
    ]


def requirements(machine: Machine) -> list[Requirement]:
    """What edgewright requires on `machine`, extras left out."""
    return [need for need in _required() if need.marker is None or need.marker.evaluate(machine.markers())]


def pins(machine: Machine) -> list[str]:
    """The versions that are installed on `machine`, of all that may be: "name==version"."""
    text = importlib.resources.files(__package__).joinpath(PINS).read_text(encoding="utf-8")
    found = _parsed(line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return [
        f"{pin.name}{pin.specifier}" for pin in found if pin.marker is None or pin.marker.evaluate(machine.markers())
    ]


def download(machine: Machine) -> str:
    """The command that fetches the wheels of `pins` into a folder, on any machine that reaches a package index."""
    python = ".".join(machine.python.split(".")[:2])
    platforms = " ".join(f"--platform {tag}_{machine.arch}" for tag in ("manylinux_2_28", "manylinux2014"))
    return (
        f"pip download -d DIR --no-deps --only-binary :all: --python-version {python} {platforms} "
        + " ".join(pins(machine))
    )  # fmt: skip


@functools.cache
def _required() -> tuple[Requirement, ...]:
    """What the metadata of this installation says, extras included."""
    found = _parsed(_distribution().requires or ())
    for need in found:
        if (need.url or need.extras) and not _of_extra(need):
            raise _unreadable(str(need), "a device gets plain versions of plain distributions")
    if not found:
        raise _unreadable("Requires-Dist", "there is none")
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
    """Whether only an extra asks for it, whatever the machine is."""
    return need.marker is not None and "extra" in str(need.marker)


def _meets(version: str, need: Requirement) -> bool:
    """Whether an installed version will do; one that is no version of Python's (as some systems make) will not."""
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
        raise _unreadable("the metadata of edgewright", "it is not installed, only found on the path") from None


def _unreadable(what: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"This installation of edgewright does not tell what it requires: {what}.", f"{why}.".replace("..", "."),
        "Install edgewright again; a requirement that cannot be read is not left out.",
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
