"""What tests run in a child: every way to end badly."""

from __future__ import annotations

import ctypes
import os
import time
from typing import Any

from edgewright.core.errors import InvalidInput

STATE: dict[str, Any] = {}


def add(a: int, b: int) -> int:
    STATE["calls"] = STATE.get("calls", 0) + 1
    return a + b


def calls() -> int:
    return int(STATE.get("calls", 0))


def echo(data: bytes) -> bytes:
    return data


def segfault() -> None:
    ctypes.string_at(0)


def hang() -> None:
    time.sleep(3600)


def spin() -> None:
    while True:
        pass


def eat() -> int:
    return len(bytearray(1 << 33))


def leave() -> None:
    os._exit(3)


def refuse() -> None:
    raise InvalidInput("the model is odd", "because", "make it even")


def bug() -> None:
    raise ZeroDivisionError("division by zero")


def steps(progress: Any) -> str:
    for done in range(3):
        progress(done + 1, 3, "step")
    return "done"


def die_as_parent(pid_file: str) -> None:
    """Start a child of our own that hangs, then wait: the test kills us."""
    from pathlib import Path

    from edgewright.core import child

    with child.Child(Path(pid_file + ".log")) as one:
        Path(pid_file).write_text(str(one._process.pid))
        one.call("tests_child_targets:hang")
