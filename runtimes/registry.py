"""The runtimes by name. `module` imports the module of a runtime; the runtime's library is imported at first use."""

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
    """The functions of a runtime module.

    Optional functions: ``finish(folder, options, progress)`` builds the parts that only the device can build.
    ``identity()`` returns the library, GPU and driver that such a part depends on. ``close(handle)`` frees resources.
    ``fault()`` returns a message about wrong results on this machine, or "". ``profile(contents, options, x, count)``
    returns the `Kernel`s.
    """

    TRAITS: Traits

    def probe(self) -> Probe:
        """Return the abilities on this machine. Never raises for a missing library."""

    def build(self, model: Path, options: Options, folder: Path) -> None:
        """Convert `model` to the runtime's files in `folder`."""

    def load(self, contents: Contents, options: Options, trust: bool = False) -> Any:
        """Return a handle for `run`. Only one thread at a time may use it.

        `trust`: load native code that another machine compiled. The library receives bytes of `contents`, never a path.
        """

    def run(self, handle: Any, *x: np.ndarray) -> list[np.ndarray]:
        """Return all outputs for one batch `x`, which has an array for each input. The caller may keep the arrays.

        Inputs and outputs are in the model's order.
        """

    def describe(self, handle: Any) -> dict[str, Any]:
        """Describe what runs: at least precision, threads, device."""


def names() -> tuple[str, ...]:
    """Return the known runtimes, the reference first."""
    return ("torch", "onnxruntime", "openvino", "tensorrt")


def shipped() -> tuple[str, ...]:
    """Return the runtimes for devices: all except the reference."""
    return tuple(name for name in names() if not traits(name).reference)


def traits(name: str) -> Traits:
    """Return the traits of the runtime `name`. Raises `UsageError` for an unknown name."""
    return module(name).TRAITS


def require_known(name: str, path: Path) -> None:
    """Raise `InvalidInput` if this version has no runtime `name`. `path`: the file or folder that names it."""
    if name not in names():
        raise InvalidInput(
            f"{path} needs the runtime '{name}'.",
            f"This version of edgewright has: {', '.join(shipped())}.",
            "Update edgewright: pip install -U edgewright",
        )


def module(name: str) -> Runtime:
    """Return the module of the runtime `name`. Raises `UsageError` for an unknown name."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1, cutoff=0.4)
        raise UsageError(
            f"Unknown runtime '{name}'.",
            f"Known runtimes: {', '.join(names())}.",
            f"Did you mean '{near[0]}'?" if near else "",
        )
    return cast(Runtime, importlib.import_module(f"{__package__}.{name}"))
