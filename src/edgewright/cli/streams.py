"""Standard output and error that never change the exit code: in any encoding, closed, or with a reader that ended."""

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
"""Errors that are no failure: ``| head -1`` ended after its line, or ``>&-`` closed the stream."""


def prepare() -> None:
    """Replace the standard streams before the first output by streams that print any character."""
    for handle in range(3):
        try:
            os.fstat(handle)
        except OSError:  # closed: the next opened file would get this number, and all output
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = _stream(sys.stdout, STDOUT)
    sys.stderr = _stream(sys.stderr, STDERR)


def _stream(stream: Any, handle: int) -> TextIO:
    """A stream like `stream` that writes to `handle`; `stream` itself if it writes elsewhere (a test, a notebook)."""
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
    """The file below standard output. After a failure it discards the rest, so that no later flush fails."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if error.errno in NOBODY_READS or self.fileno() == STDERR:  # no stream is left to report the latter
                return len(data)
            raise OutOfResources(
                f"Standard output cannot be written: {error.strerror}.",
                "The output is not complete.",
                "Write it to a disk with free space.",
            ) from error
