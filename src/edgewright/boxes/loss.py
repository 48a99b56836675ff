"""The distance between the boxes of two heads."""

from __future__ import annotations

import numpy as np

from edgewright.core.losses import Outputs, each_image, energies
from edgewright.core.spec import ModelSpec

from . import spec as own
from .decode import read

BOX_SCORE = 0.1
"""Minimum score of the float model's boxes, because too few are above a detector's usual threshold."""


def divergence(exact: Outputs, found: Outputs, spec: ModelSpec) -> float:
    """Return the score that the float model's boxes lose, relative to the sum of all scores.

    The matching box is that of the same class with the largest intersection over union (IoU). The IoU is a factor of
    the remaining score.
    """
    size = (spec.input.width, spec.input.height)
    total, lost = 1e-12, 0.0
    for image in range(len(exact[0])):
        wanted = read([array[image : image + 1] for array in exact], _one(spec), [size], BOX_SCORE)[0]
        given = read([array[image : image + 1] for array in found], _one(spec), [size], BOX_SCORE / 10)[0]
        for box, score, kind in zip(wanted.boxes, wanted.scores.tolist(), wanted.classes):
            same = given.classes == kind
            left = (_overlap(box, given.boxes[same]) * np.minimum(given.scores[same], score)).max(initial=0.0)
            total, lost = total + score, lost + score - float(left)
    return lost / total


def changes(exact: Outputs, found: Outputs, spec: ModelSpec) -> np.ndarray:
    """Return the relative loss of scores for each image; (images,)."""
    return each_image(exact, found, spec, divergence)


def agreement(exact: Outputs, found: Outputs) -> float | None:
    """Return None, because an image has more than one class."""
    return None


def align(reference: np.ndarray, candidate: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Return `candidate` (one row per image) in the order of `reference`, for detectors with a set of boxes as output.

    Such a detector sorts its queries by a score, and rounding swaps neighbors. The Hungarian algorithm pairs the
    queries so that the sum of their differences is minimal.
    """
    if own.of(spec).decoder != "set" or reference.shape != candidate.shape:
        return candidate
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    out = np.empty_like(candidate)
    for row, a, b in zip(out, reference, candidate):
        first, second = a.reshape(-1, _width(spec)), b.reshape(-1, _width(spec))
        if not (np.isfinite(first).all() and np.isfinite(second).all()):
            row[:] = b  # the comparison reports the error
            continue
        _, order = linear_sum_assignment(cdist(first, second, "chebyshev"))
        row[:] = second[order].reshape(row.shape)
    return out


def stable(reference: np.ndarray, candidate: np.ndarray, spec: ModelSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return both, for sets without the 10% of queries that near ties can replace."""
    if own.of(spec).decoder != "set":
        return reference, candidate
    ours, theirs = (x.reshape(-1, _width(spec)) for x in (reference, align(reference, candidate, spec)))
    apart = np.abs(ours - theirs).max(axis=1)
    kept = apart <= np.quantile(apart, 0.9)
    return ours[kept], theirs[kept]


def same(reference: np.ndarray, candidate: np.ndarray, tie: float) -> dict[str, np.ndarray]:
    """Return no measure, because an image has no single answer."""
    return {}


def energy(exact: np.ndarray, found: np.ndarray, spec: ModelSpec) -> tuple[float, float]:
    """Return the energy of an output and of its error; for sets, those of the median query.

    Near ties change only a few queries, but an error changes all of them.
    """
    if own.of(spec).decoder != "set":
        return energies(exact, found)
    a, b = (x.reshape(-1, _width(spec)).astype(np.float64) for x in (exact, align(exact, found, spec)))
    return float(np.median(np.square(a).sum(1))), float(np.median(np.square(a - b).sum(1)))


def _width(spec: ModelSpec) -> int:
    return 4 + spec.classes + own.of(spec).extra


def _one(spec: ModelSpec) -> ModelSpec:
    return spec.with_input(batch=1)


def _overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.maximum(sides, 0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return np.asarray(shared / np.maximum(areas - shared, 1e-9))
