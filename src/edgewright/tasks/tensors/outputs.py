"""The rows of samples: all outputs flattened, in their order; and the parts of a row."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.core.spec import ModelSpec

from .spec import of


def widths(spec: ModelSpec) -> list[int]:
    """Return the number of values of each output for one sample."""
    return [math.prod(shape) for shape in of(spec).shapes]


def parts(rows: np.ndarray, spec: ModelSpec) -> list[np.ndarray]:
    """Return the values of each output (samples, values) in `rows`."""
    return np.split(rows, np.cumsum(widths(spec))[:-1], axis=1)


def is_float(spec: ModelSpec) -> list[bool]:
    """Return for each output whether it holds floating-point numbers. Others are compared by equality."""
    return [np.dtype(name).kind == "f" for name in of(spec).dtypes]


def samples(outputs: Sequence[np.ndarray], spec: ModelSpec) -> int:
    """Return the number of samples in `outputs`. Raises `InvalidInput` if their sizes differ from those of the spec."""
    counts = [width and array.size // width for array, width in zip(outputs, widths(spec))]
    sound = len(outputs) == len(counts) and len(set(counts)) == 1
    if not sound or any(a.size != counts[0] * width for a, width in zip(outputs, widths(spec))):
        found = ", ".join(f"{name} {list(array.shape)}" for name, array in zip(spec.outputs, outputs))
        wanted = ", ".join(f"{name} {list(shape)}" for name, shape in zip(spec.outputs, of(spec).shapes))
        raise InvalidInput(
            f"The model {spec.name} gives outputs of shapes {found}.",
            f"When it was exported, each sample gave {wanted}. Outputs whose sizes depend on the values cannot be "
            "compared.",
            "Name outputs with fixed sizes in the model's TOML: outputs = [...], and export it again.",
        )
    return counts[0]


def require_finite(array: np.ndarray, output: str, name: str) -> None:
    """Raise `RuntimeFailed` if `array` has a NaN or an infinity. `name`: of the sample."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise RuntimeFailed(
            f"The output '{output}' is not finite for {name}.",
            f"{int((~np.isfinite(array)).sum())} of {array.size} values are NaN or infinity.",
            "This variant is unusable; try another precision or calibration method.",
        )
