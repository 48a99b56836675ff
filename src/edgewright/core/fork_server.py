"""The warm process that forks children: it has imported their libraries, so each child starts in milliseconds.

It runs no stage itself, and has one thread whenever it forks. It imports no library that starts threads on import
(ONNX Runtime, OpenVINO), and OpenBLAS ends its threads at a fork. A child gets a session of its own; the processes that
it started are killed after its end. The other side is `warm`.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from typing import Any

import msgspec

from edgewright.core import serve
from edgewright.core.pipes import FILES, STATUS, Forking

IDLE_S = 60.0
"""Seconds without a request after which the process ends, to free its memory."""


def main() -> None:
    """Import the requested libraries, then fork a child for each request until the requester is gone."""
    handle, parent, modules = int(sys.argv[2]), int(sys.argv[3]), sys.argv[4].split(",")
    serve.die_with_parent(parent)
    for module in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    gc.collect()
    gc.freeze()  # keeps current objects in shared memory: a collection in a child does not touch them
    with socket.socket(fileno=handle) as control:
        _serve(control, parent)
    os._exit(0)


def _serve(control: socket.socket, parent: int) -> None:
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: dict[int, int] = {}
    listening = True
    while listening or children:
        wait = None if children and listening else 1.0 if children else IDLE_S
        asked: list[Any] = [woken, control] if listening else [woken]
        ready = select.select(asked, [], [], wait)[0]
        with contextlib.suppress(BlockingIOError):
            os.read(woken, 4096)
        _reap(children)
        if control in ready:
            listening = _answer(control, children, (woken, wake))
        if os.getppid() != parent or not (ready or children):
            break
    for pid in children:
        _kill(pid)


def _answer(control: socket.socket, children: dict[int, int], own: tuple[int, int]) -> bool:
    """Fork one child. False if the requester is gone."""
    try:
        data, handles, _, _ = socket.recv_fds(control, 1 << 16, FILES)
    except ConnectionError:
        return False
    if not data:
        return False
    status = handles[2]
    try:
        pid = os.fork()
    except OSError:  # the system allows no more processes: the requester sees a closed pipe
        pid = -1
    if pid == 0:
        _be_child(msgspec.json.decode(data, type=Forking), handles, (control.fileno(), *own, *children.values()))
    if pid > 0:
        children[pid] = status
    for handle in handles:
        if handle != status or pid < 0:
            os.close(handle)
    return True


def _reap(children: dict[int, int]) -> None:
    """Kill the processes that ended children left, and report the exit status of each child."""
    for pid in list(children):
        # Before the wait, the number of its process group cannot be reused.
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            continue
        _kill(pid)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        status = children.pop(pid)
        _report(status, False, code)
        os.close(status)


def _report(status: int, lives: bool, value: int) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(status, STATUS.pack(lives, value))


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _be_child(asked: Forking, handles: list[int], others: tuple[int, ...]) -> None:
    """Become the child: serve requests. Never returns."""
    try:
        server = os.getppid()
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        serve.die_with_parent(server)
        requests, answers, status, log, folder = handles
        os.fchdir(folder)
        os.dup2(log, 1)
        os.dup2(log, 2)
        _report(status, True, os.getpid())
        for handle in (status, log, folder, *others):
            os.close(handle)
        os.environ.update(asked.env)
        _forget()
        serve.answer_all(requests, answers, asked.cpu_s, asked.memory_bytes)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(1)


def _forget() -> None:
    """Reset the state that a newly started process lacks: import caches and random generators."""
    importlib.invalidate_caches()
    numpy: Any = sys.modules.get("numpy")
    if numpy:
        numpy.random.seed()
