"""The wheel that goes to a device: this very installation of edgewright, packed anew.

An editable checkout and an installed package give the same: the files that the interpreter imports, with the metadata
of the distribution. The demo's weights stay here; no device needs them.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import io
import re
import zipfile
from pathlib import Path

SUFFIXES = (".py", ".toml", ".typed", ".json", ".j2")
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*(>=[0-9.]+)?\s*(?:;\s*python_version\s*<\s*[\"']([0-9.]+)[\"'])?")


def pack() -> bytes:
    """The wheel (a ZIP by the binary distribution format of PyPA), the same bytes for the same files."""
    import edgewright

    about = importlib.metadata.distribution("edgewright")
    root = Path(edgewright.__file__).parent
    info = f"edgewright-{about.version}.dist-info"
    content = {f"edgewright/{name}": (root / name).read_bytes() for name in _names(root, "")}
    content[f"{info}/METADATA"] = (about.read_text("METADATA") or "").encode()
    content[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: edgewright\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    content[f"{info}/entry_points.txt"] = b"[console_scripts]\nedgewright = edgewright.cli.main:main\n"
    record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in content.items())
    content[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def requirements(python: str) -> list[str]:
    """What the device side needs under this version of Python, as "name>=version"."""
    found = []
    for text in importlib.metadata.requires("edgewright") or ():
        match = _REQUIREMENT.fullmatch(text.strip())
        if match is None:
            continue  # of an extra
        name, version, below = match.groups()
        if below is None or _numbers(python) < _numbers(below):
            found.append(f"{name}{version or '>=0'}")
    return found


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


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(word) for word in re.findall(r"\d+", version)[:2])
