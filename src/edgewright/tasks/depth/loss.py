"""The distance between the maps of two depth models."""

from __future__ import annotations

import numpy as np

from edgewright.core.losses import Outputs, each_image, energies
from edgewright.core.spec import ModelSpec

TINY = 1e-9


def divergence(exact: Outputs, found: Outputs, spec: ModelSpec) -> float:
    """Return the mean absolute error relative to the mean deviation from the median, of each image, then the mean.

    The measure is free of the scale of a map, so a relative depth, a disparity and a logarithm are judged alike.
    """
    each = []
    for a, b in zip(exact[0], found[0]):
        spread = float(np.abs(a - np.median(a)).mean()) + 1e-3 * float(np.abs(a).mean())
        each.append(float(np.abs(a - b).mean()) / max(spread, TINY))
    return float(np.mean(each))


def changes(exact: Outputs, found: Outputs, spec: ModelSpec) -> np.ndarray:
    """Return the relative error of each image, at most 1; (images,)."""
    return each_image(exact, found, spec, divergence)


def agreement(exact: Outputs, found: Outputs) -> float | None:
    """Return None, because maps are never simply equal."""
    return None


def align(reference: np.ndarray, candidate: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Return `candidate` unchanged, because the pixels have an order."""
    return candidate


def same(reference: np.ndarray, candidate: np.ndarray, tie: float) -> dict[str, np.ndarray]:
    """Return no measure in addition to the differences."""
    return {}


def energy(exact: np.ndarray, found: np.ndarray, spec: ModelSpec) -> tuple[float, float]:
    """Return the energy of the map and of its error."""
    return energies(exact, found)


def stable(reference: np.ndarray, candidate: np.ndarray, spec: ModelSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return both unchanged."""
    return reference, candidate
