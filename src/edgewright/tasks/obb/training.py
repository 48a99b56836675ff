"""The training of detectors of rotated boxes: against a teacher's head."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from edgewright.boxes.training import dense, joined
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.core.torch_losses import Tensors, relative
from edgewright.tasks.contract import View

from . import spec as own
from . import truth
from .spec import Obb

CLASSES = truth.CLASSES


def view(spec: ModelSpec) -> View:
    """Return zoom and shift of the evaluation's pixels. Boxes move with them."""
    return "zoom"


def exported(spec: ModelSpec) -> Callable[[Tensors], list[torch.Tensor]] | None:
    """Return the function from the maps of a dense head, those of boxes and classes and then those of angles, to its
    export's outputs; None for other heads."""
    d = own.of(spec)

    def both(maps: Tensors) -> list[torch.Tensor]:
        return [joined(part) for part in _parts(maps)]

    return both if d.decoder == "dfl" and not d.transposed else None


def require_comparable(spec: ModelSpec) -> None:
    """Raise `InvalidInput` for a detector with a set of boxes as output."""
    if own.of(spec).decoder == "end2end":
        raise InvalidInput(
            f"The outputs of '{spec.name}' are a set of boxes ('end2end').",
            "Each network has its own order, so the boxes of two networks cannot be compared one by one.",
            "Distill a detector with a dense head, such as ultralytics:yolo11n-obb.",
        )


def distillation(given: Tensors, wanted: Tensors, spec: ModelSpec, temperature: float) -> torch.Tensor:
    """Return the distance to the teacher's head, cell by cell if possible, else the energy of the error.

    The angle's part is sin^2 of the difference, which has the period pi of a rotated box. A cell's weight is the
    teacher's best class score.
    """
    d = own.of(spec)
    if d.decoder != "dfl":
        return torch.stack([relative(a, b) for a, b in zip(given, wanted)]).mean()
    (heads, angles), (their_heads, their_angles) = _both(given), _both(wanted)
    seen = their_heads[:, 4 * d.bins : 4 * d.bins + d.classes].sigmoid().amax(1)
    turn = torch.sin(_radians(angles, d) - _radians(their_angles, d)).square()[:, 0]
    return dense(heads, their_heads, d) + (turn * seen).sum() / seen.sum().clamp_min(1.0)


def divergence(given: Tensors, wanted: Tensors, spec: ModelSpec) -> torch.Tensor | None:
    """Return None, because the energy of the error is enough."""
    return None


def directions(answers: Tensors, spec: ModelSpec, generator: torch.Generator) -> dict[torch.Tensor, torch.Tensor]:
    """Return no directions, because random ones are enough."""
    return {}


def _parts(maps: Tensors) -> tuple[Tensors, Tensors]:
    """Split maps, or outputs, into those of boxes and classes and those of angles, which have one channel."""
    half = len(maps) // 2
    return maps[:half], maps[half:]


def _both(maps: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
    heads, angles = _parts(maps)
    return joined(heads), joined(angles)


def _radians(values: torch.Tensor, d: Obb) -> torch.Tensor:
    return values if d.angles == "radians" else (values.sigmoid() - 0.25) * math.pi
