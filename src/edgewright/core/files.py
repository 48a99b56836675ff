"""Files that stay where they belong: contained on reading, atomic on writing.

A name that comes out of a file (external data of an ONNX, an entry of a manifest) is opened relative to its folder, a
component at a time, without following a link, so neither ``..``, an absolute path, a symbolic link nor a hard link
can reach outside.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from edgewright.core.errors import IntegrityError, InvalidInput


def absolute(path: str | os.PathLike[str]) -> Path:
    """`path` made absolute once (``~`` expanded), without resolving links."""
    return Path(os.path.abspath(os.path.expanduser(path)))  # noqa: PTH100, PTH111 - Path.resolve would follow links


def open_contained(folder: Path, name: str) -> BinaryIO:
    """Open the regular file `name` below `folder` for reading; raise `IntegrityError` where it could leave it."""

    def refuse(why: str) -> IntegrityError:
        return IntegrityError(
            f"Refused to open '{name}' of {folder}: {why}.",
            "A file name that comes out of another file may only point below that file's own folder.",
            "Put the file itself (no link) into the folder, or do not use a model from this origin.",
        )

    parts = PurePosixPath(name).parts
    if not name or "\0" in name or "\\" in name:
        raise refuse("the name is malformed")
    if PurePosixPath(name).is_absolute():
        raise refuse("the path is absolute")
    if ".." in parts:
        raise refuse("the path climbs with '..'")
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            there = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = there
        # O_NONBLOCK: a FIFO must not hang the reader.
        file = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=here)
    except FileNotFoundError:
        raise InvalidInput(
            f"'{name}' is missing in {folder}.", "Another file refers to it.", "Copy it there too."
        ) from None
    except OSError as error:
        raise refuse("it is, or goes through, a symbolic link or something that is no folder") from error
    finally:
        os.close(here)
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(file)
        raise refuse("it has a second name (a hard link)" if status.st_nlink > 1 else "it is no regular file")
    return os.fdopen(file, "rb")


def sha256(source: Path | BinaryIO) -> str:
    """Hex SHA-256 of a file's content."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            return sha256(file)
    digest = hashlib.sha256()
    while chunk := source.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def tree(folder: Path) -> list[str]:
    """The POSIX names of all regular files below `folder`, sorted."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    return path.stat().st_size if path.is_file() else sum((path / name).stat().st_size for name in tree(path))


def sync(path: Path) -> None:
    """Flush a file or a folder entry to the disk (fsync)."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(path: Path, content: bytes | str) -> None:
    """Write a file so that its name holds either the old content or all of the new, whatever happens meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """A temporary folder beside `final` that takes its name when the block ends well, and vanishes when it does not.

    An existing `final` is replaced: it is moved aside first, since a folder cannot be renamed over another.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        for name in tree(temporary):
            sync(temporary / name)
        sync(temporary)
        if final.exists():
            aside = final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}.old")
            final.replace(aside)
            temporary.replace(final)
            shutil.rmtree(aside, ignore_errors=True)
        else:
            temporary.replace(final)
        sync(final.parent)
    finally:
        if temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)
