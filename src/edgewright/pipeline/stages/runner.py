"""The stage runner: a stage is kept in the store under the hash of all that went in, and made in a child.

A key covers the content of the input files, every parameter, the versions of the libraries that do the work, and the
code of the wing that calls them, so that neither an upgrade nor an edit reuses an old result.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import importlib.util
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from edgewright.core import child, warm
from edgewright.core.errors import DiskFull, EdgewrightError, IntegrityError, InvalidInput, OutOfResources
from edgewright.core.lazy import version
from edgewright.core.store import Entry, Store
from edgewright.targets.ssh import Lost, Unreachable

FATAL = (InvalidInput, IntegrityError, DiskFull, Unreachable, Lost)
"""What the user gave is wrong, nothing more can be written, the device is gone: no other candidate can do better."""

Watch = Callable[[str, str, int, int, str], None]
"""Called with (stage, what it works on, done, total, step): total 0 means unknown, and a step is finished where `done`
reaches `total`. A watch that has a method `row` gets each `Row` too. Stages go side by side: both are called from
several threads at once."""

State = Literal["reference", "waiting", "built", "answered", "measured", "skipped", "failed"]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one candidate of a run so far; the last one with its `id` counts, the first one is "waiting".

    `score` is the primary one of the task, with its `title`; `delta` its difference to the reference (value, low,
    high); `standing`: whether it is "proven" inside the budget, "inside" by its value, or "outside". `p50_ms`: median
    latency, of a first look until the state is "measured". `reason`: why it failed or was left out. `ahead`: the stages
    (name, what it works on) that are known to come before it is measured.
    """

    id: str
    state: State
    title: str = ""
    score: float | None = None
    delta: tuple[float, float, float] | None = None
    standing: str = ""
    p50_ms: float | None = None
    reason: str = ""
    ahead: tuple[tuple[str, str], ...] = ()


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
    "score": ("numpy",),
    "images": ("numpy", "Pillow", "scikit-learn"),
    "measure": ("onnxruntime", "openvino", "torch", "numpy", "Pillow", "opencv-python", "opencv-python-headless"),
}  # fmt: skip


def quiet(stage: str, what: str, done: int, total: int, step: str) -> None:
    """A `Watch` that watches nothing."""


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of work as data, which any executor can do: the function `target` ("module:function") and its arguments.

    `what`: what it works on, for who watches. `inputs`: all that its key covers. `into`: the name of the argument that
    gets the folder to write to. `by`: what of a host does it ("answer", "observe", "finish"); "" where any machine may.
    """

    name: str
    what: str
    target: str
    arguments: dict[str, Any]
    inputs: dict[str, Any]
    into: str = "folder"
    by: str = ""


class Context(NamedTuple):
    """Where a stage writes, where libraries print, what its children may use, who sees progress, and the kind of warm
    process that its children are forked from."""

    folder: Path
    log: Path
    limits: child.Limits
    progress: child.Progress
    kind: warm.Kind = "light"


Execute = Callable[[Stage, Context], None]
"""Does the work of a stage."""


def in_child(stage: Stage, context: Context) -> None:
    """Do `stage` in a child process of this machine."""
    arguments = {**stage.arguments, stage.into: str(context.folder)}
    child.call(
        stage.target, log=context.log, limits=context.limits, progress=context.progress, kind=context.kind, **arguments
    )  # fmt: skip


@contextlib.contextmanager
def in_few_children(runner: StageRunner) -> Iterator[StageRunner]:
    """`runner` for many small stages of a kind: one child for each thread does them one after the other.

    A stage that fails in a child that did others before is done again in a new one.
    """
    own, opened = threading.local(), list[child.Child]()

    def execute(stage: Stage, context: Context) -> None:
        one, fresh = getattr(own, "child", None), False
        if one is None:
            one, fresh = child.Child(runner.log(stage.name, ""), context.limits, child.YIELDING, context.kind), True
            own.child = one
            opened.append(one)
        arguments = {**stage.arguments, stage.into: str(context.folder)}
        try:
            one.call(stage.target, progress=context.progress, **arguments)
        except EdgewrightError:
            own.child = None
            one.close()
            if fresh:
                raise
            execute(stage, context)

    try:
        yield msgspec.structs.replace(runner, execute=execute)
    finally:
        for one in opened:
            one.close()


def in_own_children(stage: Stage, context: Context, **by: Any) -> None:
    """Do `stage`, whose function starts children itself: it gets the whole context. `by`: what does it elsewhere."""
    module, _, function = stage.target.partition(":")
    getattr(importlib.import_module(module), function)(**stage.arguments, context=context, **by)


class StageRunner(msgspec.Struct, frozen=True, kw_only=True):
    """Where stages are kept, what a child may use, where logs go, who watches, and what does the work.

    `strict`: stop at an image that cannot be read, and at anything else in a data set that deserves a warning.
    `beside`: so many stages are run at once; they share the machine's memory.
    """

    store: Store
    limits: child.Limits = child.Limits()
    watch: Watch = quiet
    strict: bool = False
    execute: Execute = in_child
    kind: warm.Kind = "light"
    beside: int = 1

    @property
    def with_torch(self) -> StageRunner:
        """The same, whose children have torch imported when they start."""
        return msgspec.structs.replace(self, kind="heavy")

    def run(
        self, stage: str, what: str, inputs: Mapping[str, Any], target: str, into: str = "folder",
        refuse: Callable[[Path], str] | None = None, **kwargs: Any,
    ) -> Entry:  # fmt: skip
        """The stored result of ``target(..., folder=folder)``, made now if it is not there yet.

        `target` is "module:function"; the code of the room that it lives in is part of the key. `refuse`: why a stored
        result is not to be used here, empty where it is.
        """
        room = target.partition(":")[0].split(".")[1]
        covered = {**inputs, "code": code_digest(room)}
        work = Stage(name=stage, what=what, target=target, arguments=kwargs, inputs=covered, into=into)
        return self.keep(work, refuse=refuse)

    def keep(self, stage: Stage, execute: Execute | None = None, refuse: Callable[[Path], str] | None = None) -> Entry:
        """The stored result of `stage`, done now by `execute` if it is not there yet, watched; `refuse` as in `run`."""
        log = self.log(stage.name, stage.what)

        def step(done: int, total: int, text: str) -> None:
            self.watch(stage.name, stage.what, done, max(total, done + 1), text)  # only below it is said to be finished

        def make(folder: Path) -> None:
            do = execute or self.execute
            share = self._share()
            try:
                do(stage, Context(folder, log, share, step, self.kind))
            except OutOfResources as error:
                if share == self.limits or isinstance(error, DiskFull):
                    raise
                shutil.rmtree(folder)
                folder.mkdir()
                do(stage, Context(folder, log, self.limits, step, self.kind))

        step(0, 0, "")
        entry = self.store.stage(stage.name, stage.inputs, make, refuse)
        how = "from the store" if entry.reused else f"{entry.seconds:.1f} s"
        self.watch(stage.name, stage.what, 1, 1, f"{how}; the stored one {entry.damage}" if entry.damage else how)
        return entry

    def row(self, row: Row) -> None:
        """Say what is known of a candidate, to a `watch` that wants to know."""
        if tell := getattr(self.watch, "row", None):
            tell(row)

    def _share(self) -> child.Limits:
        """The limits of one of several stages that are run at once: what they need together is there."""
        allowed, machine = self.limits.memory_bytes, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        share = int(0.9 * machine) // self.beside
        if self.beside == 1 or (allowed and allowed <= share):
            return self.limits
        return msgspec.structs.replace(self.limits, memory_bytes=share)

    def log(self, stage: str, what: str) -> Path:
        """The log file of a child: libraries print there, never into the user's terminal."""
        return self.store.root / "logs" / f"{stage}-{hashlib.sha256(what.encode()).hexdigest()[:12]}.log"


def made_by(libraries: str, *rooms: str) -> dict[str, str | None]:
    """Versions of the libraries a stage uses, and a digest of the code of our own rooms that call them."""
    own = {room: code_digest(room) for room in (*rooms, "core", "vision", "tasks")}
    return {**{name: version(name) for name in LIBRARIES[libraries]}, **own}


def code_digest(room: str) -> str:
    """A digest of the Python files of one of our packages."""
    return code_of(f"edgewright.{room}")


@functools.cache
def code_of(package: str) -> str:
    """A digest of the Python files of a package."""
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations, package
    folder = Path(next(iter(spec.submodule_search_locations)))
    sources = sorted(p for p in folder.rglob("*") if p.suffix in (".py", ".toml"))
    return hashlib.sha256(b"".join(p.read_bytes() for p in sources)).hexdigest()[:16]
