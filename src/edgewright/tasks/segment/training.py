"""The training of segmentation models: against a teacher's probabilities, pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.core.torch_losses import TINY, Tensors, bernoulli
from edgewright.tasks.contract import View

from . import spec as own
from . import truth

CLASSES = truth.CLASSES


def view(spec: ModelSpec) -> View:
    """Return zoom and shift of the evaluation's pixels. The teacher's classes move with them."""
    return "zoom"


def exported(spec: ModelSpec) -> Callable[[Tensors], list[torch.Tensor]] | None:
    """Return the function to the outputs of an export: the first output."""
    return lambda given: list(given[:1])


def require_comparable(spec: ModelSpec) -> None:
    """Raise `InvalidInput` for a model whose output holds classes, which have no gradient."""
    if own.of(spec).scores == "classes":
        raise InvalidInput(
            f"'{spec.name}' gives the class of each pixel.",
            "Its graph ends with an ArgMax, which has no gradient.",
            "Use the model before its ArgMax.",
        )


def distillation(given: Tensors, wanted: Tensors, spec: ModelSpec, temperature: float) -> torch.Tensor:
    """Return the Kullback-Leibler divergence of softened probabilities, as the mean over pixels, times the squared
    temperature (Hinton et al. 2015; per pixel: Liu et al. 2019, "Structured Knowledge Distillation")."""
    ours, theirs = _maps(given, spec), _maps(wanted, spec)
    ours = ours if ours.shape == theirs.shape else F.interpolate(ours, theirs.shape[2:], mode="bilinear")
    if ours.shape[1] == 1:
        ours, theirs = _logits(ours, spec), _logits(theirs, spec)
        return temperature**2 * bernoulli(ours / temperature, theirs / temperature).mean()
    if own.of(spec).scores == "none":
        ours, theirs = (t.clamp_min(TINY).log() for t in (ours, theirs))
    q, p = (F.log_softmax(t / temperature, 1) for t in (ours, theirs))
    return temperature**2 * F.kl_div(q, p, log_target=True, reduction="none").sum(1).mean()


def divergence(given: Tensors, wanted: Tensors, spec: ModelSpec) -> torch.Tensor | None:
    """Return the divergence of the probabilities in nats per pixel, summed over images; None for other outputs."""
    if own.of(spec).scores == "classes":
        return None
    return distillation(given, wanted, spec, 1.0) * len(given[0])


def directions(answers: Tensors, spec: ModelSpec, generator: torch.Generator) -> dict[torch.Tensor, torch.Tensor]:
    """Return, for logits of several classes, the gradient of the log probability of a class drawn at each pixel.

    This is a direction of the Fisher information. Squared products with it add up to the divergence per pixel.
    """
    section = own.of(spec)
    if section.scores != "softmax" or answers[0].ndim != 4:
        return {}
    axis = 3 if section.layout == "NHWC" else 1
    p = answers[0].detach().movedim(axis, -1).softmax(-1)
    flat = p.reshape(-1, p.shape[-1])
    drawn = torch.zeros_like(flat).scatter_(1, torch.multinomial(flat, 1, generator=generator), 1.0)
    pixels = p.shape[1] * p.shape[2]
    found = ((drawn - flat) / (2 * pixels) ** 0.5).reshape(p.shape).movedim(-1, axis)
    return {answers[0]: found}


def _maps(outputs: Tensors, spec: ModelSpec) -> torch.Tensor:
    """Return the first output as (N, maps, height, width)."""
    found = outputs[0].float()
    if found.ndim == 3:
        return found[:, None]
    return found.permute(0, 3, 1, 2) if own.of(spec).layout == "NHWC" else found


def _logits(map_: torch.Tensor, spec: ModelSpec) -> torch.Tensor:
    """Return the logits of one map."""
    return map_ if own.of(spec).scores == "sigmoid" else map_.clamp(TINY, 1 - TINY).logit()
