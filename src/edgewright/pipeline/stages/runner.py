"""The stage runner: a stage is kept in the store under the hash of all that went in, and made in a child.

A key covers the content of the input files, every parameter, the versions of the libraries that do the work, and the
code of the wing that calls them, so that neither an upgrade nor an edit re-uses an old result.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from edgewright.core import child
from edgewright.core.errors import DiskFull, IntegrityError, InvalidInput
from edgewright.core.lazy import version
from edgewright.core.store import Entry, Store
from edgewright.targets.ssh import Lost, Unreachable

FATAL = (InvalidInput, IntegrityError, DiskFull, Unreachable, Lost)
"""What the user gave is wrong, nothing more can be written, the device is gone: no other candidate can do better."""

Watch = Callable[[str, str, int, int, str], None]
"""Called with (stage, what it works on, done, total, step): total 0 means unknown."""

LIBRARIES = {
    "export": (
        "torch", "torchvision", "timm", "ultralytics", "ultralytics-opencv-headless", "onnx", "onnxscript", "onnxslim",
        "onnxruntime",
    ),
    "quantize": ("nncf", "onnx", "onnxruntime", "torch"),
    "distill": ("torch", "torchvision", "timm", "ultralytics", "ultralytics-opencv-headless"),
    "prune": ("torch", "torchvision", "timm", "ultralytics", "ultralytics-opencv-headless", "torch-pruning", "scipy"),
    "compile": ("onnxruntime", "openvino", "torch", "onnx", "tensorrt", "tensorrt-rtx-cu13"),
    "check": ("onnx", "tensorrt-rtx-cu13"),
    "measure": ("onnxruntime", "openvino", "torch", "numpy", "Pillow", "opencv-python", "opencv-python-headless"),
}  # fmt: skip


def quiet(stage: str, what: str, done: int, total: int, step: str) -> None:
    """A `Watch` that watches nothing."""


class StageRunner(msgspec.Struct, frozen=True, kw_only=True):
    """Where stages are kept, what a child may use, where logs go, and who watches.

    `strict`: stop at an image that cannot be read, and at anything else in a data set that deserves a warning.
    """

    store: Store
    limits: child.Limits = child.Limits()
    watch: Watch = quiet
    strict: bool = False

    def run(
        self, stage: str, what: str, inputs: Mapping[str, Any], target: str, into: str = "folder",
        refuse: Callable[[Path], str] | None = None, **kwargs: Any,
    ) -> Entry:  # fmt: skip
        """The stored result of ``target(..., folder=folder)``, made now if it is not there yet.

        `target` is "module:function"; the code of the room that it lives in is part of the key. `refuse`: why a stored
        result is not to be used here, empty where it is.
        """
        log = self.log(stage, what)
        room = target.partition(":")[0].split(".")[1]

        def make(folder: Path, step: child.Progress) -> None:
            child.call(target, log=log, limits=self.limits, progress=step, **{**kwargs, into: str(folder)})

        return self.keep(stage, what, {**inputs, "code": code_digest(room)}, make, refuse)

    def keep(
        self, stage: str, what: str, inputs: Mapping[str, Any], make: Callable[[Path, child.Progress], None],
        refuse: Callable[[Path], str] | None = None,
    ) -> Entry:  # fmt: skip
        """The stored result of ``make(folder, progress)``, watched; `refuse` as in `run`."""

        def step(done: int, total: int, text: str) -> None:
            self.watch(stage, what, done, max(total, done + 1), text)  # only this function says that it is finished

        step(0, 0, "")
        entry = self.store.stage(stage, inputs, lambda folder: make(folder, step), refuse)
        how = "from the store" if entry.reused else f"{entry.seconds:.1f} s"
        self.watch(stage, what, 1, 1, f"{how}; the stored one {entry.damage}" if entry.damage else how)
        return entry

    def log(self, stage: str, what: str) -> Path:
        """The log file of a child: libraries print there, never into the user's terminal."""
        return self.store.root / "logs" / f"{stage}-{hashlib.sha256(what.encode()).hexdigest()[:12]}.log"


def made_by(libraries: str, *rooms: str) -> dict[str, str | None]:
    """Versions of the libraries a stage uses, and a digest of the code of our own rooms that call them."""
    own = {room: code_digest(room) for room in (*rooms, "core", "vision")}
    return {**{name: version(name) for name in LIBRARIES[libraries]}, **own}


@functools.cache
def code_digest(room: str) -> str:
    """A digest of the Python files of one of our packages."""
    spec = importlib.util.find_spec(f"edgewright.{room}")
    assert spec is not None and spec.origin is not None, room
    folder = Path(spec.origin).parent
    sources = sorted(p for p in folder.rglob("*") if p.suffix in (".py", ".toml"))
    return hashlib.sha256(b"".join(p.read_bytes() for p in sources)).hexdigest()[:16]
