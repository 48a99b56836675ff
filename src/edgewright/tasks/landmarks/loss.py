"""The distance between the answers of two landmark models."""

from __future__ import annotations

import numpy as np

from edgewright.core.losses import Outputs, energies
from edgewright.core.spec import ModelSpec
from edgewright.points import distance

from . import spec as section


def divergence(exact: Outputs, found: Outputs, spec: ModelSpec) -> float:
    """Return the mean movement of the points relative to the object's size, per image."""
    return float(_each(exact, found, spec).mean())


def changes(exact: Outputs, found: Outputs, spec: ModelSpec) -> np.ndarray:
    """Return the movement of each image's points, 1 for a twentieth of the object's size; (images,)."""
    return np.minimum(1.0, _each(exact, found, spec) / distance.NEAR)


def agreement(exact: Outputs, found: Outputs) -> float | None:
    """Return None, because points are never exactly equal."""
    return None


def align(reference: np.ndarray, candidate: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Return `candidate` unchanged, because the order of points has a meaning."""
    return candidate


def stable(reference: np.ndarray, candidate: np.ndarray, spec: ModelSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return both unchanged."""
    return reference, candidate


def same(reference: np.ndarray, candidate: np.ndarray, tie: float) -> dict[str, np.ndarray]:
    """Return no measure, because points are never exactly equal."""
    return {}


def energy(exact: np.ndarray, found: np.ndarray, spec: ModelSpec) -> tuple[float, float]:
    """Return the energy of an output and of its error."""
    return energies(exact, found)


def _each(exact: Outputs, found: Outputs, spec: ModelSpec) -> np.ndarray:
    d = section.of(spec)
    return distance.change(d.decoder, exact, found, d, spec)
