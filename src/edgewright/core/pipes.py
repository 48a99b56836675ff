"""Messages between a process and its child: length and msgpack through a pipe; and requests for children."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Any

import msgspec

is_child = False
"""Whether this process is a child that serves requests."""

FILES = 5
"""Number of handles in a request: pipes of requests, answers and status, the log, the working directory."""
STATUS = struct.Struct("<?i")
"""Messages of the status pipe: (True, process id) from the child once it has its own session, then (False, exit status
as in `subprocess`) from the fork server."""


class Forking(msgspec.Struct, frozen=True, kw_only=True):
    """A request for a child: its limits, and the environment variables that differ between children."""

    cpu_s: int | None
    memory_bytes: int | None
    env: dict[str, str]


def send(handle: int, message: Any) -> None:
    """Write the whole `message`. Raises `BrokenPipeError` if nobody reads."""
    body = msgspec.msgpack.encode(message)
    data = memoryview(struct.pack("<Q", len(body)) + body)
    while data:
        data = data[os.write(handle, data) :]


def receive(handle: int) -> Any:
    """The next message; None if the other side closed the pipe or died within a message."""
    header = b"".join(_read(handle, 8))
    if len(header) < 8:
        return None
    (length,) = struct.unpack("<Q", header)
    body = b"".join(_read(handle, length))
    return msgspec.msgpack.decode(body) if len(body) == length else None


def _read(handle: int, count: int) -> Iterator[bytes]:
    while count and (chunk := os.read(handle, min(count, 1 << 20))):
        count -= len(chunk)
        yield chunk
