"""The distance between a student's tensors and its teacher's, which distillation minimizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from edgewright import tasks
from edgewright.core.spec import ModelSpec


class Distance:
    """The distance to the teacher's tensors for some images, one part at a time.

    `wanted`: the teacher's tensors for each part. The first `answers` are outputs of the model, the others are
    features, which count `features` times. An error counts by its energy relative to the variance over all images. The
    task's divergence is added: for class scores, that of the probabilities in nats per image. If `labels` (per part)
    are known, `label_weight` times their loss is added.
    """

    def __init__(
        self, wanted: Sequence[Sequence[torch.Tensor]], answers: int, spec: ModelSpec, features: float = 0.0,
        labels: Sequence[torch.Tensor] = (), label_weight: float = 0.0,
    ) -> None:  # fmt: skip
        self.wanted, self.answers, self.features = wanted, answers, features
        self.labels, self.label_weight = labels, label_weight
        self.energies = [_energy(torch.cat(tensors)) for tensors in zip(*wanted)]
        self.images = sum(len(part[0]) for part in wanted)
        self.spec, self.training = spec, tasks.of(spec).training

    def of(self, part: int, given: Sequence[torch.Tensor]) -> torch.Tensor:
        """The loss of the part `part` for the student's tensors `given`: a scalar."""
        wanted = self.wanted[part]
        apart = [_relative(*three) for three in zip(given, wanted, self.energies)]
        loss = torch.stack(apart[: self.answers]).mean()
        if features := apart[self.answers :]:  # none in a model with one layer
            loss = loss + self.features * torch.stack(features).mean()
        if (divergence := self.training.divergence(given, wanted, self.spec)) is not None:
            loss = loss + divergence / self.images
        if self.labels:
            entropy = self.training.label_loss(given, self.labels[part], self.spec, "sum")
            loss = loss + self.label_weight * entropy / self.images
        return loss


def _relative(given: torch.Tensor, wanted: torch.Tensor, energy: torch.Tensor) -> torch.Tensor:
    """The energy of the error divided by `energy`; the mean over channels if that has one value per channel."""
    error = (given - wanted).square()
    if energy.ndim == 0:
        return error.sum() / energy
    return (error.sum([a for a in range(error.ndim) if energy.shape[a] == 1], keepdim=True) / energy).mean()


def _energy(wanted: torch.Tensor) -> torch.Tensor:
    """The energy of the variation over all images: per channel for feature maps, so that every channel counts.

    Channels are the shorter of the other axes: the boxes in a detector's outputs have no order.
    """
    if wanted.ndim < 3:
        return (wanted - wanted.mean(0, keepdim=True)).square().sum() + 1e-12
    axis = 1 if wanted.ndim == 4 else 1 + int(np.argmin(wanted.shape[1:]))
    others = [a for a in range(wanted.ndim) if a != axis]
    variation = (wanted - wanted.mean(others, keepdim=True)).square().sum(others, keepdim=True)
    return variation + 0.1 * variation.mean() + 1e-12
