"""Children forked from a warm process: the same limits as for started ones, without seconds of imports.

One warm process per kind of work (`KINDS`) starts when the first child of that kind is needed, with this process's
environment at that time. It starts again if it died or if the environment has changed, and ends when it is idle. If a
kind's libraries are missing, as on a device, there is none, and children are started. The other side is `fork_server`.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import msgspec

from edgewright.core import pipes, start
from edgewright.core.pipes import STATUS, Forking

Kind = Literal["light", "heavy"]

_LIGHT = (
    "onnx", "numpy", "PIL.Image", "cv2", "onnx.numpy_helper", "onnx.shape_inference", "safetensors.numpy",
    "scipy.stats", "scipy.optimize", "scipy.special", "scipy.linalg.lapack", "edgewright.graph.files",
    "edgewright.graph.probe", "edgewright.quantize.quantize", "edgewright.quantize.hardswish",
    "edgewright.quantize.saturation", "edgewright.runtimes.artifact", "edgewright.runtimes.session",
    "edgewright.bench.worker", "edgewright.pipeline.stages.audit", "edgewright.pipeline.stages.check",
)  # fmt: skip
KINDS: dict[Kind, tuple[str, ...]] = {
    "light": _LIGHT,
    "heavy": ("torch", "torch._dynamo", "torchvision", "timm", "onnxscript", "networkx", *_LIGHT),
}
"""The imports of each kind of warm process: those that most of its stages need. The first one must be installed."""

LATE = ("EDGEWRIGHT_", "PYTEST_")
"""Prefixes of variables that no library reads on import: if only these change, the warm process stays."""

READY_S = 120.0
"""Seconds after which a warm process that has not forked is considered broken."""


class Forked:
    """A child of a warm process, with the interface of `subprocess.Popen`."""

    def __init__(self, pid: int, status: int) -> None:
        self.pid, self._status = pid, status
        self._code: int | None = None
        self._lock = threading.Lock()

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, as in `subprocess`. Raises `subprocess.TimeoutExpired`."""
        with self._lock:
            if self._code is None:
                if not select.select([self._status], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(["child"], timeout or 0)
                message = os.read(self._status, STATUS.size)
                # If the warm process was killed, the system killed its children, too.
                self._code = STATUS.unpack(message)[1] if message else -signal.SIGKILL
                os.close(self._status)
            return self._code


class _Server:
    """A warm process that this process started."""

    def __init__(self, kind: Kind, env: dict[str, str]) -> None:
        self.env = env
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [
                    sys.executable, start.__file__, "fork", str(theirs.fileno()), str(os.getpid()),
                    ",".join(KINDS[kind]),
                ],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),), env=env, start_new_session=True,
            )  # fmt: skip

    def fork(self, asked: Forking, requests: int, answers: int, log: int) -> Forked | None:
        """A child with these ends of its pipes; None if the warm process is gone."""
        read, write = os.pipe()
        folder = os.open(".", os.O_PATH | os.O_DIRECTORY)
        try:
            try:
                socket.send_fds(self._control, [msgspec.json.encode(asked)], [requests, answers, write, log, folder])
            finally:
                os.close(write)
                os.close(folder)
            message = os.read(read, STATUS.size) if select.select([read], [], [], READY_S)[0] else b""
        except OSError:
            message = b""
        lives, pid = STATUS.unpack(message) if message else (False, 0)
        if lives:
            return Forked(pid, read)
        os.close(read)
        return None

    def retire(self) -> None:
        """Request no more children: it ends after its last one."""
        self._control.close()
        threading.Thread(target=self.process.wait, daemon=True).start()

    def kill(self) -> None:
        """Kill it, and with it its children."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()


_servers: dict[Kind, _Server] = {}
_lock = threading.Lock()
_starter = ThreadPoolExecutor(1, "edgewright-warm")
"""The thread that starts warm processes. Linux ends a process with the thread that started it, and this one stays."""


def fork(
    kind: Kind, env: dict[str, str], cpu_s: int | None, memory_bytes: int | None, handles: Sequence[int]
) -> Forked | None:
    """A child of the warm process of `kind`, with the environment `env` and these limits; None if there can be none.

    `handles`: the child's ends of the pipes of requests and answers, and its log.
    """
    # A child itself starts few children.
    if sys.platform != "linux" or pipes.is_child or not _is_installed(kind):
        return None
    requests, answers, log = handles
    late = {name: value for name, value in env.items() if name.startswith(LATE)}
    asked = Forking(cpu_s=cpu_s, memory_bytes=memory_bytes, env=late)
    for _ in range(2):  # it may have just ended
        server = _server(kind, {name: value for name, value in env.items() if name not in late})
        if found := server.fork(asked, requests, answers, log):
            return found
        with _lock:
            if _servers.get(kind) is server:
                del _servers[kind]
        server.kill()
    return None


def _server(kind: Kind, env: dict[str, str]) -> _Server:
    with _lock:
        found = _servers.get(kind)
        if found and (found.env != env or found.process.poll() is not None):
            found.retire()
            found = None
        if not found:
            found = _servers[kind] = _starter.submit(_Server, kind, env).result()
            if kind == "heavy" and "light" not in _servers:  # a light one is needed next: start it now
                _servers["light"] = _starter.submit(_Server, "light", env).result()
        return found


def _is_installed(kind: Kind) -> bool:
    first = KINDS[kind][0]
    return first in sys.modules or importlib.util.find_spec(first) is not None


@atexit.register
def close() -> None:
    """End the warm processes of this process and their children."""
    with _lock:
        for server in _servers.values():
            server.kill()
        _servers.clear()


def _after_fork() -> None:
    """Reset this module in a forked process: the warm processes belong to the parent, and the thread is missing."""
    global _lock, _starter
    _servers.clear()
    _lock, _starter = threading.Lock(), ThreadPoolExecutor(1, "edgewright-warm")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
