"""How far what two detectors answer is apart."""

from __future__ import annotations

import numpy as np

from edgewright.core.spec import ModelSpec
from edgewright.tasks.losses import Outputs, each_image, energies

from . import spec as own
from .decode import read

BOX_SCORE = 0.1
"""Boxes of the float model from here on are looked at: there are too few above a detector's usual threshold."""


def divergence(exact: Outputs, found: Outputs, spec: ModelSpec) -> float:
    """Over the float model's boxes: the score less what is left of it, relative to all scores.

    A box is found again by the one of its class with the largest intersection over union, which counts as a factor.
    """
    size = (spec.input.width, spec.input.height)
    total, lost = 1e-12, 0.0
    for image in range(len(exact[0])):
        wanted = read([array[image : image + 1] for array in exact], _one(spec), [size], BOX_SCORE)[0]
        given = read([array[image : image + 1] for array in found], _one(spec), [size], BOX_SCORE / 10)[0]
        for box in wanted:
            same = given.indices == box.index
            left = (_overlap(np.array(box.box), given.boxes[same]) * np.minimum(given.scores[same], box.score)).max(
                initial=0.0
            )
            total, lost = total + box.score, lost + box.score - float(left)
    return lost / total


def changes(exact: Outputs, found: Outputs, spec: ModelSpec) -> np.ndarray:
    """The share of the boxes' scores that each image loses; (images,)."""
    return each_image(exact, found, spec, divergence)


def agreement(exact: Outputs, found: Outputs) -> float | None:
    """None: an image has no one class."""
    return None


def align(reference: np.ndarray, candidate: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """`candidate` (a row an image) in the order of `reference`, where the order of what was found means nothing.

    A detector that answers with a set sorts its queries by a score, where rounding swaps neighbors. Each of its
    queries is paired with the reference's so that the sum of their differences is least (Hungarian algorithm).
    """
    if own.of(spec).decoder != "set" or reference.shape != candidate.shape:
        return candidate
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    out = np.empty_like(candidate)
    for row, a, b in zip(out, reference, candidate):
        first, second = a.reshape(-1, 4 + spec.classes), b.reshape(-1, 4 + spec.classes)
        if not (np.isfinite(first).all() and np.isfinite(second).all()):
            row[:] = b  # the comparison says what is wrong with it
            continue
        _, order = linear_sum_assignment(cdist(first, second, "chebyshev"))
        row[:] = second[order].reshape(row.shape)
    return out


def stable(reference: np.ndarray, candidate: np.ndarray, spec: ModelSpec) -> tuple[np.ndarray, np.ndarray]:
    """Both, of a detector that answers with a set query by query: without a tenth, which near ties replace."""
    if own.of(spec).decoder != "set":
        return reference, candidate
    ours, theirs = (x.reshape(-1, 4 + spec.classes) for x in (reference, align(reference, candidate, spec)))
    apart = np.abs(ours - theirs).max(axis=1)
    kept = apart <= np.quantile(apart, 0.9)
    return ours[kept], theirs[kept]


def same(reference: np.ndarray, candidate: np.ndarray, tie: float) -> dict[str, np.ndarray]:
    """Nothing that is the same or not in an image."""
    return {}


def energy(exact: np.ndarray, found: np.ndarray, spec: ModelSpec) -> tuple[float, float]:
    """The energy of an output and that of its error; of a set of queries that of the median query.

    Near ties change a few queries; an error changes all of them.
    """
    if own.of(spec).decoder != "set":
        return energies(exact, found)
    a, b = (x.reshape(-1, 4 + spec.classes).astype(np.float64) for x in (exact, align(exact, found, spec)))
    return float(np.median(np.square(a).sum(1))), float(np.median(np.square(a - b).sum(1)))


def _one(spec: ModelSpec) -> ModelSpec:
    return spec.with_input(batch=1)


def _overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.maximum(sides, 0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return np.asarray(shared / np.maximum(areas - shared, 1e-9))
