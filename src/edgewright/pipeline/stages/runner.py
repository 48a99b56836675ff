"""The stage runner: runs a stage in a child and keeps its result in the store, under a hash of all its inputs.

A key covers the content of input files, every parameter, the versions of the libraries that are used, and the code of
the package that calls them. So neither an upgrade nor an edit reuses an old result.
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
"""Errors that end a run, since every candidate would fail: invalid input, a full disk, a lost device."""

Watch = Callable[[str, str, int, int, str], None]
"""Called with (stage, subject, done, total, step). A total of 0 means unknown; `done` equal to `total` means finished.
A watch with a method `row` also receives each `Row`. Stages run in parallel: threads may call both at once."""

State = Literal["reference", "waiting", "built", "answered", "measured", "skipped", "failed"]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one candidate of a run; a later row with the same `id` replaces an earlier one. Starts as "waiting".

    `score`: the primary score of the task, called `title`. `delta`: its difference to the reference (value, low, high).
    `standing`: `"proven"` (confirmed within the budget), "inside" (by value only) or "outside". `p50_ms`: median
    latency in ms, of screening until the state is "measured". `reason`: why it failed or was skipped. `ahead`: the
    stages (name, subject) that are known to come before it is measured.
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
        "torch", "torchvision", "timm", "transformers", "ultralytics", "ultralytics-opencv-headless", "onnx",
        "onnxscript", "onnxslim", "onnxruntime", "openvino",
    ),
    "quantize": ("nncf", "onnx", "onnxruntime", "torch"),
    "distill": ("torch", "torchvision", "timm", "transformers", "ultralytics", "ultralytics-opencv-headless"),
    "prune": (
        "torch", "torchvision", "timm", "transformers", "ultralytics", "ultralytics-opencv-headless", "torch-pruning",
        "scipy",
    ),
    "compile": ("onnxruntime", "openvino", "torch", "onnx", "tensorrt", "tensorrt-rtx-cu13"),
    "check": ("onnx", "tensorrt-rtx-cu13"),
    "score": ("numpy",),
    "images": ("numpy", "Pillow", "scikit-learn"),
    "measure": ("onnxruntime", "openvino", "torch", "numpy", "Pillow", "opencv-python", "opencv-python-headless"),
}  # fmt: skip


def quiet(stage: str, what: str, done: int, total: int, step: str) -> None:
    """A `Watch` that does nothing."""


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """Work as data that any executor can run: the function `target` ("module:function") and its arguments.

    `what`: the subject, for progress. `inputs`: everything that the key covers. `into`: the name of the argument for
    the output folder. `by`: the function of a host that runs it ("answer", "observe", "finish"); "" for any machine.
    """

    name: str
    what: str
    target: str
    arguments: dict[str, Any]
    inputs: dict[str, Any]
    into: str = "folder"
    by: str = ""


class Context(NamedTuple):
    """The output folder of a stage, its log, the limits of its children, its progress callback, and the kind of warm
    process to fork children from."""

    folder: Path
    log: Path
    limits: child.Limits
    progress: child.Progress
    kind: warm.Kind = "light"


Execute = Callable[[Stage, Context], None]
"""Runs a stage."""


def in_child(stage: Stage, context: Context) -> None:
    """Run `stage` in a child process on this machine."""
    arguments = {**stage.arguments, stage.into: str(context.folder)}
    child.call(
        stage.target, log=context.log, limits=context.limits, progress=context.progress, kind=context.kind, **arguments
    )  # fmt: skip


@contextlib.contextmanager
def in_few_children(runner: StageRunner) -> Iterator[StageRunner]:
    """`runner` for many small stages of one kind: one child for each thread runs them one after the other.

    A stage that fails in a reused child runs again in a new one.
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
    """Run `stage`, whose function starts children itself: it gets the whole context. `by`: functions of a host."""
    module, _, function = stage.target.partition(":")
    getattr(importlib.import_module(module), function)(**stage.arguments, context=context, **by)


class StageRunner(msgspec.Struct, frozen=True, kw_only=True):
    """Runs stages: has the store, the limits of children, the progress callback, and the executor.

    `strict`: stop at an unreadable image and at every other warning about a data set. `parallel`: the number of stages
    that run at once; they share the machine's memory.
    """

    store: Store
    limits: child.Limits = child.Limits()
    watch: Watch = quiet
    strict: bool = False
    execute: Execute = in_child
    kind: warm.Kind = "light"
    parallel: int = 1

    @property
    def with_torch(self) -> StageRunner:
        """This runner, with children that have torch imported when they start."""
        return msgspec.structs.replace(self, kind="heavy")

    def run(
        self, stage: str, what: str, inputs: Mapping[str, Any], target: str, into: str = "folder",
        refuse: Callable[[Path], str] | None = None, **kwargs: Any,
    ) -> Entry:  # fmt: skip
        """The stored result of ``target(..., folder=folder)``; runs it first if the store lacks it.

        `target`: "module:function"; the code of its package is part of the key. `refuse`: returns why a stored result
        cannot be used here; empty if it can.
        """
        room = target.partition(":")[0].split(".")[1]
        covered = {**inputs, "code": code_digest(room)}
        work = Stage(name=stage, what=what, target=target, arguments=kwargs, inputs=covered, into=into)
        return self.keep(work, refuse=refuse)

    def keep(self, stage: Stage, execute: Execute | None = None, refuse: Callable[[Path], str] | None = None) -> Entry:
        """The stored result of `stage`; runs it by `execute` if the store lacks it. `refuse`: as in `run`."""
        log = self.log(stage.name, stage.what)

        def step(done: int, total: int, text: str) -> None:
            self.watch(stage.name, stage.what, done, max(total, done + 1), text)  # only the last call below ends it

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
        """Report the state of a candidate, if the `watch` wants it."""
        if receive := getattr(self.watch, "row", None):
            receive(row)

    def _share(self) -> child.Limits:
        """The limits of a stage while others run: an equal share of the memory."""
        allowed, machine = self.limits.memory_bytes, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        share = int(0.9 * machine) // self.parallel
        if self.parallel == 1 or (allowed and allowed <= share):
            return self.limits
        return msgspec.structs.replace(self.limits, memory_bytes=share)

    def log(self, stage: str, what: str) -> Path:
        """The log file of a child. Libraries print there, never to the user's terminal."""
        return self.store.root / "logs" / f"{stage}-{hashlib.sha256(what.encode()).hexdigest()[:12]}.log"


def made_by(libraries: str, *rooms: str) -> dict[str, str | None]:
    """Versions of the libraries that a stage uses, and digests of the edgewright packages that call them."""
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
