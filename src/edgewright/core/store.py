"""The store: results by the hash of their inputs.

``<root>/<stage>/<key>/`` has one complete result, and ``manifest.json`` with the SHA-256 of each of its files. A result
is written to a temporary folder next to its final one, flushed, and renamed. Digests are checked on every read, before
a runtime library gets a byte. With a lock per key several runs share the work; leftovers of killed runs are removed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from edgewright.core import errors, files
from edgewright.core.errors import RuntimeFailed, homeless
from edgewright.core.lazy import require

MANIFEST, CHECKPOINTS = "manifest.json", "checkpoints"
FULL = 256 << 10
"""A disk with fewer free bytes than this counts as full."""


class Manifest(msgspec.Struct, kw_only=True):
    """The manifest of a result: the inputs whose hash is its key, and its files.

    `seal`: the SHA-256 of the manifest's own content, so that damage of the manifest is detected, too.
    """

    schema_version: int = 1
    stage: str
    inputs: dict[str, Any]
    files: dict[str, str]
    seconds: float
    seal: str = ""

    def sealed(self) -> str:
        """The seal of this content."""
        content = msgspec.structs.replace(self, seal="")
        return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()


class Entry(msgspec.Struct, frozen=True):
    """One result: its folder, its key, whether it was reused, and the `damage` of an older one that was discarded."""

    path: Path
    key: str
    reused: bool
    seconds: float
    damage: str = ""


def default_root() -> Path:
    """``$EDGEWRIGHT_CACHE``, else the platform's cache folder."""
    if root := os.environ.get("EDGEWRIGHT_CACHE"):
        return files.absolute(root)
    found = Path(require("platformdirs", "host").user_cache_dir("edgewright"))
    if not found.is_absolute():  # older versions of platformdirs leave a "~" that cannot be expanded
        raise homeless()
    return found


def key_of(stage: str, inputs: Mapping[str, Any]) -> str:
    """The key of a stage with these inputs (any msgspec-encodable values): 32 hex digits of a SHA-256."""
    return hashlib.sha256(msgspec.json.encode([stage, inputs], order="deterministic")).hexdigest()[:32]


class Store:
    """A folder of results. Safe for several processes at once, and against a kill at any moment."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_root()
        self._locks = require("filelock", "host")

    def require_writable(self) -> None:
        """Raise `UsageError` if the store's folder cannot be written."""
        files.require_writable(self.root, "Finished steps are stored there. Set EDGEWRIGHT_CACHE to another folder.")

    def stage(
        self, stage: str, inputs: Mapping[str, Any], make: Callable[[Path], None],
        refuse: Callable[[Path], str] | None = None,
    ) -> Entry:  # fmt: skip
        """The result of `make` for `inputs`: the stored one if it is intact, else `make` fills an empty folder now.

        `refuse` returns why an intact result cannot be used here; empty if it can. An exception of `make` is raised,
        and nothing is stored. Another process with the same key waits.
        """
        key = key_of(stage, inputs)
        final = self.root / stage / key
        final.parent.mkdir(parents=True, exist_ok=True)
        with self._locks.FileLock(self._lock_file(final)):
            damage = ""
            if final.exists():
                if found := self.damage(final):
                    damage = f"was damaged: {found}"
                elif found := refuse(final) if refuse else "":
                    damage = f"was not used: {found}"
                if not damage:
                    return Entry(final, key, True, _read_manifest(final).seconds)
                shutil.rmtree(final)
            self._sweep_key(final)
            start = time.monotonic()
            with files.new_folder(final) as folder:
                self._make(make, folder)
                seconds = time.monotonic() - start
                digests = {name: files.sha256(folder / name) for name in files.tree(folder)}
                plain = msgspec.to_builtins(dict(inputs))
                manifest = Manifest(stage=stage, inputs=plain, files=digests, seconds=seconds)
                manifest.seal = manifest.sealed()
                (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
            return Entry(final, key, False, seconds, damage)

    @staticmethod
    def _make(make: Callable[[Path], None], folder: Path) -> None:
        try:
            make(folder)
        except RuntimeFailed as error:
            # Libraries report a full disk by many errors, most of them misleading.
            if shutil.disk_usage(folder).free < FULL:
                raise errors.disk_full(folder) from error
            raise

    def find(self, stage: str, inputs: Mapping[str, Any]) -> Entry | None:
        """The stored result for `inputs`, if there is an intact one; else None. Runs nothing."""
        key = key_of(stage, inputs)
        final = self.root / stage / key
        if not final.exists() or self.damage(final):
            return None
        return Entry(final, key, True, _read_manifest(final).seconds)

    def forget(self, stage: str, inputs: Mapping[str, Any]) -> None:
        """Remove the stored result for `inputs`, if there is one, so that the next `stage` runs again."""
        final = self.root / stage / key_of(stage, inputs)
        if final.exists():
            with self._locks.FileLock(self._lock_file(final)):
                shutil.rmtree(final, ignore_errors=True)

    def checkpoint(self, stage: str, inputs: Mapping[str, Any]) -> Path:
        """A folder for the checkpoints of long work on the result for `inputs`, so that a killed run can continue."""
        return self.root / CHECKPOINTS / key_of(stage, inputs)

    @staticmethod
    def damage(folder: Path) -> str:
        """The damage of a stored result, as text; empty if all its bytes are intact."""
        try:
            manifest = _read_manifest(folder)
        except (OSError, msgspec.MsgspecError) as error:
            return f"{MANIFEST} cannot be read ({error})"
        if manifest.seal != manifest.sealed():
            return f"{MANIFEST} was changed after it was written (SHA-256 differs)"
        names = set(files.tree(folder)) - {MANIFEST}
        if names != set(manifest.files):
            return f"files differ from the manifest: {', '.join(sorted(names ^ set(manifest.files)))}"
        for name, digest in manifest.files.items():
            if files.sha256(folder / name) != digest:
                return f"{name} was changed after it was written (SHA-256 differs)"
        return ""

    def entries(self) -> list[tuple[Path, int, float]]:
        """All results: folder, size in bytes, last use (seconds since the epoch)."""
        found = [m.parent for m in self.root.glob(f"*/*/{MANIFEST}") if not m.parent.name.startswith(".")]
        return [(p, files.size(p), (p / MANIFEST).stat().st_mtime) for p in sorted(found)]

    def prune(self, keep: Callable[[Path, int, float], bool]) -> int:
        """Remove the results for which `keep(folder, bytes, mtime)` is false. Returns the number of bytes freed."""
        freed = 0
        for path, size, used in self.entries():
            if not keep(path, size, used):
                with self._locks.FileLock(self._lock_file(path)):
                    shutil.rmtree(path, ignore_errors=True)
                freed += size
        for path in self.root.glob(f"{CHECKPOINTS}/*"):
            if not keep(path, size := files.size(path), path.stat().st_mtime):
                shutil.rmtree(path, ignore_errors=True)
                freed += size
        return freed + self.sweep()

    def sweep(self) -> int:
        """Remove temporary folders of killed runs (those without a lock holder). Returns the number of bytes freed."""
        freed = 0
        for orphan in [*self.root.glob("*/.*.tmp"), *self.root.glob("*/.*.old")]:
            key = orphan.name[1:].partition(".")[0]
            try:
                with self._locks.FileLock(self._lock_file(orphan.with_name(key)), timeout=0):
                    freed += files.size(orphan)
                    shutil.rmtree(orphan, ignore_errors=True)
            except (self._locks.Timeout, FileNotFoundError):
                continue  # another run works on it now
        return freed

    def _lock_file(self, final: Path) -> Path:
        locks = self.root / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        return locks / f"{final.parent.name}-{final.name}.lock"

    @staticmethod
    def _sweep_key(final: Path) -> None:
        for orphan in final.parent.glob(f".{final.name}.*"):
            shutil.rmtree(orphan, ignore_errors=True)


def _read_manifest(folder: Path) -> Manifest:
    return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
