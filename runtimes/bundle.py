"""A bundle: the folder that goes to the device. An artifact and ``manifest.json`` with the SHA-256 of each file.

Not allowed in a bundle: a file that the manifest does not name or that is not there, other bytes than were written,
symbolic and hard links, names that climb with ``..`` or start with ``/``. Each is an `IntegrityError`, raised before a
runtime library reads a byte. Digests find damage; who wrote a bundle they do not tell.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from edgewright.core import files
from edgewright.core.child import Progress
from edgewright.core.errors import IntegrityError, InvalidInput, UsageError
from edgewright.core.spec import SCHEMA_VERSION, ModelSpec, decode, encode

from . import artifact
from .options import Options

MANIFEST = "manifest.json"
SUFFIX = ".edge"
_Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a bundle holds and whence it comes. `artifact`: the runtime and its options; `created`: UTC, ISO 8601."""

    schema_version: int = SCHEMA_VERSION
    format: Literal["edgewright-bundle"] = "edgewright-bundle"
    name: str
    created: str
    files: dict[str, _Digest]
    artifact: Options
    spec: ModelSpec
    provenance: dict[str, Any] = {}


class _Listed(msgspec.Struct):
    # What every manifest of ours has, a bundle's and the store's.
    files: dict[str, _Digest]
    schema_version: int = SCHEMA_VERSION


def write(artifact_folder: Path, out: Path, *, name: str, provenance: Mapping[str, Any]) -> Manifest:
    """Write the artifact in `artifact_folder` as a bundle at `out`, whole or not at all.

    An older bundle at `out` is replaced; anything else that is not an empty folder is left alone (`UsageError`).
    `provenance`: JSON-able facts on how the model came to be.
    """
    described = artifact.read(artifact_folder)
    _require_replaceable(out)
    digests = {}
    with files.new_folder(out) as folder:
        for entry in _entries(artifact_folder):
            if entry == MANIFEST:
                continue  # the store's own
            target = folder / entry
            target.parent.mkdir(parents=True, exist_ok=True)
            with files.open_contained(artifact_folder, entry) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
            digests[entry] = files.sha256(target)
        manifest = Manifest(
            name=name,
            created=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
            files=digests,
            artifact=described.options,
            spec=described.spec,
            provenance=dict(provenance),
        )
        (folder / MANIFEST).write_bytes(encode(manifest))
    return manifest


def inspect(path: Path) -> Manifest:
    """The manifest of the bundle at `path`; its files are not checked. Raises `InvalidInput` for what is no bundle."""
    folder = files.absolute(path)
    if not folder.is_dir() or not (folder / MANIFEST).exists():
        raise no_bundle(folder)
    return decode(_manifest_bytes(folder), Manifest, str(folder / MANIFEST))


def verify(path: Path) -> Manifest:
    """The manifest of the bundle at `path` if every file is what was written; else `IntegrityError`."""
    manifest = inspect(path)
    _check(files.absolute(path), manifest.files)
    return manifest


def finish(folder: str | Path, out: str | Path, progress: Progress | None = None) -> dict[str, Any]:
    """Build what only this device can (a TensorRT plan) of the bundle or artifact `folder`, into the artifact `out`.

    Everything else is copied, verified; the result is run once and described anew. Returns its ``artifact.json``.
    """
    source, out = files.absolute(folder), Path(out)
    check(source)
    about = artifact.read(source)
    for name in _entries(source):
        if name not in (MANIFEST, artifact.FILE):
            target = out / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with files.open_contained(source, name) as file, target.open("wb") as copy:
                shutil.copyfileobj(file, copy, 1 << 20)
    return artifact.complete(out, about.spec, about.options, True, progress)


def check(folder: Path) -> None:
    """Verify whatever manifest of ours lies in `folder` (a bundle's or the store's); raise `IntegrityError` on damage.

    A folder without a manifest is an artifact fresh from `artifact.build`, unless its name says that it is a bundle.
    """
    if (folder / MANIFEST).is_file() or (folder / MANIFEST).is_symlink():
        listed = decode(_manifest_bytes(folder), _Listed, str(folder / MANIFEST))
        _check(folder, listed.files)
    elif folder.suffix == SUFFIX:
        raise _damaged(folder, f"{MANIFEST} is missing")


def no_bundle(path: Path) -> InvalidInput:
    """The error for a path that is no bundle."""
    return InvalidInput(
        f"{path} is not a bundle." if path.exists() else f"There is no bundle at {path}.",
        f"A bundle is a folder with {MANIFEST} and {artifact.FILE}, as `edgewright optimize` writes it.",
        "Give the path of the whole folder NAME.edge.",
    )


def _check(folder: Path, digests: Mapping[str, str]) -> None:
    present, listed = set(_entries(folder)) - {MANIFEST}, set(digests)
    if missing := sorted(listed - present):
        # A name that climbs is refused as such, not as missing.
        for name in missing:
            _refuse_climbing(folder, name)
        raise _damaged(folder, f"missing: {', '.join(missing)}")
    if extra := sorted(present - listed):
        raise _damaged(folder, f"not in the manifest: {', '.join(extra)}")
    for name, digest in digests.items():
        with files.open_contained(folder, name) as file:
            if files.sha256(file) != digest:
                raise _damaged(folder, f"{name} is not what was written (SHA-256 differs)")


def _entries(folder: Path) -> Iterator[str]:
    """The names of all files below `folder`, links included (opening them is refused), folders not followed."""
    for here, folders, names in os.walk(folder):
        links = [name for name in folders if Path(here, name).is_symlink()]
        for name in (*names, *links):
            yield Path(here, name).relative_to(folder).as_posix()


def _refuse_climbing(folder: Path, name: str) -> None:
    try:
        files.open_contained(folder, name).close()
    except InvalidInput:
        return


def _manifest_bytes(folder: Path) -> bytes:
    with files.open_contained(folder, MANIFEST) as file:
        return file.read()


def _damaged(folder: Path, what: str) -> IntegrityError:
    return IntegrityError(
        f"{folder} is damaged: {what}.",
        "A bundle is used only if every file is, byte for byte, the one that its manifest lists.",
        "Copy the whole folder again from where it was built.",
    )


def _require_replaceable(out: Path) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        inspect(out)
    except (InvalidInput, IntegrityError):
        raise UsageError(
            f"{out} exists and is not a bundle.",
            "Only an older bundle is replaced.",
            "Choose another path, or remove what is there.",
        ) from None
