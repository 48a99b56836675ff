"""The training of models of instance masks: against a teacher's head, coefficients and prototypes."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from edgewright.boxes.training import dense, joined
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.core.torch_losses import Tensors, bernoulli, relative
from edgewright.tasks.contract import View

from . import spec as own
from . import truth
from .spec import Instances

CLASSES = truth.CLASSES
_CELLS = 24
"""Number of cells per image whose masks are compared: those that the teacher scores highest."""


def view(spec: ModelSpec) -> View:
    """Return zoom and shift of the evaluation's pixels. Boxes and masks move with them."""
    return "zoom"


def exported(spec: ModelSpec) -> Callable[[Tensors], list[torch.Tensor]] | None:
    """Return the function from the maps of a dense head and the prototypes to its export's outputs; None for other
    heads."""
    d = own.of(spec)
    return (lambda maps: list(_parts(maps, d))) if d.decoder == "dfl" and not d.transposed else None


def require_comparable(spec: ModelSpec) -> None:
    """Raise `InvalidInput` for a model with a set of objects as output."""
    decoder = own.of(spec).decoder
    if decoder in ("set", "end2end"):
        raise InvalidInput(
            f"The outputs of '{spec.name}' are a set of objects ('{decoder}').",
            "Each network has its own order, so the objects of two networks cannot be compared one by one.",
            "Distill a model with a dense head (YOLOv8-seg, YOLO11-seg).",
        )


def distillation(given: Tensors, wanted: Tensors, spec: ModelSpec, temperature: float) -> torch.Tensor:
    """Return the distance to the teacher's head by cell, and that of the masks of the cells with the best scores."""
    d = own.of(spec)
    if d.decoder != "dfl":
        return torch.stack([relative(a, b) for a, b in zip(given, wanted)]).mean()
    ours, theirs = _parts(given, d), _parts(wanted, d)
    return dense(ours[0], theirs[0], d) + _masks(ours, theirs, d)


def divergence(given: Tensors, wanted: Tensors, spec: ModelSpec) -> torch.Tensor | None:
    """Return None, because the energy of the error is enough."""
    return None


def directions(answers: Tensors, spec: ModelSpec, generator: torch.Generator) -> dict[torch.Tensor, torch.Tensor]:
    """Return no directions, because random ones are enough."""
    return {}


def _parts(maps: Tensors, d: Instances) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return head (N, values, cells), coefficients (N, C, cells) and prototypes (N, C, height, width).

    `maps`: those of boxes and classes for each stride, those of coefficients for each stride, and the prototypes.
    """
    levels = (len(maps) - 1) // 2
    return joined(maps[:levels]), joined(maps[levels:-1]), maps[-1]


def _masks(given: Tensors, wanted: Tensors, d: Instances) -> torch.Tensor:
    """Return the divergence of the masks of the teacher's best cells, as the mean over their pixels.

    The weight of a cell is the teacher's best class score.
    """
    seen = wanted[0][:, 4 * d.bins :].sigmoid().amax(1)
    weights, cells = seen.topk(min(_CELLS, seen.shape[1]), dim=1)  # (N, K)
    places = cells[:, None].expand(-1, d.extra, -1)
    logits = []
    for _, coefficients, prototypes in (given, wanted):
        chosen = coefficients.gather(2, places)
        small = F.avg_pool2d(prototypes, 2) if min(prototypes.shape[2:]) >= 16 else prototypes
        logits.append(torch.einsum("nck,nchw->nkhw", chosen, small))
    apart = bernoulli(logits[0], logits[1]).mean((2, 3))
    return (apart * weights).sum() / weights.sum().clamp_min(1e-3)
