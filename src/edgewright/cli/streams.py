"""Standard output and error that never change an exit code: any encoding, closed, or a reader that went away."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any, TextIO

from edgewright.core.errors import OutOfResources
from edgewright.core.text import ENCODING_ERRORS

STDOUT, STDERR = 1, 2
NOBODY_READS = (errno.EPIPE, errno.EBADF)
"""``| head -1`` that has read its line, and ``>&-``: the rest is not wanted, which is no failure."""


def prepare() -> None:
    """Put streams in place that print what they can, before anything is written."""
    for handle in range(3):
        try:
            os.fstat(handle)
        except OSError:  # closed: the next file that is opened would get this number, and what is printed
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = _stream(sys.stdout, STDOUT)
    sys.stderr = _stream(sys.stderr, STDERR)


def _stream(stream: Any, handle: int) -> TextIO:
    """A stream like `stream` over `handle`; `stream` itself where it writes somewhere else (a test, a notebook)."""
    if stream is not None:
        try:
            if stream.fileno() != handle:
                return stream  # type: ignore[no-any-return]
        except (AttributeError, OSError, ValueError):
            return stream  # type: ignore[no-any-return]
        stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(handle, "w", closefd=False)),
        encoding=getattr(stream, "encoding", None) or "utf-8",
        errors=ENCODING_ERRORS,
        line_buffering=handle == STDERR or os.isatty(handle),
        write_through=getattr(stream, "write_through", False),
    )


class _Output(io.FileIO):
    """What standard output writes to. After a failure the rest goes nowhere, so that no later flush fails again."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if error.errno in NOBODY_READS or self.fileno() == STDERR:  # nothing is left to report the latter on
                return len(data)
            raise OutOfResources(
                f"Standard output cannot be written: {error.strerror}.",
                "What was printed is not complete.",
                "Send it to a place with free space.",
            ) from error
