"""Losses between the heads of two networks, in torch."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from edgewright.core.torch_losses import Tensors, bernoulli

from .spec import Head


def joined(maps: Tensors) -> torch.Tensor:
    """Convert the maps of a dense head (N, values, height, width), one per stride, to its export (N, values, cells)."""
    return torch.cat([t.flatten(2) for t in maps], 2)


def dense(given: torch.Tensor, wanted: torch.Tensor, detect: Head) -> torch.Tensor:
    """Return the loss for the raw head of YOLOv8 and later, (N, 4 x bins + classes + extra, cells).

    The weight of a cell is the teacher's best class score. For classes, the student's score counts if it is higher, so
    that false detections are corrected. Distances to the four sides are compared as distributions over bins (Zheng et
    al. 2022, "Localization Distillation for Dense Object Detection"), and plain distances (`bins` 1) by their
    difference in strides. The sum of the teacher's scores normalizes the loss.
    """
    sides = 4 * detect.bins
    kinds = slice(sides, sides + detect.classes)
    seen = wanted[:, kinds].sigmoid().amax(1)  # (N, cells)
    imagined = given[:, kinds].detach().sigmoid().amax(1)
    total = seen.sum().clamp_min(1.0)
    scores = (bernoulli(given[:, kinds], wanted[:, kinds]).sum(1) * torch.maximum(seen, imagined)).sum() / total
    if detect.bins == 1:
        apart = F.smooth_l1_loss(given[:, :4], wanted[:, :4], reduction="none").mean(1)
    else:
        q, p = (F.log_softmax(t[:, :sides].unflatten(1, (4, detect.bins)), 2) for t in (given, wanted))
        apart = F.kl_div(q, p, log_target=True, reduction="none").sum(2).mean(1)
    return scores + (apart * seen).sum() / total


def anchored(given: Tensors, wanted: Tensors, detect: Head) -> torch.Tensor:
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
