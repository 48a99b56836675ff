"""The answer of a model of any outputs: its arrays by name."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edgewright.core.errors import InvalidInput

if TYPE_CHECKING:
    from edgewright.tasks.contract import Line

SHOWN = 16
"""The most values of an array that `to_json` shows."""


class Arrays(msgspec.Struct, frozen=True):
    """The outputs for one sample, by name in the order of the model: arrays without a batch axis."""

    arrays: dict[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        """Return the output `name`."""
        return self.arrays[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the outputs."""
        return iter(self.arrays)

    def to_json(self, top: int = 3) -> dict[str, Any]:
        """Return shape, type, lowest, highest and mean value of each output; arrays of at most 16 values in full."""
        return {"outputs": {name: _summary(array) for name, array in self.arrays.items()}}

    def lines(self, top: int = 3) -> list[Line]:
        """Return one line per output: name, type and shape, range and mean."""
        width = max(map(len, self.arrays))
        lines: list[Line] = []
        for name, array in self.arrays.items():
            size = "x".join(map(str, array.shape)) or "one number"
            numbers = f"{_least(array):.4g} to {_most(array):.4g}, mean {float(array.mean()):.4g}" if array.size else ""
            lines.append((("bold", f"{name:<{width}}"), f"  {array.dtype} {size}  ", ("dim", numbers)))
        return [lines[0], *((("", "  "), *line) for line in lines[1:])]

    def files(self) -> dict[str, bytes]:
        """Return the content of files by suffix: all arrays as an .npz file."""
        content = io.BytesIO()
        np.savez(content, **self.arrays)  # type: ignore[arg-type]  # names are those of outputs
        return {".npz": content.getvalue()}

    def to_coco(self, image: int) -> list[dict[str, Any]]:
        """Return no rows, because COCO has no results of this kind."""
        return []

    def to_ultralytics(self) -> list[dict[str, Any]]:
        """Return no rows, because Ultralytics has no results of this kind."""
        return []

    def to_supervision(self) -> Any:
        """Raise `InvalidInput`, because supervision has no type for arrays."""
        raise InvalidInput(
            "supervision has no type for arrays of any meaning.",
            f"The answer has the outputs {', '.join(self.arrays)}.",
            "Use the arrays by name: answer['NAME'].",
        )


def _summary(array: np.ndarray) -> dict[str, Any]:
    found: dict[str, Any] = {"shape": list(array.shape), "dtype": str(array.dtype)}
    if array.size:
        found |= {"min": _least(array), "max": _most(array), "mean": float(array.mean())}
    if array.size <= SHOWN:
        found["values"] = array.tolist()
    return found


def _least(array: np.ndarray) -> float:
    return float(array.min())


def _most(array: np.ndarray) -> float:
    return float(array.max())
