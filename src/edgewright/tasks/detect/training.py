"""The training of detectors: against a teacher's head."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.tasks.contract import View
from edgewright.tasks.torch_losses import Tensors, bernoulli, relative

from . import spec as own
from . import truth
from .spec import Detect

CLASSES = truth.CLASSES


def view(spec: ModelSpec) -> View:
    """Return zoom and shift of the evaluation's pixels. Boxes move with them."""
    return "zoom"


def exported(spec: ModelSpec) -> Callable[[Tensors], list[torch.Tensor]] | None:
    """Return the function from the maps of a dense head to its export's outputs; None for other heads."""
    d = own.of(spec)
    return (lambda maps: [joined(maps)]) if d.decoder == "dfl" and not d.transposed else None


def require_comparable(spec: ModelSpec) -> None:
    """Raise `InvalidInput` for a detector with a set of boxes as output."""
    decoder = own.of(spec).decoder
    if decoder in ("set", "end2end"):
        raise InvalidInput(
            f"The outputs of '{spec.name}' are a set of boxes ('{decoder}').",
            "Each network has its own order, so the boxes of two networks cannot be compared one by one.",
            "Distill a detector with a dense head (YOLOv8, YOLO11, SSD, RetinaNet).",
        )


def distillation(given: Tensors, wanted: Tensors, spec: ModelSpec, temperature: float) -> torch.Tensor:
    """Return the distance to the teacher's head: by cell or anchor if possible, else the energy of the error."""
    detect = own.of(spec)
    if detect.decoder == "dfl":
        return dense(joined(given), joined(wanted), detect)
    if detect.decoder == "anchors" and len(given) == 2:
        return anchored(given, wanted, detect)
    return torch.stack([relative(a, b) for a, b in zip(given, wanted)]).mean()


def divergence(given: Tensors, wanted: Tensors, spec: ModelSpec) -> torch.Tensor | None:
    """Return None, because the energy of the error is enough."""
    return None


def directions(answers: Tensors, spec: ModelSpec, generator: torch.Generator) -> dict[torch.Tensor, torch.Tensor]:
    """Return no directions, because random ones are enough."""
    return {}


def joined(maps: Tensors) -> torch.Tensor:
    """Convert the maps of a dense head (N, values, height, width), one per stride, to its export (N, values, cells)."""
    return torch.cat([t.flatten(2) for t in maps], 2)


def dense(given: torch.Tensor, wanted: torch.Tensor, detect: Detect) -> torch.Tensor:
    """Return the loss for the raw head of YOLOv8 and later, (N, 4 x bins + classes, cells).

    The weight of a cell is the teacher's best class score. For classes, the student's score counts if it is higher, so
    that false detections are corrected. Distances to the four sides are compared as distributions over bins (Zheng et
    al. 2022, "Localization Distillation for Dense Object Detection"), and plain distances (`bins` 1) by their
    difference in strides. The sum of the teacher's scores normalizes the loss.
    """
    sides = 4 * detect.bins
    seen = wanted[:, sides:].sigmoid().amax(1)  # (N, cells)
    imagined = given[:, sides:].detach().sigmoid().amax(1)
    total = seen.sum().clamp_min(1.0)
    scores = (bernoulli(given[:, sides:], wanted[:, sides:]).sum(1) * torch.maximum(seen, imagined)).sum() / total
    if detect.bins == 1:
        apart = F.smooth_l1_loss(given[:, :4], wanted[:, :4], reduction="none").mean(1)
    else:
        q, p = (F.log_softmax(t[:, :sides].unflatten(1, (4, detect.bins)), 2) for t in (given, wanted))
        apart = F.kl_div(q, p, log_target=True, reduction="none").sum(2).mean(1)
    return scores + (apart * seen).sum() / total


def anchored(given: Tensors, wanted: Tensors, detect: Detect) -> torch.Tensor:
    """Return the loss for the head of SSD and RetinaNet: class scores (N, anchors, classes), box shifts (N, anchors,
    4).

    Weights as in `dense`. With softmax, class 0 is the background and does not count.
    """
    if detect.scores == "softmax":
        seen, imagined = (1 - t.softmax(2)[..., 0] for t in (wanted[0], given[0].detach()))
        q, p = (F.log_softmax(t, 2) for t in (given[0], wanted[0]))
        apart = F.kl_div(q, p, log_target=True, reduction="none").sum(2)
    else:
        seen, imagined = (t.sigmoid().amax(2) for t in (wanted[0], given[0].detach()))
        apart = bernoulli(given[0], wanted[0]).sum(2)
    total = seen.sum().clamp_min(1.0)
    boxes = F.smooth_l1_loss(given[1], wanted[1], reduction="none").mean(2)
    return ((apart * torch.maximum(seen, imagined)).sum() + (boxes * seen).sum()) / total
