"""The training of detectors: against a teacher's head."""

from __future__ import annotations

from collections.abc import Callable

import torch

from edgewright.boxes.training import anchored, dense, joined
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.core.torch_losses import Tensors, relative
from edgewright.tasks.contract import View

from . import spec as own
from . import truth

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
