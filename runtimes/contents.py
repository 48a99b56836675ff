"""The files of an artifact as verified bytes. Each file is read once, from inside the folder, and checked.

If a runtime opened a file by its path, it would open the file again after the check, and would follow the paths in it.
So a runtime library receives the verified bytes, never a path.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgewright.core import files
from edgewright.core.errors import IntegrityError


class Contents:
    """The files below `folder`. `digests`: SHA-256 by name, or None for a new artifact."""

    def __init__(self, folder: Path, digests: Mapping[str, str] | None = None) -> None:
        self.folder, self._digests = folder, digests
        self._held: dict[str, bytes] = {}

    def __contains__(self, name: str) -> bool:
        return (self.folder / name).is_file() if self._digests is None else name in self._digests

    def read(self, name: str) -> bytes:
        """Return the verified bytes of the file `name`.

        Raises `IntegrityError` if they changed, `InvalidInput` if the file does not exist.
        """
        if (held := self._held.get(name)) is not None:
            return held
        with files.open_contained(self.folder, name, hard_links=self._digests is not None) as file:
            content = file.read()
        if self._digests is not None and files.sha256(content) != self._digests.get(name):
            raise damaged(self.folder, f"{name} changed (its SHA-256 differs)")
        return content

    def hold(self) -> None:
        """Read and verify all files now, and keep them in memory until `release`, so that no file is read twice."""
        self._held = {name: self.read(name) for name in self._digests or ()}

    def release(self) -> None:
        """Release the memory of `hold`. A later `read` verifies the file again."""
        self._held = {}


def damaged(folder: Path, what: str) -> IntegrityError:
    """Return the error for a bundle with damaged files."""
    return IntegrityError(
        f"{folder} is damaged: {what}.",
        "edgewright uses a bundle only if every file has the SHA-256 in the manifest.",
        "Copy the complete folder again from the machine that built it.",
    )
