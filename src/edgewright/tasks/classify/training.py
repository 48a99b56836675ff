"""The training of classifiers: against a teacher, and with a class for each image."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from edgewright.core.spec import ModelSpec
from edgewright.core.torch_losses import TINY, Tensors, bernoulli
from edgewright.tasks.contract import View

from . import spec as own
from . import truth

CLASSES = truth.CLASSES


def view(spec: ModelSpec) -> View:
    """Return random crops, which keep the class. If evaluation pads the image or does not resize it, there are no
    crops."""
    return "crop" if spec.preprocess.resize in ("shorter", "exact") else "whole"


def exported(spec: ModelSpec) -> Callable[[Tensors], list[torch.Tensor]] | None:
    """Return the function to the scores of an export: they are the first output."""
    return lambda given: [given[0].flatten(1)]


def require_comparable(spec: ModelSpec) -> None:
    """Every classifier can be distilled from another one."""


def distillation(given: Tensors, wanted: Tensors, spec: ModelSpec, temperature: float) -> torch.Tensor:
    """Return the Kullback-Leibler divergence of softened class probabilities, times the squared temperature.

    The factor keeps the size of the gradients (Hinton et al. 2015, "Distilling the Knowledge in a Neural Network").
    With the scores "sigmoid", the divergence is computed for each class. With "none", the outputs are already
    probabilities.
    """
    scores, ours, theirs = own.of(spec).scores, given[0].flatten(1), wanted[0].flatten(1)
    if scores == "sigmoid":
        return temperature**2 * bernoulli(ours / temperature, theirs / temperature).sum(1).mean()
    if scores == "none":
        ours, theirs = (t.clamp_min(TINY).log() for t in (ours, theirs))
    q, p = (F.log_softmax(t / temperature, 1) for t in (ours, theirs))
    return temperature**2 * F.kl_div(q, p, log_target=True, reduction="batchmean")


def divergence(given: Tensors, wanted: Tensors, spec: ModelSpec) -> torch.Tensor | None:
    """Return, for logits, the divergence of the probabilities in nats, summed over images; None for other scores."""
    if own.of(spec).scores != "softmax":
        return None
    p, q = (F.log_softmax(x[0].flatten(1), 1) for x in (wanted, given))
    return F.kl_div(q, p, log_target=True, reduction="sum")


def directions(answers: Tensors, spec: ModelSpec, generator: torch.Generator) -> dict[torch.Tensor, torch.Tensor]:
    """Return, for logits, the gradient of the log probability of a class drawn from the model.

    This is a direction of the Fisher information. Squared products with it add up to twice the divergence.
    """
    if own.of(spec).scores != "softmax":
        return {}
    p = answers[0].detach().flatten(1).softmax(1)
    drawn = torch.zeros_like(p).scatter_(1, torch.multinomial(p, 1, generator=generator), 1.0)
    return {answers[0]: ((drawn - p) / 2**0.5).reshape(answers[0].shape)}


def label_loss(given: Tensors, labels: torch.Tensor, spec: ModelSpec, reduction: str = "mean") -> torch.Tensor:
    """Return the cross entropy of the classes `labels` (N,): the mean or (`reduction` "sum") the sum over images."""
    scores, logits = own.of(spec).scores, given[0].flatten(1)
    if scores == "softmax":
        return F.cross_entropy(logits, labels, reduction=reduction)
    if scores == "none":
        return F.nll_loss(logits.clamp_min(TINY).log(), labels, reduction=reduction)
    one_hot = F.one_hot(labels, logits.shape[1]).float()
    loss = F.binary_cross_entropy_with_logits(logits, one_hot, reduction=reduction)
    return loss * logits.shape[1] if reduction == "mean" else loss


def classes(given: Tensors) -> torch.Tensor:
    """Return the predicted class of each image, (N,)."""
    return given[0].flatten(1).argmax(1)
