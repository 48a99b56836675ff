"""The runtimes by name. A runtime's module is imported when it is asked for, its library when it is used."""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from edgewright.core.errors import InvalidInput, UsageError

from .contents import Contents
from .options import Options, Probe
from .traits import Traits


class Runtime(Protocol):
    """The verbs of a runtime module.

    One that needs them has more: ``finish(folder, options, progress)`` builds on the device what only it can,
    ``identity()`` says what that is bound to here, ``close(handle)`` frees what does not go with the handle,
    ``fault()`` says what the library computes wrongly on this machine (empty where nothing is).
    ``profile(contents, options, x, count)``, where the runtime has a profiler, gives its `Kernel`s.
    """

    TRAITS: Traits

    def probe(self) -> Probe:
        """What the runtime can do on this machine. Never raises for a missing library."""

    def build(self, model: Path, options: Options, folder: Path) -> None:
        """Turn `model` into the runtime's own files in `folder`."""

    def load(self, contents: Contents, options: Options, trust: bool = False) -> Any:
        """A handle, ready to run. One thread at a time may use it. `trust`: run native code that others compiled.

        The library gets bytes of `contents`, never a path.
        """

    def run(self, handle: Any, x: np.ndarray) -> list[np.ndarray]:
        """All outputs for one input batch, in the model's order; the arrays are the caller's to keep."""

    def describe(self, handle: Any) -> dict[str, Any]:
        """What really runs: at least precision, threads, device."""


def names() -> tuple[str, ...]:
    """The known runtimes, the reference first."""
    return ("torch", "onnxruntime", "openvino", "tensorrt")


def shipped() -> tuple[str, ...]:
    """The runtimes that run on devices: all but the reference."""
    return tuple(name for name in names() if not traits(name).reference)


def traits(name: str) -> Traits:
    """What the runtime `name` is like; `UsageError` for an unknown one."""
    return module(name).TRAITS


def require_known(name: str, path: Path) -> None:
    """Raise `InvalidInput` where the file or folder `path` names a runtime that this version does not have."""
    if name not in names():
        raise InvalidInput(
            f"{path} is made for the runtime '{name}'.",
            f"This edgewright runs: {', '.join(shipped())}.",
            "Update edgewright: pip install -U edgewright",
        )


def module(name: str) -> Runtime:
    """The module of a runtime; `UsageError` for an unknown name."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1, cutoff=0.4)
        raise UsageError(
            f"Unknown runtime '{name}'.",
            f"Known runtimes: {', '.join(names())}.",
            f"Did you mean '{near[0]}'?" if near else "",
        )
    return cast(Runtime, importlib.import_module(f"{__package__}.{name}"))
