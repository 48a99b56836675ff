"""Safe file access: reads stay inside a folder, writes are atomic.

A name from inside a file, such as that of an ONNX file's external data, is opened relative to the file's folder, one
component at a time. Neither ``..``, an absolute path nor a symbolic link can lead outside. The only links that are
followed are those of a hub's cache or DVC, into their content store.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from edgewright.core.errors import IntegrityError, InvalidInput, UsageError

_BLOB = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MD5 = re.compile(r"[0-9a-f]{32}")
DROPPINGS = re.compile(
    r"\._.*|\.DS_Store|Thumbs\.db|desktop\.ini|\.gitattributes|\.directory|__MACOSX|@eaDir|__pycache__|lost\+found"
)
"""Names of files and folders that systems and tools leave in any folder. edgewright ignores them and uses no such
name."""


def absolute(path: str | os.PathLike[str]) -> Path:
    """The absolute form of `path` (``~`` expanded), without resolving links."""
    return Path(os.path.abspath(os.path.expanduser(path)))  # noqa: PTH100, PTH111 - Path.resolve would follow links


def open_contained(folder: Path, name: str, *, hard_links: bool = False) -> BinaryIO:
    """Open the regular file `name` below `folder` for reading. Raises `IntegrityError` if `name` could lead outside.

    Symbolic links of a hub's cache or DVC are followed (see `_stored`). `hard_links`: allow a file with a second name,
    since the caller compares its digest.
    """
    parts = require_contained(folder, name)
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            there = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = there
        # O_NONBLOCK: a FIFO must not block the reader.
        file = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=here)
    except FileNotFoundError:
        raise InvalidInput(
            f"'{name}' is missing in {folder}.", "Another file refers to it.", "Copy it there, too."
        ) from None
    except PermissionError as error:
        raise InvalidInput(
            f"'{name}' of {folder} cannot be read.", error.strerror or "", "Change its permissions."
        ) from None
    except OSError as error:
        if (stored := _stored(folder, name)) is None:
            raise _refusal(folder, name, "it is, or goes through, a symbolic link that leads elsewhere") from error
        return stored
    finally:
        os.close(here)
    return _regular(file, folder, name, hard_links)


def require_contained(folder: Path, name: str) -> tuple[str, ...]:
    """The parts of `name`, a path below `folder`. Raises `IntegrityError` if it is absolute, malformed or contains
    '..'."""
    parts = PurePosixPath(name).parts
    if not name or "\0" in name or "\\" in name:
        raise _refusal(folder, name, "the name is malformed")
    if PurePosixPath(name).is_absolute():
        raise _refusal(folder, name, "the path is absolute")
    if ".." in parts:
        raise _refusal(folder, name, "the path contains '..'")
    return parts


def linked_file(folder: Path, name: str) -> Path:
    """The regular file `name` below a `folder` of the user's own data, whose links are followed (DVC, hubs,
    ImageFolder).

    Raises `IntegrityError` for a name that leaves the folder, `InvalidInput` if the file is missing.
    """
    require_contained(folder, name)
    path = folder / name
    if not path.is_file():  # a FIFO or a device would block or flood the reader
        raise InvalidInput(f"'{name}' is missing in {folder}.", "Another file refers to it.", "Copy it there, too.")
    return path


def _refusal(folder: Path, name: str, why: str) -> IntegrityError:
    return IntegrityError(
        f"Refused to open '{name}' of {folder}: {why}.",
        "A file name from inside another file must lead to a file below that file's folder.",
        "Copy the file itself into the folder (cp -L), or do not use a model from this origin.",
    )


def _regular(file: int, folder: Path, name: str, hard_links: bool) -> BinaryIO:
    """The open file, if it is a regular one. Raises `IntegrityError` otherwise."""
    status = os.fstat(file)
    second = status.st_nlink > 1 and not hard_links
    if not stat.S_ISREG(status.st_mode) or second:
        os.close(file)
        raise _refusal(folder, name, "it has a second name (a hard link)" if second else "it is not a regular file")
    return os.fdopen(file, "rb")


def _stored(folder: Path, name: str) -> BinaryIO | None:
    """The file behind a link of a hub's cache or of DVC; None for any other link.

    A Hugging Face snapshot (``<repo>/snapshots/<revision>/``) links into ``<repo>/blobs/``, where the digest of a file
    is its name. A link of DVC leads to a cache anywhere; there the MD5 of the content is the name, and it is compared.
    """
    target = Path(os.path.realpath(folder / name))
    repositories = [p.parent.parent for p in (folder, *folder.parents) if p.parent.name == "snapshots"]
    in_hub = _BLOB.fullmatch(target.name) and any(
        target.parent == Path(os.path.realpath(repository), "blobs") for repository in repositories
    )
    md5 = f"{target.parent.name}{target.name}"
    if not in_hub and not _MD5.fullmatch(md5):
        return None
    try:
        found = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise InvalidInput(
            f"'{name}' of {folder} links to {target}, which is missing.", "The cache does not have that file.",
            "Download it again (DVC: dvc pull).",
        ) from None  # fmt: skip
    except OSError:
        return None
    file = _regular(found, folder, name, hard_links=True)
    if not in_hub and _digest(file, hashlib.md5(usedforsecurity=False)) != md5:
        file.close()
        return None
    file.seek(0)
    return file


def require_writable(folder: Path, fix: str) -> None:
    """Raise `UsageError`, which ends with `fix`, unless `folder` can be written or created.

    The check writes a temporary file and removes it: permissions say little for root, and nothing about a read-only
    file system.
    """
    created: list[Path] = []
    try:
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file.", "A folder is needed here.", fix)
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir()
            created.append(path)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UsageError(f"The folder {folder} cannot be written.", f"{error.strerror or error}.", fix) from None
    finally:
        for path in reversed(created):
            with contextlib.suppress(OSError):
                path.rmdir()


def require_writable_file(path: Path, fix: str) -> None:
    """As `require_writable`, for a file at `path`."""
    try:
        is_folder = path.is_dir()
    except OSError as error:
        raise UsageError(f"{path} cannot be written.", f"{error.strerror}.", fix) from None
    if is_folder:
        raise UsageError(f"{path} is a folder.", "A file name is needed here.", fix)
    require_writable(path.parent, fix)


def sha256(source: Path | BinaryIO | bytes) -> str:
    """The SHA-256 of a file's content, or of bytes, in hex digits."""
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    if isinstance(source, Path):
        with source.open("rb") as file:
            return sha256(file)
    return _digest(source, hashlib.sha256())


def _digest(source: BinaryIO, digest: hashlib._Hash) -> str:
    while chunk := source.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def tree(folder: Path) -> list[str]:
    """The POSIX names of all regular files below `folder`, sorted."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def size(path: Path) -> int:
    """The size in bytes of a file, or of all files below a folder."""
    return path.stat().st_size if path.is_file() else sum((path / name).stat().st_size for name in tree(path))


def sync(path: Path) -> None:
    """Flush a file or a folder entry to the disk (fsync)."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(path: Path, content: bytes | str) -> None:
    """Write a file atomically: its name has either the old content or all of the new."""
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
    """A temporary folder next to `final`. It is renamed to `final` if the block succeeds, else removed.

    An existing `final` is moved aside first, since a folder cannot be renamed over another.
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
