"""What tests run in a child: every way to end badly."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path
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


def figures(modules: list[str]) -> bytes:
    """What libraries compute, to the bit."""
    import numpy as np

    x = np.random.default_rng(0).normal(size=(96, 96)).astype(np.float32)
    found = [x @ x, np.linalg.svd(x)[1]]
    if "scipy" in modules:
        from scipy.special import softmax

        found.append(softmax(x, axis=1))
    if "torch" in modules:
        import torch

        found += [torch.nn.functional.conv2d(torch.tensor(x)[None, None], torch.rand(8, 1, 3, 3)).numpy()]
    return b"".join(np.asarray(one).tobytes() for one in found)


def start_one_that_hangs() -> int:
    return subprocess.Popen(["sleep", "3600"]).pid


def surroundings() -> dict[str, Any]:
    folder = str(Path.cwd())
    return {
        "folder": folder, "waits": os.environ["OMP_WAIT_POLICY"], "mark": os.environ.get("EDGEWRIGHT_TEST_MARK"),
        "imports_here": folder in sys.path or "" in sys.path,
    }  # fmt: skip


def die_as_parent(pid_file: str, forked: bool) -> None:
    """Start a child of our own that hangs, then wait: the test kills us."""
    from edgewright.core import child, warm

    with child.Child(Path(pid_file + ".log"), env=child.YIELDING if forked else None) as one:
        pids = [one._process.pid, *(server.process.pid for server in warm._servers.values())]
        Path(pid_file).write_text(" ".join(map(str, pids)))
        one.call("tests_child_targets:hang")
