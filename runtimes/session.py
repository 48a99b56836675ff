"""The SDK: open a bundle and run it on images::

    import edgewright

    session = edgewright.open("resnet18.edge")
    session("photo.jpg").label
    [answer.score for answer in session(["a.jpg", "b.png"])]
    [(found.label, found.box) for found in edgewright.open("detector.edge")("street.jpg")]

A session runs one call at a time. Several threads may share it, and they wait for each other. For parallel inference,
open one session per thread, each with its share of the cores.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, overload

import numpy as np

from edgewright import tasks
from edgewright.core import files
from edgewright.core.errors import InvalidInput, UsageError
from edgewright.core.spec import ModelSpec
from edgewright.vision import tiles as tiling
from edgewright.vision.image import ImageSource, open_picture, size_of
from edgewright.vision.preprocess import batch

from . import artifact, bundle, registry
from .contents import Contents
from .options import Options

MAX_BATCH = 32
"""Largest batch if the model's batch size is dynamic. It limits the memory for long lists of images."""


def open(path: str | os.PathLike[str], *, trust_plan: bool = False) -> Session:
    """Open the bundle (or artifact folder) `path`.

    Checks every file against the manifest before a runtime library reads it. `trust_plan`: also load a TensorRT plan
    that another machine built.

    Raises `InvalidInput` if there is no bundle, `IntegrityError` for a damaged bundle, a torch program, or a TensorRT
    plan of another machine, `Unavailable` if the runtime is not installed or the device lacks the precision, and
    `RuntimeFailed` if the runtime fails.
    """
    contents = _verified(path)
    about = artifact.parse(contents)
    bundle.require_no_program(about.options, contents.folder)
    return Session(contents, about, trust_plan)


def open_measured(path: str | os.PathLike[str]) -> Session:
    """As `open`, for an artifact that this machine measures: also the torch reference that it exported."""
    contents = _verified(path)
    return Session(contents, artifact.parse(contents))


def _verified(path: str | os.PathLike[str]) -> Contents:
    folder = files.absolute(path)
    if not folder.is_dir():
        raise bundle.no_bundle(folder)
    contents = bundle.verified(folder)
    if artifact.FILE not in contents:
        raise bundle.no_bundle(folder)
    return contents


class Session:
    """A loaded model. `open` returns it. Use it as a context manager, or call `close`.

    `spec`: the `ModelSpec`. `options`: the runtime and its settings.
    """

    spec: ModelSpec
    options: Options

    def __init__(self, contents: Contents, about: artifact.Artifact, trust_plan: bool = False) -> None:
        self.spec, self.options = about.spec, about.options
        self._runtime = registry.module(about.options.runtime)
        self._handle = self._runtime.load(contents, about.options, trust_plan)
        contents.release()
        self._lock = threading.Lock()
        self._dtype = np.dtype(self.spec.input.dtype)
        self._row = self.spec.input.shape()[1:]

    @overload
    def __call__(self, images: ImageSource, score: float | None = None) -> Any: ...
    @overload
    def __call__(
        self, images: list[ImageSource] | tuple[ImageSource, ...], score: float | None = None
    ) -> list[Any]: ...
    def __call__(self, images: Any, score: float | None = None) -> Any:
        """Run the model on one image, or on each image of a list or tuple.

        `images`: a path, the bytes of an image file, an open file, a PIL image, a uint8 array (height, width, 3) in
        RGB, a uint8 torch tensor (3, height, width), or a list of these. `score`: the lowest score of a detection, from
        0 to 1; default that of the spec.

        Returns the answer of the task for each image: a `Classification` or `Detections`. Raises `InvalidInput` for
        another type of image or score, `RuntimeFailed` if the runtime fails.
        """
        score = tasks.of(self.spec).decode.threshold(self.spec, score)
        if isinstance(images, (list, tuple)):
            return [answer for outputs, sizes in self.outputs(images) for answer in self.read(outputs, sizes, score)]
        return self([images], score)[0]

    @property
    def most(self) -> int:
        """The largest batch of one inference: the model's fixed batch, else the largest of its plan, at most 32."""
        builder = self.options.builder
        return self.spec.input.batch or (min(builder.max_batch, MAX_BATCH) if builder else MAX_BATCH)

    def run(self, x: np.ndarray) -> list[np.ndarray]:
        """The raw outputs for the preprocessed batch `x`, an array of the shape and type in `spec.input`.

        Returns one array per output of `spec.outputs`, in the shape that the graph gives. Raises `InvalidInput` for an
        array of another shape or type, `UsageError` after `close`, `RuntimeFailed` if the runtime fails.
        """
        if x.dtype != self._dtype or x.shape[1:] != self._row or self.spec.input.batch not in (None, len(x)):
            raise self._misfit(x)
        with self._lock:
            return self._runtime.run(self._opened(), x)

    def describe(self) -> dict[str, Any]:
        """The settings in use here: precision, threads, device, kernels by precision. Runs at least one inference."""
        with self._lock:
            return self._runtime.describe(self._opened())

    def close(self) -> None:
        """Free the model. A second call does nothing."""
        with self._lock:
            if self._handle is not None and hasattr(self._runtime, "close"):
                self._runtime.close(self._handle)
            self._handle = None

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self) -> Any:
        if self._handle is None:
            raise UsageError("The session is closed.", "A closed session runs no model.", "Open the bundle again.")
        return self._handle

    def read(
        self, outputs: list[np.ndarray], sizes: list[tuple[int, int]], score: float | None = None
    ) -> Sequence[Any]:
        """Decode the raw `outputs` of `run` into one answer per image.

        `sizes`: the (width, height) of each image in pixels. `score`: as in a call of the session.
        """
        return tasks.of(self.spec).decode.read(outputs, self.spec, sizes, score)

    def outputs(self, images: Sequence[ImageSource]) -> Iterator[tuple[list[np.ndarray], list[tuple[int, int]]]]:
        """Yield the raw outputs for `images`, at most `most` at a time, with the (width, height) of each image in
        pixels.

        Both are the arguments of `read`.
        """
        if self.spec.preprocess.resize == "tiles":
            yield from map(self._tiled, images)
            return
        size = self.most
        for start in range(0, len(images), size):
            part = [open_picture(image, self.spec.preprocess.turns) for image in images[start : start + size]]
            yield self._filled(batch(part, self.spec)), [size_of(image) for image in part]

    def _filled(self, x: np.ndarray) -> list[np.ndarray]:
        """Run the rows of `x`, at most `most`. A fixed batch is filled with zeros."""
        if not self.spec.input.batch or len(x) == self.most:
            return self.run(x)
        filler = np.zeros((self.most - len(x), *self._row), self._dtype)
        return [output[: len(x)] for output in self.run(np.concatenate([x, filler]))]

    def _tiled(self, image: ImageSource) -> tuple[list[np.ndarray], list[tuple[int, int]]]:
        """Return the outputs for one photo, joined from those of its tiles."""
        photo, side = open_picture(image, self.spec.preprocess.turns), (self.spec.input.height, self.spec.input.width)
        size = size_of(photo)
        places = tiling.tiles(size, side, self.spec.overlap or 0)
        found: list[list[np.ndarray]] = []
        for start in range(0, len(places), self.most):
            parts = [tiling.cut(photo, tile, side) for tile in places[start : start + self.most]]
            found += map(list, zip(*self._filled(batch(parts, self.spec))))
        layout = self.spec.input.layout
        return [tiling.joined(parts, places, size, side, layout) for parts in zip(*found)], [size]

    def _misfit(self, x: np.ndarray) -> InvalidInput:
        wanted = (self.spec.input.batch or "any", *self._row)
        return InvalidInput(
            f"An array of {x.dtype} with shape {x.shape} does not fit the model.",
            f"The model needs {self._dtype} with shape ({', '.join(map(str, wanted))}), {self.spec.input.layout}.",
            "Call the session with the images, or prepare them with edgewright.vision.preprocess.batch.",
        )
