"""Distances between outputs that several tasks use."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgewright.core.spec import ModelSpec

Outputs = Sequence[np.ndarray]
"""The outputs of a model, each with images along its first axis."""


def relative(exact: Outputs, found: Outputs) -> float:
    """Return the energy of the error relative to that of `exact`, summed over outputs."""
    return sum(float(((b - a) ** 2).sum() / ((a**2).sum() + 1e-12)) for a, b in zip(exact, found))


def each_image(
    exact: Outputs, found: Outputs, spec: ModelSpec, divergence: Callable[[Outputs, Outputs, ModelSpec], float]
) -> np.ndarray:
    """Return the `divergence` of each image separately, at most 1; (images,)."""
    each = (([a[i : i + 1] for a in exact], [b[i : i + 1] for b in found]) for i in range(len(exact[0])))
    return np.array([min(1.0, divergence(one, other, spec)) for one, other in each])


def energies(exact: np.ndarray, found: np.ndarray) -> tuple[float, float]:
    """Return the energy of an output and of its error."""
    return float(np.square(exact, dtype=np.float64).sum()), float(np.square(exact.astype(np.float64) - found).sum())
