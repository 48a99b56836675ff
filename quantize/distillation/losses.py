"""Knowledge-distillation losses: the distance of a student's outputs and features from its teacher's.

Each takes tensors of N images from both and returns a scalar, the mean over images.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from edgewright import tasks
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.core.torch_losses import Tensors, relative


def require_same_shapes(given: Tensors, wanted: Tensors, spec: ModelSpec) -> None:
    """Raise `InvalidInput` with both shapes if the student's outputs do not have the teacher's shapes."""
    ours, theirs = ([tuple(t.shape[1:]) for t in tensors] for tensors in (given, wanted))
    if ours != theirs:
        raise InvalidInput(
            f"The student's outputs have the shapes {_shapes(ours)}, the teacher's {_shapes(theirs)} (per image).",
            "A student needs the teacher's classes and boxes.",
            f"Build the student for {spec.classes} classes and the teacher's input size, "
            f"for example timm:mobilenetv3_small_050?num_classes={spec.classes}",
        )
    tasks.of(spec).training.require_comparable(spec)


def answers(given: Tensors, wanted: Tensors, spec: ModelSpec, temperature: float = 1.0) -> torch.Tensor:
    """The distance between outputs, as the task defines it."""
    given, wanted = [t.float() for t in given], [t.float() for t in wanted]
    return tasks.of(spec).training.distillation(given, wanted, spec, temperature)


def attention(given: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """How differently two feature maps (N, any channels, H, W) are distributed over the image.

    The mean square over channels, at unit length (Zagoruyko and Komodakis 2017, "Paying More Attention to Attention");
    from 0 (equal) to 2 (nothing in common).
    """
    ours, theirs = (F.normalize(t.float().square().mean(1).flatten(1), dim=1) for t in (given, wanted))
    return (ours - theirs).square().sum(1).mean()


def features(given: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor]) -> torch.Tensor:
    """The mean over pairs of inner tensors: `relative` if their shapes agree, else `attention`.

    `relative` enters as its logarithm, so that a very different map (of random weights) does not dominate the output
    loss.
    """
    apart = [torch.log1p(relative(a, b)) if a.shape == b.shape else attention(a, b) for a, b in zip(given, wanted)]
    return torch.stack(apart).mean()


def _shapes(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join("x".join(str(side) for side in shape) or "scalar" for shape in shapes) or "none"
