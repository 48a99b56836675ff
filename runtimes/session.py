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
from edgewright.core.spec import Input, ModelSpec
from edgewright.vision import feeds
from edgewright.vision import tiles as tiling
from edgewright.vision.feeds import Feeds, Source
from edgewright.vision.image import ImageSource, open_picture, size_of

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
        self._accepted = [(np.dtype(one.dtype), one.shape(self.spec.batch or 0)) for one in self.spec.inputs]

    @overload
    def __call__(self, images: Source, score: float | None = None) -> Any: ...
    @overload
    def __call__(self, images: list[Source] | tuple[Source, ...], score: float | None = None) -> list[Any]: ...
    def __call__(self, images: Any, score: float | None = None) -> Any:
        """Run the model on one image, or on each image of a list or tuple.

        `images`: a path, the bytes of an image file, an open file, a PIL image, a uint8 array (height, width, 3) in
        RGB, a uint8 torch tensor (3, height, width), or a list of these. For a model of any inputs, a sample: a dict of
        arrays and images by input name, or the path of an .npz or .safetensors file with them. `score`: the lowest
        score of a detection, from 0 to 1; default that of the spec.

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
        return self.spec.batch or (min(builder.max_batch, MAX_BATCH) if builder else MAX_BATCH)

    def run(self, *x: np.ndarray) -> list[np.ndarray]:
        """The raw outputs for the preprocessed batch `x`: one array for each of `spec.inputs`, in their order.

        Each has the shape and type of its input. Returns one array per output of `spec.outputs`, in the shape that the
        graph gives. Raises `InvalidInput` for an array of another shape or type, `UsageError` after `close`,
        `RuntimeFailed` if the runtime fails.
        """
        if len(x) != len(self._accepted):
            raise self._misfit(x)
        for array, (dtype, shape) in zip(x, self._accepted):
            if array.dtype != dtype or (array.shape != shape and (self.spec.batch or array.shape[1:] != shape[1:])):
                raise self._misfit(x)
        with self._lock:
            return self._runtime.run(self._opened(), *x)

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

    def outputs(self, images: Sequence[Source]) -> Iterator[tuple[list[np.ndarray], list[tuple[int, int]]]]:
        """Yield the raw outputs for `images`, at most `most` at a time, with the (width, height) of each image in
        pixels.

        Both are the arguments of `read`.
        """
        if self.spec.is_tiled:
            yield from map(self._tiled, images)
            return
        size = self.most
        for start in range(0, len(images), size):
            part = [feeds.opened(image, self.spec) for image in images[start : start + size]]
            yield self._filled(feeds.stacked(part, self.spec), len(part)), [feeds.size(image) for image in part]

    def _filled(self, x: Feeds, count: int) -> list[np.ndarray]:
        """Run the `count` samples of `x`, at most `most`. A fixed batch is filled with zeros."""
        if not self.spec.batch or count == self.most:
            return self.run(*x)
        return [output[:count] for output in self.run(*feeds.padded(x, self.spec, self.most))]

    def _tiled(self, image: ImageSource) -> tuple[list[np.ndarray], list[tuple[int, int]]]:
        """Return the outputs for one photo, joined from those of its tiles."""
        photo, side = open_picture(image, self.spec.turns), (self.spec.input.height, self.spec.input.width)
        size = size_of(photo)
        places = tiling.tiles(size, side, self.spec.overlap or 0)
        found: list[list[np.ndarray]] = []
        for start in range(0, len(places), self.most):
            parts = [tiling.cut(photo, tile, side) for tile in places[start : start + self.most]]
            found += map(list, zip(*self._filled(feeds.stacked(parts, self.spec), len(parts))))
        layout = self.spec.input.layout
        return [tiling.joined(parts, places, size, side, layout) for parts in zip(*found)], [size]

    def _misfit(self, x: Sequence[Any]) -> InvalidInput:
        given = ", ".join(
            f"{one.dtype} with shape {one.shape}" if hasattr(one, "dtype") else type(one).__name__ for one in x
        )
        wanted = ", ".join(
            f"{dtype} with shape ({', '.join(map(str, shape if self.spec.batch else ('any', *shape[1:])))})"
            + (f", {one.layout}" if isinstance(one, Input) else "")
            + (f" for '{one.name}'" if len(x) != 1 else "")
            for one, (dtype, shape) in zip(self.spec.inputs, self._accepted)
        )
        return InvalidInput(
            f"An array of {given} does not fit the model."
            if len(x) == 1
            else f"The arrays {given} do not fit the model.",
            f"The model needs {wanted}.",
            "Call the session with the images or samples, or prepare them with edgewright.vision.feeds.batch.",
        )
