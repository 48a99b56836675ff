"""Errors that a user can act on, and their exit codes.

A user error has three lines: what happened with the offending value, why it is not allowed, and what to do. It is
printed without a traceback. Every other exception is a bug of edgewright: exit code 70, with a traceback.
"""

from __future__ import annotations

import errno
from typing import ClassVar

BUG = 70
INTERRUPTED = 130


class EdgewrightError(Exception):
    """An error that the user can act on: `what` happened, `why`, and how to `fix` it (one line each)."""

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
    """The command or call is not valid."""

    exit_code = 2


class InvalidInput(EdgewrightError):
    """A file or value from the user is malformed, or does not fit the others."""

    exit_code = 3


class IntegrityError(EdgewrightError):
    """Bytes differ from those that were written, or their origin is not trusted."""

    exit_code = 4


class Unavailable(EdgewrightError):
    """A runtime, a library or a device is missing."""

    exit_code = 5


class RuntimeFailed(EdgewrightError):
    """A runtime or a library failed or crashed on valid input."""

    exit_code = 6


class TimedOut(EdgewrightError):
    """Work reached its time limit and was stopped."""

    exit_code = 7


class OutOfResources(EdgewrightError):
    """Memory or disk space ran out."""

    exit_code = 8


class DiskFull(OutOfResources):
    """The disk is full; no other part of the run can continue."""


class NotCompared(EdgewrightError):
    """Two reports cannot be compared, so nothing is known to be worse or not worse."""

    exit_code = 9


FAMILIES: dict[str, type[EdgewrightError]] = {
    cls.__name__: cls
    for cls in (
        GateFailed, UsageError, InvalidInput, IntegrityError, Unavailable, RuntimeFailed, TimedOut, OutOfResources,
        DiskFull, NotCompared,
    )
}  # fmt: skip


def from_exception(error: BaseException) -> EdgewrightError | None:
    """The user error behind `error`: the error, or one for a full disk or memory. None for a bug of edgewright."""
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
    if isinstance(error, RuntimeError) and "home directory" in str(error):  # the message of pathlib and platformdirs
        return homeless()
    return None


def homeless() -> InvalidInput:
    """The error for a user without a home folder."""
    return InvalidInput(
        "This user has no home folder.", "The store and the settings of libraries are kept there.",
        "Set HOME to a folder that this user can write (for the store alone: EDGEWRIGHT_CACHE).",
    )  # fmt: skip


_REMEDIES = {
    errno.EROFS: "Name a writable folder (for the store: EDGEWRIGHT_CACHE; for temporary files: TMPDIR).",
    errno.EACCES: "Change its permissions, or name another path.",
    errno.EPERM: "Change its permissions, or name another path.",
    errno.ENOTDIR: "Name a path whose parents are folders.",
    errno.EEXIST: "Name another path, or remove the existing one.",
    errno.EISDIR: "Name a file, not a folder.",
    errno.ENOTEMPTY: "Name another path, or remove the existing one.",
    errno.ELOOP: "Remove the links that lead to one another.",
    errno.ENAMETOOLONG: "Name a shorter path.",
    errno.EMFILE: "Raise the limit on open files: ulimit -n 4096",
    errno.ENFILE: "Close other programs: the system has no file handles left.",
    errno.EIO: "Check the disk.",
    errno.ESTALE: "Mount the network folder again.",
}
"""What to do about file system errors that come from the user's machine, not from our code."""


def _file_system(error: OSError) -> EdgewrightError | None:
    if "usable temporary directory" in str(error):  # tempfile's message; its errno says only that a file is missing
        return InvalidInput(
            "There is no writable folder for temporary files.", "Those that Python tries are read-only or missing.",
            "Set TMPDIR to a writable folder.",
        )  # fmt: skip
    if error.errno not in _REMEDIES:
        return None
    where = error.filename2 or error.filename or "A file"
    what = f"{where} cannot be used: {error.strerror}."
    return InvalidInput(what, "The file system reports this error.", _REMEDIES[error.errno])


def disk_full(what: object) -> DiskFull:
    """The error for a full disk during the write of `what`."""
    return DiskFull(
        f"No space left while writing {what}.",
        "No incomplete file remains under a final name.",
        "Free disk space (`edgewright cache prune` empties the store), or set EDGEWRIGHT_CACHE to another disk.",
    )
