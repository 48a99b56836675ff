"""The TensorRT that is installed: `tensorrt` 8.6 to 11, or `tensorrt_rtx`, which has the interface of version 11.

Where versions differ, the code asks with ``hasattr`` for the name that it is going to use: what is there decides, not a
version's number. ``tests/runtimes/test_tensorrt_api.py`` checks every name against the real bindings of each version.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

from edgewright.core.errors import Unavailable

if TYPE_CHECKING:
    import tensorrt as trt

NAMES = ("tensorrt", "tensorrt_rtx")
"""Where both are installed the first is used: it picks kernels on the device, the other compiles at the first run."""

INTERNAL_ERROR, ERROR, WARNING, INFO = range(4)
"""Severities of the logger, by number the same in every version."""


class Line(NamedTuple):
    """A line of the library's log."""

    severity: int
    text: str


def bindings(name: str | None = None) -> Any:
    """The bindings called `name`, or those that are installed. Raises `Unavailable`, which says how to get them."""
    reasons = []
    for candidate in (name,) if name else NAMES:
        try:
            return importlib.import_module(candidate)
        except (ImportError, OSError) as error:  # some versions raise OSError for a library that the loader misses
            reasons.append(f"{candidate}: {' '.join(str(error).split())[:160]}")
    raise Unavailable(
        "TensorRT's Python bindings cannot be imported.",
        f"{'; '.join(reasons)}.",
        "JetPack: apt install python3-libnvinfer, and a venv with --system-site-packages. "
        "Elsewhere: pip install 'edgewright[tensorrt]' or 'edgewright[tensorrt-rtx]'.",
    )


def identity(library: Any) -> str:
    """Which library and build it is: ``tensorrt 10.3.0``."""
    return f"{library.__name__.partition('.')[0]} {library.__version__}"


def logger(trt: Any, lines: list[Line]) -> trt.ILogger:
    """A logger that appends to `lines` what is of severity `INFO` or graver."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if int(severity) <= INFO:
                lines.append(Line(int(severity), message.strip()))

    return Log()


def last(lines: list[Line]) -> RuntimeError:
    """What went wrong last, as an exception; without what a machine that has no GPU always says."""
    texts = [line.text for line in lines if line.severity <= ERROR and "CUDA driver version" not in line.text]
    return RuntimeError(texts[-1] if texts else "It gave no reason.")
