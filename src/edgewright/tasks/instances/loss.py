"""The distance between the answers of two models of instance masks: that of their boxes and of their masks."""

from __future__ import annotations

import numpy as np

from edgewright.boxes import loss as boxes
from edgewright.boxes.decode import read
from edgewright.boxes.loss import BOX_SCORE, agreement, align, same, stable
from edgewright.core.losses import Outputs, each_image, energies
from edgewright.core.spec import ModelSpec

from . import spec as own

__all__ = ["agreement", "align", "changes", "divergence", "energy", "same", "stable"]

MOST = 20
"""Largest number of objects of an image whose masks are compared."""


def divergence(exact: Outputs, found: Outputs, spec: ModelSpec) -> float:
    """Return the mean of two losses: the score that the float model's boxes lose, and the IoU that its masks lose.

    The masks are those of the float model's cells, so both networks are compared at the same place. They are weighted
    by the float model's scores.
    """
    return (boxes.divergence(exact[:-1], found[:-1], spec) + _masks(exact, found, spec)) / 2


def changes(exact: Outputs, found: Outputs, spec: ModelSpec) -> np.ndarray:
    """Return the loss for each image; (images,)."""
    return each_image(exact, found, spec, divergence)


def energy(exact: np.ndarray, found: np.ndarray, spec: ModelSpec) -> tuple[float, float]:
    """Return the energy of an output and of its error."""
    return energies(exact, found)


def _masks(exact: Outputs, found: Outputs, spec: ModelSpec) -> float:
    section, total, lost = own.of(spec), 1e-12, 0.0
    size = (spec.input.width, spec.input.height)
    for image in range(len(exact[0])):
        single = spec.with_input(batch=1)
        heads = [[array[image : image + 1] for array in part[:-1]] for part in (exact, found)]
        wanted = read(heads[0], single, [size], BOX_SCORE)[0]
        if not len(wanted.scores) or section.decoder in ("set", "end2end"):
            continue
        best = slice(0, MOST)
        others = values(heads[1], single, wanted.cells[best])
        logits = [
            _logits(part[-1][image], rows, section.coefficients)
            for part, rows in ((exact, wanted.extra[best]), (found, others))
        ]
        for box, score, one, other in zip(wanted.inner[best], wanted.scores[best].tolist(), *logits):
            x1, y1, x2, y2 = (max(0, round(float(v) / section.mask_stride)) for v in box)
            a, b = (mask[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)] > 0 for mask in (one, other))
            union = float((a | b).sum())
            iou = float((a & b).sum()) / union if union else 1.0
            total, lost = total + score, lost + score * (1 - iou)
    return lost / total


def values(head: Outputs, spec: ModelSpec, cells: np.ndarray) -> np.ndarray:
    """Return the coefficients (K, C) of `cells` in the outputs of one image."""
    from edgewright.boxes import shapes

    section = own.of(spec)
    arrays = shapes.checked(list(head), spec, section, 1)
    return shapes.extra_values([array[0] for array in arrays], spec, section, cells)


def _logits(prototypes: np.ndarray, rows: np.ndarray, channels: int) -> np.ndarray:
    """Return the masks (K, height, width) as logits."""
    if prototypes.shape[0] != channels:
        prototypes = prototypes.transpose(2, 0, 1)
    return np.tensordot(rows, prototypes, 1)
