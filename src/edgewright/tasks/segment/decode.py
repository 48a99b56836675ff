"""Convert a segmentation model's outputs to a class for each pixel of the original image."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.core.spec import ModelSpec
from edgewright.core.text import one_line

from . import maps, runs
from . import spec as section
from .answer import ClassMap
from .spec import BINARY, Segment

DTYPE = "float32"

_MOST_RUNS = 1 << 21


def read(
    outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]], score: float | None = None
) -> list[ClassMap]:
    """Return the classes of each image, from the outputs of one run over N images. Only the first output is read.

    `sizes`: (width, height) of the N original images. `score` has no effect. The maps are scaled to an image when its
    classes are first read. Raises `InvalidInput` for outputs of another shape, and `RuntimeFailed` if a value is not
    finite.
    """
    arrays = maps_of(outputs, spec, len(sizes))
    _require_finite(arrays)
    compute = functools.partial(classes, spec=spec)
    return [
        ClassMap(functools.partial(compute, array, size=size), size, spec.labels) for array, size in zip(arrays, sizes)
    ]


def threshold(spec: ModelSpec, score: Any) -> float | None:
    """Return None. Raises `InvalidInput` if the caller gives a minimum score."""
    if score is not None:
        raise InvalidInput(
            f"score={one_line(repr(score))} was given to a segmentation model.",
            "A minimum score selects detections. Segmentation gives each pixel its best class.",
            "Leave it out. For a model with one map, set [segment] threshold in its description.",
        )
    return None


def evaluated(spec: ModelSpec) -> ModelSpec:
    """Return `spec` unchanged."""
    return spec


def rows(
    outputs: list[np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]], names: Sequence[str], first: int
) -> np.ndarray:
    """Return the classes for the accuracy as runs; see `runs`. Raises the errors of `read`."""
    found = read(outputs, spec, sizes)
    return np.concatenate([runs.encode(one.classes, number) for number, one in enumerate(found, first)])


def row_bytes(spec: ModelSpec) -> int:
    """Return the maximum number of bytes of an image's rows."""
    return 12 * _MOST_RUNS


def check_rows(rows: np.ndarray, spec: ModelSpec, images: int) -> tuple[str, str] | None:
    """Check rows of `images` images. Return (the error, the allowed values), or None if they are valid."""
    return runs.problem(rows, spec.classes, images)


def maps_of(outputs: Sequence[np.ndarray], spec: ModelSpec, images: int) -> np.ndarray:
    """Return the maps of the first output, (images, maps, height, width), without a copy. Classes are one map.

    Raises `InvalidInput` if the shape is not that of the spec.
    """
    own, given = section.of(spec), np.asarray(outputs[0])
    array = given[None] if given.ndim == 2 and images == 1 else given
    alone = array.ndim == 3
    if alone and own.layout == "NHWC" and array.shape[2] == 1 and images == 1:
        array, alone = array[None], False
    if alone:
        array = array[:, None]
    elif array.ndim == 4 and own.layout == "NHWC":
        array = array.transpose(0, 3, 1, 2)
    counts = (1,) if own.scores == "classes" else (1, spec.classes) if spec.classes == BINARY else (spec.classes,)
    if array.ndim != 4 or len(array) != images or array.shape[1] not in counts or not array.size:
        wanted = " or ".join(map(str, counts))
        shape = ", ".join((wanted, "height", "width") if own.layout == "NCHW" else ("height", "width", wanted))
        raise InvalidInput(
            f"The model {spec.name} gives maps of shape {given.shape}.",
            f"A segmentation model of {spec.classes} classes gives ({images}, {shape}).",
            "Correct `classes` or [segment] layout, or name the output in the model's TOML: outputs = [...].",
        )
    return array


def classes(array: np.ndarray, spec: ModelSpec, size: tuple[int, int]) -> np.ndarray:
    """Return the class of each pixel, (height, width), of a photo of (width, height) `size` from its maps `array`
    (maps, height, width)."""
    own = section.of(spec)
    if own.scores == "classes":
        kind = np.uint8 if spec.classes <= 256 else np.uint16
        return maps.nearest(array[0].astype(kind), *maps.axes(size, array.shape[1:], spec, "nearest"))
    rows, columns = maps.axes(size, array.shape[1:], spec, own.resize)
    array = array if array.dtype == np.float32 else array.astype(np.float32)
    if len(array) > 1:
        return maps.of_scores(array, rows, columns)
    return maps.above(array[0], level(array[0], own), rows, columns)


def level(map_: np.ndarray, own: Segment) -> float:
    """Return the value of one map above which a pixel is foreground."""
    if own.rescale:
        low, high = float(map_.min()), float(map_.max())
        return low + own.threshold * (high - low)
    if own.scores == "sigmoid":
        share = own.threshold
        return -math.inf if share <= 0 else math.inf if share >= 1 else math.log(share / (1 - share))
    return own.threshold


def _require_finite(array: np.ndarray) -> None:
    if array.dtype.kind == "f" and not (np.isfinite(array.min()) and np.isfinite(array.max())):  # both pass on NaN
        raise RuntimeFailed(
            "The model's output holds NaN or infinite values.",
            "edgewright can read no class from it. Usually, weights overflow in a low precision.",
            "Build the artifact with a higher precision, or check the checkpoint.",
        )
