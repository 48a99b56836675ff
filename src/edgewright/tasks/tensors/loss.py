"""The distance between the outputs of two models: the relative error of each output, the mean over outputs."""

from __future__ import annotations

import numpy as np

from edgewright.core.losses import Outputs, energies
from edgewright.core.spec import ModelSpec

FLOOR = 0.01
"""A sample's output counts with at least this share of the mean energy: a nearly empty output makes no error large."""


def errors(exact: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return the energy of the error of one output relative to that of `exact`, for each sample; (samples,).

    For integers and booleans: the share of values that differ.
    """
    count = len(exact)
    a, b = exact.reshape(count, -1), found.reshape(count, -1)
    if exact.dtype.kind != "f":
        return np.asarray((a != b).mean(1))
    energy = np.square(a, dtype=np.float64).sum(1)
    error = np.square(a.astype(np.float64) - b).sum(1)
    return np.asarray(error / np.maximum(np.maximum(energy, FLOOR * energy.mean()), 1e-12))


def divergence(exact: Outputs, found: Outputs, spec: ModelSpec) -> float:
    """Return the mean relative error over samples and outputs."""
    return float(np.mean([errors(a, b).mean() for a, b in zip(exact, found)]))


def changes(exact: Outputs, found: Outputs, spec: ModelSpec) -> np.ndarray:
    """Return the relative error of each sample, at most 1, as the mean over outputs; (samples,)."""
    return np.asarray(np.mean([np.minimum(errors(a, b), 1.0) for a, b in zip(exact, found)], axis=0))


def agreement(exact: Outputs, found: Outputs) -> float | None:
    """Return None, because arrays of numbers are not simply equal or not."""
    return None


def align(reference: np.ndarray, candidate: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Return `candidate` unchanged."""
    return candidate


def same(reference: np.ndarray, candidate: np.ndarray, tie: float) -> dict[str, np.ndarray]:
    """Return no further measures."""
    return {}


def energy(exact: np.ndarray, found: np.ndarray, spec: ModelSpec) -> tuple[float, float]:
    """Return the energies of the output and of its error."""
    return energies(exact, found)


def stable(reference: np.ndarray, candidate: np.ndarray, spec: ModelSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return both as floats."""
    return np.asarray(reference, np.float32), np.asarray(candidate, np.float32)
