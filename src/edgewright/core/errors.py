"""Errors a user can act on, and their exit codes.

A user's error says what happened with the offending value, why that is not allowed, and what to do, a line each. It is
printed without a traceback. Everything that is not an `EdgewrightError` is a bug of ours: exit code 70, traceback.
"""

from __future__ import annotations

import errno
from typing import ClassVar

BUG = 70
INTERRUPTED = 130


class EdgewrightError(Exception):
    """An error of the user's world: `what` happened, `why` it is refused, how to `fix` it (one line each)."""

    exit_code: ClassVar[int] = 3

    def __init__(self, what: str, why: str = "", fix: str = "") -> None:
        super().__init__(what, why, fix)
        self.what, self.why, self.fix = what, why, fix

    def __str__(self) -> str:
        return "\n".join(line for line in (self.what, self.why, self.fix) if line)


class GateFailed(EdgewrightError):
    """A budget is not met."""

    exit_code = 1


class UsageError(EdgewrightError):
    """The command or call cannot be understood."""

    exit_code = 2


class InvalidInput(EdgewrightError):
    """A file or value that the user gave is malformed or does not fit the others."""

    exit_code = 3


class IntegrityError(EdgewrightError):
    """Bytes are not the ones that were written, or are not trusted."""

    exit_code = 4


class Unavailable(EdgewrightError):
    """A runtime, a library or a device is not there."""

    exit_code = 5


class RuntimeFailed(EdgewrightError):
    """A runtime or a library failed or crashed on input that we took for valid."""

    exit_code = 6


class TimedOut(EdgewrightError):
    """Work went past its time limit and was stopped."""

    exit_code = 7


class OutOfResources(EdgewrightError):
    """Memory or disk space ran out."""

    exit_code = 8


class DiskFull(OutOfResources):
    """No space is left where something was being written: no other part of a run can go on either."""


class NotCompared(EdgewrightError):
    """Two reports cannot be compared: nothing was found to be worse, and nothing was proven to be as good."""

    exit_code = 9


FAMILIES: dict[str, type[EdgewrightError]] = {
    cls.__name__: cls
    for cls in (
        GateFailed, UsageError, InvalidInput, IntegrityError, Unavailable, RuntimeFailed, TimedOut, OutOfResources,
        DiskFull, NotCompared,
    )
}  # fmt: skip


def from_exception(error: BaseException) -> EdgewrightError | None:
    """The user's error behind `error`: itself, or what a full disk or memory means. None: a bug of ours."""
    if isinstance(error, EdgewrightError):
        return error
    if isinstance(error, MemoryError):
        return OutOfResources(
            "Out of memory.", str(error) or "The process reached its memory limit.", "Raise the limit or free memory."
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(error.filename or "a file")
    if isinstance(error, OSError):
        return _file_system(error)
    if isinstance(error, RuntimeError) and "home directory" in str(error):  # pathlib's words, and platformdirs'
        return homeless()
    return None


def homeless() -> InvalidInput:
    """The error for a user without a home folder, where something is kept in it."""
    return InvalidInput(
        "This user has no home folder.", "The store and the settings of libraries are kept in it.",
        "Set HOME to a folder that this user can write (the store alone: EDGEWRIGHT_CACHE).",
    )  # fmt: skip


_REMEDIES = {
    errno.EROFS: "Name a folder that can be written; the store's is EDGEWRIGHT_CACHE, that of temporary files TMPDIR.",
    errno.EACCES: "Change its permissions, or name another path.",
    errno.EPERM: "Change its permissions, or name another path.",
    errno.ENOTDIR: "Name a path whose parents are folders.",
    errno.EEXIST: "Name another path, or remove what is there.",
    errno.EISDIR: "Name a file, not a folder.",
    errno.ENOTEMPTY: "Name another path, or remove what is there.",
    errno.ELOOP: "Remove the links that lead to one another.",
    errno.ENAMETOOLONG: "Name a shorter path.",
    errno.EMFILE: "Raise the limit on open files: ulimit -n 4096",
    errno.ENFILE: "Close other programs: the system has no file handles left.",
    errno.EIO: "Check the disk.",
    errno.ESTALE: "Mount the network folder again.",
}
"""What to do about errors of the file system that a user's machine causes, never our code."""


def _file_system(error: OSError) -> EdgewrightError | None:
    if "usable temporary directory" in str(error):  # tempfile's words; its errno says only that a file is missing
        return InvalidInput(
            "No folder for temporary files can be written.", "All that Python looks for are read-only or missing.",
            "Set TMPDIR to a folder that can be written.",
        )  # fmt: skip
    if error.errno not in _REMEDIES:
        return None
    where = error.filename2 or error.filename or "A file"
    what = f"{where} cannot be used: {error.strerror}."
    return InvalidInput(what, "The file system says so.", _REMEDIES[error.errno])


def disk_full(what: object) -> DiskFull:
    """The error for no space left while writing `what`."""
    return DiskFull(
        f"No space left while writing {what}.",
        "Nothing was left half-written under a final name.",
        "Free disk space (`edgewright cache prune` empties the store) or set EDGEWRIGHT_CACHE elsewhere.",
    )
