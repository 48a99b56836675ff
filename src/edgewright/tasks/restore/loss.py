"""The distance between two restored images."""

from __future__ import annotations

import numpy as np

from edgewright.core.losses import Outputs, each_image, energies
from edgewright.core.spec import ModelSpec

from .spec import of


def divergence(exact: Outputs, found: Outputs, spec: ModelSpec) -> float:
    """Return the mean squared error of the pixels, clipped to black and white, relative to the error of 30 dB."""
    a, b = (_levels(one[0], spec) for one in (exact, found))
    return float(np.square(a - b).mean()) / 1e-3


def changes(exact: Outputs, found: Outputs, spec: ModelSpec) -> np.ndarray:
    """Return the error of each image, at most 1, which is a PSNR to the exact image of 30 dB; (images,)."""
    return each_image(exact, found, spec, divergence)


def agreement(exact: Outputs, found: Outputs) -> float | None:
    """Return None, because images are never simply equal."""
    return None


def align(reference: np.ndarray, candidate: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Return `candidate` unchanged, because the pixels have an order."""
    return candidate


def same(reference: np.ndarray, candidate: np.ndarray, tie: float) -> dict[str, np.ndarray]:
    """Return no measure in addition to the differences."""
    return {}


def energy(exact: np.ndarray, found: np.ndarray, spec: ModelSpec) -> tuple[float, float]:
    """Return the energy of the image and of its error."""
    return energies(exact, found)


def stable(reference: np.ndarray, candidate: np.ndarray, spec: ModelSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return both unchanged."""
    return reference, candidate


def _levels(values: np.ndarray, spec: ModelSpec) -> np.ndarray:
    s = of(spec)
    return np.clip((np.asarray(values, np.float64) - s.black) / (s.white - s.black), 0, 1)
