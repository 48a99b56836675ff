"""Convert a network's outputs to scores, for classifiers and detectors."""

from __future__ import annotations

from typing import Literal

import numpy as np

from edgewright.core.errors import RuntimeFailed

Rule = Literal["softmax", "sigmoid", "none"]
"""The function that turns outputs into probabilities ("none": they are probabilities)."""


def probabilities(logits: np.ndarray, rule: Rule) -> np.ndarray:
    """Convert `logits` (..., classes) to float32 scores, without overflow.

    Raises `RuntimeFailed` if one is not finite.
    """
    x = np.asarray(logits, np.float32)
    with np.errstate(invalid="ignore"):  # inf - inf: reported below with the image's name
        if rule == "softmax":
            x = np.exp(x - x.max(axis=-1, keepdims=True))
            x /= x.sum(axis=-1, keepdims=True)
        elif rule == "sigmoid":
            small = np.exp(-np.abs(x))
            x = np.where(x >= 0, 1, small) / (1 + small)
    if not np.isfinite(x).all():
        raise RuntimeFailed(
            "The model's output holds NaN or infinite values.",
            "edgewright can read no label from it. Usually, weights overflow in a low precision.",
            "Build the artifact with a higher precision, or check the checkpoint.",
        )
    return x
