"""A bundle: the folder for the device. It contains an artifact and ``manifest.json`` with the SHA-256 of each file.

These raise an `IntegrityError`: a file that is missing or not in the manifest, changed bytes, links that lead out of
the bundle (except those of a hub's cache and DVC), names with ``..`` or a leading ``/``, and a torch program. The check
comes first; a runtime library receives only the verified bytes (see `contents`). System files such as ``.DS_Store`` are
ignored. Digests detect damage. They do not prove who wrote a bundle.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from edgewright.core import files
from edgewright.core.child import Progress
from edgewright.core.errors import IntegrityError, InvalidInput, UsageError
from edgewright.core.spec import SCHEMA_VERSION, ModelSpec, decode, encode, upgraded

from . import artifact, registry
from .contents import Contents, damaged
from .options import Options

MANIFEST, MAIN = "manifest.json", "main"
SUFFIX = ".edge"
_Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Graph(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One compiled graph of a bundle: runtime options and spec."""

    options: Options
    spec: ModelSpec


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content and origin of a bundle. `created`: UTC, ISO 8601. `provenance`: facts about the origin of the model.

    `artifacts`: the compiled graphs by name. Now there is one graph, `MAIN`, with its files directly in the bundle.
    Models with several graphs (encoder and decoder) will have a folder for each other graph.
    """

    schema_version: int = SCHEMA_VERSION
    format: Literal["edgewright-bundle"] = "edgewright-bundle"
    name: str
    created: str
    files: dict[str, _Digest]
    artifacts: Annotated[dict[str, Graph], msgspec.Meta(min_length=1)]
    provenance: dict[str, Any] = {}

    @staticmethod
    def upgraded(data: dict[str, Any]) -> dict[str, Any]:
        """Convert a manifest of schema 1, with one graph without a name, to this schema."""
        one = {name: data[key] for name, key in (("options", "artifact"), ("spec", "spec")) if key in data}
        rest = {key: value for key, value in data.items() if key not in ("artifact", "spec")}
        return {**rest, "artifacts": {MAIN: upgraded(one, "spec")}, "schema_version": SCHEMA_VERSION}

    @property
    def artifact(self) -> Options:
        """The runtime options of the main graph."""
        return self.artifacts[MAIN].options

    @property
    def spec(self) -> ModelSpec:
        """The spec of the main graph."""
        return self.artifacts[MAIN].spec


class _Listed(msgspec.Struct):
    # The fields of every manifest, in bundles and in the store.
    files: dict[str, _Digest]
    schema_version: int = SCHEMA_VERSION


def write(artifact_folder: Path, out: Path, *, name: str, provenance: Mapping[str, Any]) -> Manifest:
    """Write the artifact in `artifact_folder` as a bundle at `out`, completely or not at all.

    An older bundle at `out` is replaced. Raises `UsageError` for any other file or non-empty folder at `out`.
    `provenance`: facts about the origin of the model, as JSON data.
    """
    source = verified(artifact_folder)
    described = artifact.parse(source)
    require_no_program(described.options, artifact_folder)
    require_replaceable(out)
    with files.new_folder(out) as folder:
        digests = _copy(source, folder)
        manifest = Manifest(
            name=name,
            created=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
            files=digests,
            artifacts={MAIN: Graph(options=described.options, spec=described.spec)},
            provenance=dict(provenance),
        )
        (folder / MANIFEST).write_bytes(encode(manifest))
    return manifest


def copy(path: Path, out: Path) -> None:
    """Verify the bundle at `path` and copy it to `out`, completely or not at all. Replaces an older bundle at `out`."""
    source, manifest = verified(path), _manifest_bytes(path)
    require_replaceable(out)
    with files.new_folder(out) as folder:
        _copy(source, folder)
        (folder / MANIFEST).write_bytes(manifest)


def inspect(path: Path) -> Manifest:
    """Read the manifest of the bundle at `path` without a check of its files. Raises `InvalidInput` if not a bundle."""
    folder = files.absolute(path)
    if not folder.is_dir() or not (folder / MANIFEST).exists():
        raise no_bundle(folder)
    manifest = decode(_manifest_bytes(folder), Manifest, str(folder / MANIFEST))
    if set(manifest.artifacts) != {MAIN}:
        raise InvalidInput(
            f"{folder} contains the graphs {', '.join(sorted(manifest.artifacts))[:200]}.",
            f"This edgewright runs bundles with one graph, called {MAIN}.",
            "Update edgewright: pip install -U edgewright",
        )
    registry.require_known(manifest.artifact.runtime, folder / MANIFEST)
    require_no_program(manifest.artifact, folder)
    return manifest


def verify(path: Path) -> Manifest:
    """Verify every file of the bundle at `path` and return its manifest. Raises `IntegrityError` on damage."""
    manifest = inspect(path)
    contents = verified(files.absolute(path))
    about = artifact.parse(contents)
    if (about.options, about.spec) != (manifest.artifact, manifest.spec):
        raise damaged(contents.folder, f"{MANIFEST} and {artifact.FILE} describe different models")
    return manifest


def finish(folder: str | Path, out: str | Path, progress: Progress | None = None) -> dict[str, Any]:
    """Build the parts that only this device can build (a TensorRT plan), from `folder` into the artifact `out`.

    `folder`: a bundle or an artifact. Other files are verified and copied. The result runs once and is described again.
    Returns the content of its ``artifact.json``.
    """
    source, out = verified(files.absolute(folder)), Path(out)
    about = artifact.parse(source)
    require_no_program(about.options, source.folder)
    out.mkdir(parents=True, exist_ok=True)
    _copy(source, out, leave=artifact.FILE)
    return artifact.complete(out, about.spec, about.options, True, progress, about.is_int8)


def verified(folder: Path) -> Contents:
    """Read all files of `folder` and verify them against its manifest (of a bundle or of the store).

    A folder without a manifest is a new artifact of `artifact.build`, except if its suffix is that of a bundle.
    Raises `IntegrityError` on damage.
    """
    if (folder / MANIFEST).is_file() or (folder / MANIFEST).is_symlink():
        listed = decode(_manifest_bytes(folder), _Listed, str(folder / MANIFEST)).files
        _require_listed(folder, listed)
        contents = Contents(folder, listed)
        contents.hold()
        return contents
    if folder.suffix == SUFFIX:
        raise damaged(folder, f"{MANIFEST} is missing")
    return Contents(folder)


def no_bundle(path: Path) -> InvalidInput:
    """Return the error for a path that is not a bundle."""
    inside = sorted((path if path.is_dir() else path.parent).glob(f"*{SUFFIX}"))
    return InvalidInput(
        f"{path} is not a bundle." if path.exists() else f"The bundle {path} does not exist.",
        f"A bundle is a folder with {MANIFEST} and {artifact.FILE}, as `edgewright optimize` writes it.",
        f"Give the path of the bundle: {inside[0]}" if inside else "Give the path of the folder NAME.edge.",
    )


def _copy(source: Contents, folder: Path, leave: str = "") -> dict[str, str]:
    """Write the files of `source` into `folder`, except `leave`. Return the SHA-256 of each."""
    digests = {}
    for name in _entries(source.folder):
        if name not in (MANIFEST, leave):  # the manifest is the store's own, or the old bundle's
            target, content = folder / name, source.read(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            digests[name] = files.sha256(content)
    return digests


def require_no_program(options: Options, folder: Path) -> None:
    """Raise `IntegrityError` for a torch artifact, which is a reference on the machine that exported it only."""
    if registry.traits(options.runtime).reference:
        raise IntegrityError(
            f"{folder} contains a torch program.",
            "Loading it would run code in the file. edgewright opens only references that this machine exported.",
            f"Use a bundle of {', '.join(registry.shipped())}.",
        )


def _require_listed(folder: Path, digests: Mapping[str, str]) -> None:
    """Raise `IntegrityError` unless the files in `folder` are exactly those that the manifest lists."""
    for name in digests:
        files.require_contained(folder, name)
    present, listed = set(_entries(folder)) - {MANIFEST}, set(digests)
    if missing := sorted(listed - present):
        raise damaged(folder, f"missing: {', '.join(missing)}")
    if extra := sorted(present - listed):
        raise damaged(folder, f"not in the manifest: {', '.join(extra)}")


def _entries(folder: Path) -> Iterator[str]:
    """The names of all files below `folder`, links included, folders not followed; not what systems leave in any."""
    for here, folders, names in os.walk(folder):
        links = [name for name in folders if Path(here, name).is_symlink()]
        for name in (*names, *links):
            if not files.DROPPINGS.fullmatch(name):
                yield Path(here, name).relative_to(folder).as_posix()


def _manifest_bytes(folder: Path) -> bytes:
    with files.open_contained(folder, MANIFEST, hard_links=True) as file:
        return file.read()


def require_replaceable(out: Path) -> None:
    """Raise `UsageError` if `out` exists and is neither a bundle nor an empty folder."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        inspect(out)
    except (InvalidInput, IntegrityError):
        raise UsageError(
            f"{out} exists and is not a bundle.",
            "edgewright replaces only an older bundle.",
            "Choose another path, or remove this one.",
        ) from None
