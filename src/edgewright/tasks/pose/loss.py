"""The distance between the answers of two pose models."""

from __future__ import annotations

import numpy as np

from edgewright.boxes.loss import BOX_SCORE
from edgewright.core.losses import Outputs, each_image, energies
from edgewright.core.spec import ModelSpec
from edgewright.points import distance

from . import spec as section
from .decode import read

_FALLOFF = 0.05
"""The distance, relative to the object's size, at which a point is worth exp(-1/2)."""


def divergence(exact: Outputs, found: Outputs, spec: ModelSpec) -> float:
    """Return the mean movement of points for a model with one object, else the score that the float model's objects
    lose, relative to the sum of all scores.

    The matching object is that of the same class with the most similar keypoints. The similarity, the mean of a
    Gaussian of the points' distance relative to the object's size, is a factor of the remaining score.
    """
    d = section.of(spec)
    if d.single is not None:
        return float(distance.change(d.single, exact, found, d, spec).mean())
    size, one = (spec.input.width, spec.input.height), spec.with_input(batch=1)
    total, lost = 1e-12, 0.0
    for image in range(len(exact[0])):
        wanted = read([array[image : image + 1] for array in exact], one, [size], BOX_SCORE)[0]
        given = read([array[image : image + 1] for array in found], one, [size], BOX_SCORE / 10)[0]
        for points, score, kind in zip(wanted.keypoints, wanted.scores.tolist(), wanted.indices):
            same = given.indices == kind
            alike = _similar(points, given.keypoints[same]) * np.minimum(given.scores[same], score)
            total, lost = total + score, lost + score - float(alike.max(initial=0.0))
    return lost / total


def changes(exact: Outputs, found: Outputs, spec: ModelSpec) -> np.ndarray:
    """Return the loss of each image, at most 1; for a model with one object 1 is a movement by a twentieth of its size.
    (images,)"""
    d = section.of(spec)
    if d.single is None:
        return each_image(exact, found, spec, divergence)
    return np.minimum(1.0, distance.change(d.single, exact, found, d, spec) / distance.NEAR)


def agreement(exact: Outputs, found: Outputs) -> float | None:
    """Return None, because an image has more than one answer."""
    return None


def align(reference: np.ndarray, candidate: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Return `candidate` unchanged, because the order of cells and points has a meaning."""
    return candidate


def stable(reference: np.ndarray, candidate: np.ndarray, spec: ModelSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return both unchanged."""
    return reference, candidate


def same(reference: np.ndarray, candidate: np.ndarray, tie: float) -> dict[str, np.ndarray]:
    """Return no measure, because an image has no single answer."""
    return {}


def energy(exact: np.ndarray, found: np.ndarray, spec: ModelSpec) -> tuple[float, float]:
    """Return the energy of an output and of its error."""
    return energies(exact, found)


def _similar(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the similarity from 0 to 1 of `points` (K, 3) to each of `others` (N, K, 3), weighted by their scores."""
    weights = points[:, 2].astype(np.float64) + 0.01
    apart = np.linalg.norm(others[..., :2] - points[:, :2], axis=2) / (_FALLOFF * distance.size_of(points))
    return np.asarray((np.exp(-np.square(apart) / 2) * weights).sum(axis=1) / weights.sum())
