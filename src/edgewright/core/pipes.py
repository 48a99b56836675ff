"""Messages between a process and its child: msgpack behind its length, through a pipe; and how a child is asked for."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Any

import msgspec

is_child = False
"""Whether this process is a child that answers."""

FILES = 5
"""What comes with a request: the pipes of requests, answers and status, the log, the working directory."""
STATUS = struct.Struct("<?i")
"""What goes through the pipe of status: (True, its process id) from the child once it has a session of its own, then
(False, how it ended, as `subprocess` says it) from here."""


class Forking(msgspec.Struct, frozen=True, kw_only=True):
    """A request for a child: its limits, and variables of its environment that differ from one child to the next."""

    cpu_s: int | None
    memory_bytes: int | None
    env: dict[str, str]


def send(handle: int, message: Any) -> None:
    """Write all of `message`. Raises `BrokenPipeError` where nobody reads."""
    body = msgspec.msgpack.encode(message)
    data = memoryview(struct.pack("<Q", len(body)) + body)
    while data:
        data = data[os.write(handle, data) :]


def receive(handle: int) -> Any:
    """The next message, or None where the other side has closed the pipe or died within one."""
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
