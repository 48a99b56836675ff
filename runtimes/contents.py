"""The files of an artifact as a runtime gets them: bytes, read once from inside the folder, and checked as they are
read.

A runtime that opened a file by its path would open it a second time, after the check, and would follow whatever that
file names. So what a runtime library gets is what was verified, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgewright.core import files
from edgewright.core.errors import IntegrityError


class Contents:
    """The files below `folder`. `digests`: the SHA-256 of each, by name; None for an artifact that was just built."""

    def __init__(self, folder: Path, digests: Mapping[str, str] | None = None) -> None:
        self.folder, self._digests = folder, digests
        self._held: dict[str, bytes] = {}

    def __contains__(self, name: str) -> bool:
        return (self.folder / name).is_file() if self._digests is None else name in self._digests

    def read(self, name: str) -> bytes:
        """The bytes of the file `name`, verified. Raises `IntegrityError` where they are not the ones that were
        written.

        `InvalidInput` where there is no such file.
        """
        if (held := self._held.get(name)) is not None:
            return held
        with files.open_contained(self.folder, name, hard_links=self._digests is not None) as file:
            content = file.read()
        if self._digests is not None and files.sha256(content) != self._digests.get(name):
            raise damaged(self.folder, f"{name} is not what was written (SHA-256 differs)")
        return content

    def hold(self) -> None:
        """Read and verify all files now, and keep them until `release`: no file is read twice."""
        self._held = {name: self.read(name) for name in self._digests or ()}

    def release(self) -> None:
        """Let go of what `hold` keeps; a later `read` verifies the file again."""
        self._held = {}


def damaged(folder: Path, what: str) -> IntegrityError:
    """The error for a bundle whose files are not the listed ones."""
    return IntegrityError(
        f"{folder} is damaged: {what}.",
        "A bundle is used only if every file is, byte for byte, the one that its manifest lists.",
        "Copy the whole folder again from where it was built.",
    )
