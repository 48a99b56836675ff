"""The training of pose models: against a teacher's head."""

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
from .spec import Pose

CLASSES = False


def view(spec: ModelSpec) -> View:
    """Return zoom and shift of the evaluation's pixels. Boxes and points move with them."""
    return "zoom"


def exported(spec: ModelSpec) -> Callable[[Tensors], list[torch.Tensor]] | None:
    """Return the function from the maps of a dense head, those of boxes and classes and then those of keypoints, to its
    export's outputs; None for other heads."""
    d = own.of(spec)
    return (lambda maps: list(_parts(maps))) if d.decoder == "dfl" and not d.transposed else None


def require_comparable(spec: ModelSpec) -> None:
    """Raise `InvalidInput` for a model with a set of objects as output."""
    decoder = own.of(spec).decoder
    if decoder in ("set", "end2end"):
        raise InvalidInput(
            f"The outputs of '{spec.name}' are a set of objects ('{decoder}').",
            "Each network has its own order, so the objects of two networks cannot be compared one by one.",
            "Distill a model with a dense head (YOLOv8-pose, YOLO11-pose), or one with a single object.",
        )


def distillation(given: Tensors, wanted: Tensors, spec: ModelSpec, temperature: float) -> torch.Tensor:
    """Return the distance to the teacher's head by cell if possible, else the energy of the error."""
    d = own.of(spec)
    if d.decoder != "dfl":
        return torch.stack([relative(a, b) for a, b in zip(given, wanted)]).mean()
    (head, points), (other, others) = _parts(given), _parts(wanted)
    return dense(head, other, d) + _points(points, others, other, d)


def divergence(given: Tensors, wanted: Tensors, spec: ModelSpec) -> torch.Tensor | None:
    """Return None, because the energy of the error is enough."""
    return None


def directions(answers: Tensors, spec: ModelSpec, generator: torch.Generator) -> dict[torch.Tensor, torch.Tensor]:
    """Return no directions, because random ones are enough."""
    return {}


def _parts(maps: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
    """Return boxes with class scores, and keypoints, each (N, values, cells). An export has these as outputs, too."""
    half = len(maps) // 2
    return joined(maps[:half]), joined(maps[half:])


def _points(given: torch.Tensor, wanted: torch.Tensor, head: torch.Tensor, d: Pose) -> torch.Tensor:
    """Return the difference of keypoints (N, K x values, cells) in strides and of their scores, weighted by the
    teacher's class scores in its `head`."""
    seen = head[:, 4 * d.bins :].sigmoid().amax(1)
    axes = [k for k in range(d.extra) if d.values[k % len(d.values)] in "xy"]
    scores = [k for k in range(d.extra) if d.values[k % len(d.values)] == "s"]
    apart = F.smooth_l1_loss(given[:, axes], wanted[:, axes], reduction="none").mean(1)
    if scores:
        apart = apart + bernoulli(given[:, scores], wanted[:, scores]).mean(1)
    return (apart * seen).sum() / seen.sum().clamp_min(1.0)
