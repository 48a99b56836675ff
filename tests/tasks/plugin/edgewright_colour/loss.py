"""How far two colours are apart. Outputs are lists of (N, 3) arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgewright.core.spec import ModelSpec

SAME = 2 / 255


def divergence(exact: Sequence[np.ndarray], found: Sequence[np.ndarray], spec: ModelSpec) -> float:
    """The mean absolute difference."""
    return float(np.abs(exact[0] - found[0]).mean())


def changes(exact: Sequence[np.ndarray], found: Sequence[np.ndarray], spec: ModelSpec) -> np.ndarray:
    """The largest difference of an image's three values, at most 1."""
    return np.minimum(1.0, np.abs(exact[0] - found[0]).max(axis=1))


def agreement(exact: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> float | None:
    """Percent of images whose colour is the same within two levels."""
    return float(100 * (np.abs(exact[0] - found[0]).max(axis=1) < SAME).mean())


def align(reference: np.ndarray, candidate: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """The order of the three values means something."""
    return candidate


def same(reference: np.ndarray, candidate: np.ndarray, tie: float) -> dict[str, np.ndarray]:
    """For which images the colour is the same."""
    return {"colour_agreement": np.abs(reference - candidate).max(axis=1) < SAME}


def energy(exact: np.ndarray, found: np.ndarray, spec: ModelSpec) -> tuple[float, float]:
    """All of the output says something."""
    return float(np.square(exact).sum()), float(np.square(exact - found).sum())


def stable(reference: np.ndarray, candidate: np.ndarray, spec: ModelSpec) -> tuple[np.ndarray, np.ndarray]:
    """There are no ties."""
    return reference, candidate
