"""Child processes with limits, for everything that can crash, hang or use too much memory. They are not a sandbox.

Foreign ONNX files, compilers, calibration and measured models run in a child. The parent gets a result or a named
failure with a log, and sleeps while the child works. A ``Child`` answers any number of calls, so that a loaded model
can be used again; ``call`` starts a child for one call.

The child runs ``module:function`` with keyword arguments that msgpack can encode. If the function has a parameter
``progress``, it gets a callable ``(done, total, what)`` whose calls reach the parent.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import msgspec

from edgewright.core import errors, pipes, start, warm

Progress = Callable[[int, int, str], None]
"""Called with (done, total, current step). A total of 0 means unknown."""


YIELDING = {"OMP_WAIT_POLICY": "PASSIVE"}
"""For children that are not timed and start no timed ones: idle OpenMP threads (torch's) sleep.

Spinning threads make work much slower when two processes share the cores.
"""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of a child: wall seconds per call, CPU seconds in total, bytes of private memory (RLIMIT_DATA)."""

    wall_s: float = 900.0
    cpu_s: int | None = None
    memory_bytes: int | None = None


class Abandoned(BaseException):
    """`kill_those_of` killed the child, since nobody needs its result."""


_living: dict[Child, int] = {}
"""The children that are not closed, with the threads that started them."""


class Child:
    """A child process that answers calls until it is closed. Use it as a context manager.

    `env`: variables for the child, unless the caller's environment has them (`YIELDING`). None is for a timed child,
    which starts as an application does. Others are forked from the warm process of `kind`, if there is one.
    """

    def __init__(
        self, log: Path, limits: Limits = Limits(), env: dict[str, str] | None = None, kind: warm.Kind | None = "light"
    ) -> None:
        self.limits, self.log = limits, log
        log.parent.mkdir(parents=True, exist_ok=True)
        read_request, self._requests = os.pipe()
        self._answers, write_answer = os.pipe()
        self._process: subprocess.Popen[bytes] | warm.Forked
        environment = {**(env or {}), **_environment()}
        try:
            with log.open("ab") as out:
                forked = None
                if env and kind:
                    ends = (read_request, write_answer, out.fileno())
                    forked = warm.fork(kind, environment, limits.cpu_s, limits.memory_bytes, ends)
                self._process = forked or subprocess.Popen(
                    [
                        sys.executable, start.__file__, str(read_request), str(write_answer), str(os.getpid()),
                        msgspec.json.encode(limits).decode(),
                    ],
                    stdin=subprocess.DEVNULL, stdout=out, stderr=out, pass_fds=(read_request, write_answer),
                    env=environment, start_new_session=True,
                )  # fmt: skip
        finally:
            os.close(read_request)
            os.close(write_answer)
        self.abandoned = False
        _living[self] = threading.get_ident()

    def call(
        self, target: str, /, *, progress: Progress | None = None, wall_s: float | None = None, **kwargs: Any
    ) -> Any:
        """Run ``module:function`` in the child. Raises the user error of the function, or a named failure."""
        limit = wall_s or self.limits.wall_s
        deadline = time.monotonic() + limit
        try:
            pipes.send(
                self._requests, {"target": target, "kwargs": msgspec.to_builtins(kwargs, builtin_types=(bytes,))}
            )
        except BrokenPipeError:
            raise self._death(target) from None
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                self.kill()
                what = f"{target} took longer than {round(limit, 1):g} s and was stopped."
                raise errors.TimedOut(what, *self._log_hint("Raise the time limit"))
            message = pipes.receive(self._answers)
            if message is None:
                raise self._death(target)
            if "progress" in message:
                if progress:
                    progress(*message["progress"])
            elif "error" in message:
                family = errors.FAMILIES[message["error"]["family"]]
                raise family(message["error"]["what"], message["error"]["why"], message["error"]["fix"])
            else:
                return message["result"]

    def close(self) -> None:
        """Close the child's pipe, which ends it; kill it if it does not end within two seconds."""
        self._hang_up()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill the child and all processes that it started."""
        self._signal()
        self._process.wait()

    def abandon(self) -> None:
        """Kill the child on behalf of another thread, whose call then raises `Abandoned`."""
        self.abandoned = True
        self._signal()

    def _signal(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind and not issubclass(kind, Exception):  # Ctrl-C: nobody waits for its result
            self._hang_up()
            self.kill()
        else:
            self.close()

    def _hang_up(self) -> None:
        for handle in (self._requests, self._answers):
            if handle >= 0:
                os.close(handle)
        self._requests = self._answers = -1  # another thread may already use these numbers
        _living.pop(self, None)

    def _death(self, target: str) -> errors.EdgewrightError:
        code = self._process.wait()
        if self.abandoned:
            raise Abandoned
        if code >= 0:
            return errors.RuntimeFailed(
                f"{target} ended its process with code {code}.", *self._log_hint("Read the log")
            )
        name = signal.Signals(-code).name
        if name == "SIGXCPU":
            return errors.TimedOut(
                f"{target} used more than {self.limits.cpu_s} s of CPU time and was stopped.",
                *self._log_hint("Raise the limit"),
            )
        if name == "SIGKILL":
            return errors.OutOfResources(
                f"{target} was killed by the system (SIGKILL).", *self._log_hint("It probably ran out of memory")
            )
        tail = self.log.read_bytes()[-4000:] if self.log.exists() else b""
        if name == "SIGABRT" and (b"bad_alloc" in tail or b"MemoryError" in tail or b"Cannot allocate" in tail):
            return errors.OutOfResources(f"{target} ran out of memory ({name}).", *self._log_hint("Raise the limit"))
        return errors.RuntimeFailed(f"{target} crashed with {name}.", *self._log_hint("The crash is in a library"))

    def _log_hint(self, fix: str) -> tuple[str, str]:
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.exists() else []
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return (f"Last line of its log: {last[:200]}" if last else "Its log is empty.", f"{fix}; log: {self.log}")


def kill_those_of(threads: Collection[int | None]) -> None:
    """Kill the open children of these threads; their calls raise `Abandoned`."""
    for one, thread in list(_living.items()):
        if thread in threads:
            one.abandon()


def _environment() -> dict[str, str]:
    """This process's environment, without entries that make Python import from the working directory."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    path = {"PYTHONPATH": os.pathsep.join(folders)} if (folders := start.import_path()) else {}
    return {**inherited, **path, "PYTHONFAULTHANDLER": "1"}


def call(
    target: str,
    /,
    *,
    log: Path,
    limits: Limits = Limits(),
    progress: Progress | None = None,
    env: dict[str, str] | None = YIELDING,
    kind: warm.Kind | None = "light",
    **kwargs: Any,
) -> Any:
    """Run ``module:function`` with `kwargs` in a new child. Returns the function's result."""
    with Child(log, limits, env, kind) as child:
        return child.call(target, progress=progress, **kwargs)
