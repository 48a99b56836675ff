"""The process that children are forked from: its libraries are imported once, so that each starts in milliseconds.

It never runs a stage itself, and it has one thread whenever it forks: no library that starts threads by its import
(ONNX Runtime, OpenVINO) is imported here, and OpenBLAS ends its own threads at a fork. A child gets a session of its
own; what it started is killed behind it. The other side is `warm`.
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
"""It ends when nobody needed it for so long: its memory is better used by what is measured."""


def main() -> None:
    """Import what is asked for, then fork a child for each request, until there is nobody left to ask."""
    handle, parent, modules = int(sys.argv[2]), int(sys.argv[3]), sys.argv[4].split(",")
    serve.die_with_parent(parent)
    for module in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    gc.collect()
    gc.freeze()  # what is there now stays shared: a collection in a child does not touch it
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
    """Fork one child; False where nobody asks any more."""
    try:
        data, handles, _, _ = socket.recv_fds(control, 1 << 16, FILES)
    except ConnectionError:
        return False
    if not data:
        return False
    status = handles[2]
    try:
        pid = os.fork()
    except OSError:  # the system has no process left: the other side sees a pipe that closes
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
    """Say of each child that ended how it did, once all that it started is killed."""
    for pid in list(children):
        # Until it is waited for, its group is nobody else's.
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            continue
        _kill(pid)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        status = children.pop(pid)
        _tell(status, False, code)
        os.close(status)


def _tell(status: int, lives: bool, value: int) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(status, STATUS.pack(lives, value))


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _be_child(asked: Forking, handles: list[int], others: tuple[int, ...]) -> None:
    """Serve requests as a process of its own; never returns."""
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
        _tell(status, True, os.getpid())
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
    """What a process that was just started does not know: which files stood in folders, the state of a generator."""
    importlib.invalidate_caches()
    numpy: Any = sys.modules.get("numpy")
    if numpy:
        numpy.random.seed()
