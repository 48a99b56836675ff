"""The distance between the answers of two classifiers."""

from __future__ import annotations

import numpy as np

from edgewright.core.losses import Outputs, each_image, energies, relative
from edgewright.core.spec import ModelSpec

from . import spec as own


def divergence(exact: Outputs, found: Outputs, spec: ModelSpec) -> float:
    """For logits: the Kullback-Leibler divergence of the probabilities, in nats per image. It weights errors by their
    effect on the answer. For other scores: the energy of the error relative to that of the scores."""
    if own.of(spec).scores != "softmax":
        return relative(exact, found)
    from scipy.special import log_softmax

    p, q = (log_softmax(x[0].reshape(len(x[0]), -1).astype(np.float64), axis=1) for x in (exact, found))
    return float((np.exp(p) * (p - q)).sum(axis=1).mean())


def changes(exact: Outputs, found: Outputs, spec: ModelSpec) -> np.ndarray:
    """Return, for logits, the total variation distance of each image's probabilities, else `divergence`; (images,)."""
    if own.of(spec).scores != "softmax":
        return each_image(exact, found, spec, divergence)
    from scipy.special import softmax

    p, q = (softmax(x[0].reshape(len(x[0]), -1).astype(np.float64), axis=1) for x in (exact, found))
    return np.asarray(np.abs(p - q).sum(axis=1) / 2)


def agreement(exact: Outputs, found: Outputs) -> float | None:
    """Return the percentage of images with the same top-1 class."""
    a, b = (x[0].reshape(len(x[0]), -1).argmax(axis=1) for x in (exact, found))
    return 100 * float((a == b).mean())


def align(reference: np.ndarray, candidate: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Return `candidate` unchanged, because the order of scores has a meaning."""
    return candidate


def stable(reference: np.ndarray, candidate: np.ndarray, spec: ModelSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return both unchanged."""
    return reference, candidate


def same(reference: np.ndarray, candidate: np.ndarray, tie: float) -> dict[str, np.ndarray]:
    """Return `top1_agreement`: which images get the same class. Two scores closer than `tie` count as equal."""
    rows = np.arange(len(reference))
    return {"top1_agreement": reference.max(1) - reference[rows, candidate.argmax(1)] <= tie}


def energy(exact: np.ndarray, found: np.ndarray, spec: ModelSpec) -> tuple[float, float]:
    """Return the energy of an output and of its error."""
    return energies(exact, found)
