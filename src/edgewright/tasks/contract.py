"""The signatures of a task's modules. A module that has these functions is such a part; nothing is inherited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from edgewright.core.spec import ModelSpec


class Decode(Protocol):
    """`decode`: light, runs on devices."""

    @staticmethod
    def read(outputs: list[np.ndarray], spec: ModelSpec, sizes: list[tuple[int, int]]) -> Sequence[Any]:
        """The answer for each image of a batch, in pixels of the original images; `sizes`: their (width, height)."""
        ...
