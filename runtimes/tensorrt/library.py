"""The installed TensorRT: `tensorrt` 8.6 to 11, or `tensorrt_rtx`, which has the interface of version 11.

If versions differ, the code checks with ``hasattr`` for a name before it uses it, and does not compare version numbers.
``tests/runtimes/test_tensorrt_api.py`` checks every name with the real bindings of each version.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

from edgewright.core.errors import Unavailable

if TYPE_CHECKING:
    import tensorrt as trt

NAMES = ("tensorrt", "tensorrt_rtx")
"""The first installed one is used: `tensorrt` chooses kernels at build time, `tensorrt_rtx` at the first run."""

INTERNAL_ERROR, ERROR, WARNING, INFO = range(4)
"""Severities of the logger, with the same numbers in every version."""


class Line(NamedTuple):
    """A line in the log of the library."""

    severity: int
    text: str


def bindings(name: str | None = None) -> Any:
    """Import the bindings `name`, or the installed ones. Raises `Unavailable` with the command that installs them."""
    reasons = []
    for candidate in (name,) if name else NAMES:
        try:
            return importlib.import_module(candidate)
        except (ImportError, OSError) as error:  # some versions raise OSError for a missing library
            reasons.append(f"{candidate}: {' '.join(str(error).split())[:160]}")
    raise Unavailable(
        "TensorRT's Python bindings cannot be imported.",
        f"{'; '.join(reasons)}.",
        "On JetPack: apt install python3-libnvinfer, and a venv with --system-site-packages. "
        "On other machines: pip install 'edgewright[tensorrt]' or 'edgewright[tensorrt-rtx]'.",
    )


def identity(library: Any) -> str:
    """Return name and version of the library: ``tensorrt 10.3.0``."""
    return f"{library.__name__.partition('.')[0]} {library.__version__}"


def logger(trt: Any, lines: list[Line]) -> trt.ILogger:
    """Return a logger that appends messages of severity `INFO` and above to `lines`."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if int(severity) <= INFO:
                lines.append(Line(int(severity), message.strip()))

    return Log()


def last(lines: list[Line]) -> RuntimeError:
    """Return the last error as an exception, without the message that every machine without a GPU logs."""
    texts = [line.text for line in lines if line.severity <= ERROR and "CUDA driver version" not in line.text]
    return RuntimeError(texts[-1] if texts else "It gave no reason.")
