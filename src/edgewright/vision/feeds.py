"""From a source to what a model takes: one array for each of its inputs, in their order.

A source is an image, or a sample: arrays and images by input name, in memory or in a file (`samples`). Session,
accuracy, calibration, export and audit all come here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from edgewright.core import samples
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import AnyInput, Input, ModelSpec, TensorInput

from . import preprocess
from .image import ImageSource, Picture, open_image, open_picture, size_of

Source: TypeAlias = "ImageSource | Mapping[str, Any]"
"""An image (see `ImageSource`), the path of a sample file, or arrays and images by input name."""

Opened: TypeAlias = "Picture | dict[str, Any]"
"""What `opened` gives: a picture, or the pictures and arrays of a sample by input name."""

Feeds: TypeAlias = "tuple[np.ndarray, ...]"
"""One array for each input of a model, in their order."""


def held(path: str) -> Any:
    """The file `path` decoded into memory, as a camera or program would give it: pixels, or arrays by name."""
    return samples.read(path) if samples.is_sample(path) else np.asarray(open_image(path))


def opened(source: Source, spec: ModelSpec) -> Opened:
    """`source`, decoded and checked against the inputs of `spec`. Raises `InvalidInput` for anything else."""
    if isinstance(source, Mapping):
        return _sample(source, spec, "The sample")
    if isinstance(source, (str, os.PathLike)) and samples.is_sample(source):
        return _sample(samples.read(source), spec, os.fspath(source))
    if not spec.takes_image:
        names = ", ".join(f"'{one.name}'" for one in spec.inputs)
        raise InvalidInput(
            f"The model {spec.name} takes {'arrays' if len(spec.inputs) > 1 else 'an array'}: {names}.",
            "One image is not enough for it, or its description has no [preprocess] for images.",
            f"Give {{'{spec.inputs[0].name}': array, ...}}, or an .npz file with these names.",
        )
    return open_picture(source, spec.turns)


def size(source: Opened) -> tuple[int, int]:
    """The (width, height) of an opened image, or of the first image of a sample; (0, 0) without an image."""
    if not isinstance(source, dict):
        return size_of(source)
    return next((size_of(one) for one in source.values() if _is_picture(one)), (0, 0))


def batch(sources: Sequence[Source], spec: ModelSpec) -> Feeds:
    """The arrays for all `sources`, in the order of the inputs."""
    return stacked([opened(one, spec) for one in sources], spec)


def stacked(sources: Sequence[Opened], spec: ModelSpec) -> Feeds:
    """As `batch`, for sources that are open."""
    if spec.takes_image and not any(isinstance(one, dict) for one in sources):
        return (preprocess.batch(sources, spec),)
    return tuple(_stacked([_part(one, i) for one in sources], i) for i in spec.inputs)


def one(source: Source, spec: ModelSpec) -> Feeds:
    """The arrays for one source, without a batch axis."""
    found = stacked([opened(source, spec)], spec)
    return tuple(array[0] if _batched(i) else array for array, i in zip(found, spec.inputs))


def named(feeds: Feeds, spec: ModelSpec) -> dict[str, np.ndarray]:
    """The arrays by the names of the inputs."""
    return {i.name: array for i, array in zip(spec.inputs, feeds)}


def joined(ones: Sequence[Feeds], spec: ModelSpec) -> Feeds:
    """The arrays of several sources (see `one`) as one batch."""
    return tuple(_stacked([feeds[k] for feeds in ones], i) for k, i in enumerate(spec.inputs))


def padded(feeds: Feeds, spec: ModelSpec, count: int) -> Feeds:
    """`feeds` with zeros up to `count` samples."""
    return tuple(
        np.concatenate([array, np.zeros((count - len(array), *array.shape[1:]), array.dtype)]) if _batched(i) else array
        for array, i in zip(feeds, spec.inputs)
    )


def zeros(spec: ModelSpec, count: int) -> Feeds:
    """Zeros for `count` samples."""
    return tuple(np.zeros(i.shape(count), i.dtype) for i in spec.inputs)


def rows(feeds: Feeds, spec: ModelSpec, places: Any) -> Feeds:
    """The samples at `places` (a slice or indices) of a batch."""
    return tuple(array[places] if _batched(i) else array for array, i in zip(feeds, spec.inputs))


def _batched(i: AnyInput) -> bool:
    return not isinstance(i, TensorInput) or i.batched


def _stacked(parts: Sequence[np.ndarray], i: AnyInput) -> np.ndarray:
    return np.stack(parts) if _batched(i) else parts[0]


def _sample(given: Mapping[str, Any], spec: ModelSpec, name: str) -> dict[str, Any]:
    """The arrays and pictures of a sample by input name. Names that no input has are ignored: they may be labels."""
    names = [i.name for i in spec.inputs]
    if missing := [one for one in names if one not in given]:
        plain = [f"arr_{k}" for k in range(len(names))]  # numpy's names of arrays without one
        if not (len(names) == len(given) == 1 or list(given) == plain):
            raise InvalidInput(
                f"{name} has no array '{missing[0]}'. It has: {', '.join(map(str, given))[:200]}.",
                f"The inputs of {spec.name} are: {', '.join(names)}.",
                "Name the arrays of a sample like the inputs.",
            )
        given = dict(zip(names, given.values()))
    return {i.name: _value(given[i.name], i, name) for i in spec.inputs}


def _value(value: Any, i: AnyInput, name: str) -> Any:
    """What a sample has for the input `i`: a picture to preprocess, or an array of the input's shape and type."""
    if isinstance(i, Input) and _is_image(value):
        return open_picture(value, i.preprocess.turns)
    array, wanted = np.asarray(value), tuple(i.shape()[1:]) if _batched(i) else tuple(i.shape())
    if isinstance(i, Input) and array.dtype.kind != np.dtype(i.dtype).kind:
        raise InvalidInput(
            f"{name} has an array of {array.dtype} for the image input '{i.name}'.",
            f"An image is uint8 (height, width, 3). An array that is preprocessed already is {i.dtype} {wanted}.",
            "Give one of both.",
        )
    if array.shape == (1, *wanted) and _batched(i):
        array = array[0]
    if array.shape != wanted:
        also = ", or an image: uint8 (height, width, 3)" if isinstance(i, Input) else ""
        raise InvalidInput(
            f"{name} has an array of shape {array.shape} for the input '{i.name}'.",
            f"The input takes {i.dtype} of shape {wanted}{also}.",
            "Correct the array. It has no axis for a batch.",
        )
    return _cast(array, np.dtype(i.dtype), f"{name} has {array.dtype} for the input '{i.name}'.")


def _is_image(value: Any) -> bool:
    """Whether the value for an image input is an image, and not an array that is preprocessed already."""
    if not isinstance(value, np.ndarray):
        return not hasattr(value, "__array__") or hasattr(value, "convert") or str(value.dtype) == "torch.uint8"
    return value.dtype == np.uint8 and (value.ndim == 2 or (value.ndim == 3 and value.shape[2] in (1, 3)))


def _cast(array: np.ndarray, dtype: np.dtype[Any], what: str) -> np.ndarray:
    if array.dtype == dtype:
        return array
    floats = dtype.kind == "f"
    fits = np.can_cast(array.dtype, dtype, "safe") or (floats and array.dtype.kind in "fiu")
    if not fits and dtype.kind in "iu" and array.dtype.kind in "iu":
        ends = np.iinfo(dtype)
        fits = not array.size or bool(array.min() >= ends.min and array.max() <= ends.max)
    if not fits:
        raise InvalidInput(
            what, f"The input takes {dtype}, which cannot hold these values.", "Convert the array first."
        )
    return array.astype(dtype)


def _is_picture(value: Any) -> bool:
    return not isinstance(value, np.ndarray) or (value.dtype == np.uint8 and value.ndim in (2, 3))


def _part(source: Opened, i: AnyInput) -> np.ndarray:
    """The array of one source for the input `i`, without a batch axis."""
    value = source[i.name] if isinstance(source, dict) else source
    if isinstance(i, Input) and _is_image(value):
        return preprocess.preprocess(value, i.preprocess, i)
    return np.asarray(value)
