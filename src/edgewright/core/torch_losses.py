"""Training losses that several tasks use. Each takes tensors of N images and returns the mean over images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

Tensors = Sequence[torch.Tensor]

TINY = 1e-6


def bernoulli(given: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return the divergence of the probabilities sigmoid(`given`) from sigmoid(`wanted`), for each element.

    It is the binary cross entropy minus the teacher's own entropy, so it is zero if both agree.
    """
    p = wanted.sigmoid()
    own = F.binary_cross_entropy_with_logits(wanted, p, reduction="none")
    return F.binary_cross_entropy_with_logits(given, p, reduction="none") - own


def relative(given: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return the energy of the error relative to the variance of `wanted`, as the mean over channels (axis 1)."""
    given, wanted = given.float(), wanted.float()
    others = [axis for axis in range(wanted.ndim) if axis != 1]
    variance = (wanted - wanted.mean(others, keepdim=True)).square().mean(others)
    error = (given - wanted).square().mean(others)
    return (error / (variance + 0.1 * variance.mean() + TINY)).mean()
