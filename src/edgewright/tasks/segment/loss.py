"""The distance between the answers of two segmentation models, as the mean over pixels."""

from __future__ import annotations

import numpy as np

from edgewright.core.losses import Outputs, energies
from edgewright.core.spec import ModelSpec

from . import spec as own
from .decode import maps_of

NEAR_TIES = 0.01
_TINY = 1e-4


def divergence(exact: Outputs, found: Outputs, spec: ModelSpec) -> float:
    """Return the Kullback-Leibler divergence of the classes' probabilities, in nats per pixel.

    An error near the outline of a region counts most, because it can change a class. For classes in the output: the
    share of changed pixels.
    """
    p, q = (probabilities(outputs, spec) for outputs in (exact, found))
    if own.of(spec).scores == "classes":
        return float((p != q).mean())
    p, q = (np.clip(one, _TINY, 1.0) for one in (p, q))
    return float((p * np.log(p / q)).sum(axis=1).mean())


def changes(exact: Outputs, found: Outputs, spec: ModelSpec) -> np.ndarray:
    """Return for each image 1 minus the IoU of both answers, from 0 to 1; (images,).

    Probabilities instead of classes: the minimum over the maximum of both, summed over pixels, as the mean over the
    classes of the image. So a thin object counts as much as a large one.
    """
    p, q = (probabilities(outputs, spec) for outputs in (exact, found))
    if own.of(spec).scores == "classes":
        classes = np.arange(spec.classes)[None, :, None, None]
        p, q = ((one == classes).astype(np.float32) for one in (p, q))
    lower, upper = (function(p, q).sum((2, 3)) for function in (np.minimum, np.maximum))
    there = p.mean((2, 3)) > 1e-3
    iou = np.where(there, lower / np.maximum(upper, 1e-9), 0.0)
    return np.asarray(1 - iou.sum(1) / np.maximum(there.sum(1), 1))


def probabilities(outputs: Outputs, spec: ModelSpec) -> np.ndarray:
    """Return the probability of each class, (images, classes, height, width); for one map, of background and
    foreground. Classes in the output stay classes."""
    section, array = own.of(spec), maps_of(outputs, spec, len(outputs[0]))
    if section.scores == "classes":
        return array
    array = array.astype(np.float32)
    if array.shape[1] > 1:
        if section.scores == "none":
            return array
        array = np.exp(array - array.max(axis=1, keepdims=True))
        return np.asarray(array / array.sum(axis=1, keepdims=True))
    if section.rescale:
        low, high = (end(axis=(1, 2, 3), keepdims=True) for end in (array.min, array.max))
        array = (array - low) / np.maximum(high - low, _TINY)
    elif section.scores == "sigmoid":
        small = np.exp(-np.abs(array))
        array = np.where(array >= 0, 1, small) / (1 + small)
    return np.concatenate([1 - array, array], axis=1)


def agreement(exact: Outputs, found: Outputs) -> float | None:
    """Return None, because an image has more than one class."""
    return None


def align(reference: np.ndarray, candidate: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Return `candidate` unchanged, because maps have an order."""
    return candidate


def stable(reference: np.ndarray, candidate: np.ndarray, spec: ModelSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return both. For classes in the output, a change of less than 1% of the pixels is rounding between classes."""
    if own.of(spec).scores == "classes" and float((reference != candidate).mean()) < NEAR_TIES:
        return reference, reference
    return reference, candidate


def same(reference: np.ndarray, candidate: np.ndarray, tie: float) -> dict[str, np.ndarray]:
    """Return no measure, because an image has no single answer."""
    return {}


def energy(exact: np.ndarray, found: np.ndarray, spec: ModelSpec) -> tuple[float, float]:
    """Return the energy of an output and of its error."""
    return energies(exact, found)
