"""Losses of training that several tasks share; each takes tensors of N images and gives the mean over images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

Tensors = Sequence[torch.Tensor]

TINY = 1e-6


def bernoulli(given: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """The divergence of the probabilities sigmoid(`given`) from sigmoid(`wanted`), element by element.

    Binary cross entropy less the teacher's own entropy, so that it is zero where both agree.
    """
    p = wanted.sigmoid()
    own = F.binary_cross_entropy_with_logits(wanted, p, reduction="none")
    return F.binary_cross_entropy_with_logits(given, p, reduction="none") - own


def relative(given: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """The energy of the error over that of what varies in `wanted`, the mean over channels (axis 1)."""
    given, wanted = given.float(), wanted.float()
    others = [axis for axis in range(wanted.ndim) if axis != 1]
    variance = (wanted - wanted.mean(others, keepdim=True)).square().mean(others)
    error = (given - wanted).square().mean(others)
    return (error / (variance + 0.1 * variance.mean() + TINY)).mean()
