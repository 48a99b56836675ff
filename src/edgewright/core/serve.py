"""The child's side of `child`: answer calls through a pipe until it closes."""

from __future__ import annotations

import importlib
import inspect
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

import msgspec

from edgewright.core import errors, pipes


def serve() -> None:
    """Answer requests until the pipe closes. Runs in the child."""
    requests, answers, parent = (int(word) for word in sys.argv[1:4])
    die_with_parent(parent)
    limits = msgspec.json.decode(sys.argv[4])
    answer_all(requests, answers, limits["cpu_s"], limits["memory_bytes"])


def answer_all(requests: int, answers: int, cpu_s: int | None, memory_bytes: int | None) -> None:
    """Answer requests within these limits until the pipe closes, then end this process."""
    pipes.is_child = True
    _confine(cpu_s, memory_bytes)
    while (request := pipes.receive(requests)) is not None:
        pipes.send(answers, _answer(request, lambda *step: pipes.send(answers, {"progress": step})))
    os._exit(0)  # runtime libraries may crash or hang in their teardown, and nothing is left to save


def _answer(request: dict[str, Any], progress: Callable[[int, int, str], None]) -> dict[str, Any]:
    module, _, function = request["target"].partition(":")
    try:
        run = getattr(importlib.import_module(module), function)
        extra = {"progress": progress} if "progress" in inspect.signature(run).parameters else {}
        return {"result": msgspec.to_builtins(run(**request["kwargs"], **extra), builtin_types=(bytes,))}
    except Exception as error:
        traceback.print_exc()
        sys.stderr.flush()
        known = errors.from_exception(error)
        if known is None:
            text = f"{type(error).__name__}: {error}".strip().splitlines()[0][:300]
            known = errors.RuntimeFailed(f"{request['target']} failed: {text}", "A library raised it.", "")
        return {
            "error": {"family": type(known).__name__, "what": known.what, "why": known.why, "fix": known.fix},
        }


def _confine(cpu_s: int | None, memory_bytes: int | None) -> None:
    import resource

    if memory_bytes:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    if cpu_s:
        # The soft limit raises SIGXCPU, whose default action ends the process; the hard one is SIGKILL.
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def die_with_parent(parent: int) -> None:
    """Ask Linux to kill this process when its parent dies, so that a killed run leaves no child behind."""
    if sys.platform != "linux":
        return
    import ctypes

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
