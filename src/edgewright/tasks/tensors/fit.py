"""Complete the description of a model of any outputs from one run of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec

from .outputs import samples
from .spec import of

MOST = 1 << 28
"""The most values of all outputs for one sample."""


def require(outputs: list[np.ndarray], spec: ModelSpec, origin: str, images: int, real: bool = True) -> None:
    """Raise `InvalidInput` if the outputs of a run of `origin` differ in size from those that the spec describes."""
    if of(spec).shapes:
        samples(outputs, spec)


def complete(outputs: list[np.ndarray], spec: ModelSpec) -> ModelSpec:
    """Return `spec` with the shapes and types of `outputs`, from one run with the model's batch (two if it is open).

    Raises `InvalidInput` for outputs without values, too many values, or without the batch axis of an open batch.
    """
    batch = 2 if spec.batch is None else spec.batch
    shapes = []
    for name, array in zip(spec.outputs, outputs, strict=True):
        has_batch = array.ndim > 0 and array.shape[0] == batch
        if not array.size or (not has_batch and batch > 1):
            raise InvalidInput(
                f"The output '{name}' has the shape {list(array.shape)} for a batch of {batch}.",
                "Each output needs values, and the batch as its first axis.",
                "Export with --batch 1, or name the other outputs in the model's TOML: outputs = [...]",
            )
        shapes.append(array.shape[1:] if has_batch else array.shape)
    if sum(int(np.prod(shape)) for shape in shapes) > MOST:
        raise InvalidInput(
            f"The outputs of {spec.name} have more than {MOST} values for one sample.",
            "All of them are stored for each sample and variant.",
            "Name smaller outputs in the model's TOML: outputs = [...]",
        )
    return spec.with_task(shapes=tuple(shapes), dtypes=tuple(str(array.dtype) for array in outputs))


def settle(
    answers: np.ndarray, spec: ModelSpec, function: str, said: Mapping[str, Any], certain: bool
) -> tuple[ModelSpec, tuple[str, ...]]:
    """Return `spec` unchanged, because `complete` has described the outputs. No notes."""
    return spec, ()
