"""How far a student's answers and features are from its teacher's: losses of knowledge distillation.

Each takes tensors of N images from both and gives a scalar, the mean over images.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Detect, ModelSpec

Tensors = Sequence[torch.Tensor]

TINY = 1e-6


def require_same_shapes(given: Tensors, wanted: Tensors, spec: ModelSpec) -> None:
    """Raise `InvalidInput` with both shapes where the student's answers are not shaped as the teacher's."""
    ours, theirs = ([tuple(t.shape[1:]) for t in tensors] for tensors in (given, wanted))
    if ours != theirs:
        raise InvalidInput(
            f"The student's outputs have the shapes {_shapes(ours)}, the teacher's {_shapes(theirs)} (an image).",
            "A student learns the teacher's own classes and boxes.",
            f"Build the student for {spec.classes} classes and the teacher's input size, "
            f"e.g. timm:mobilenetv3_small_050?num_classes={spec.classes}",
        )
    if spec.detect and spec.detect.decoder in ("set", "end2end"):
        raise InvalidInput(
            f"The outputs of '{spec.name}' are a set of boxes ('{spec.detect.decoder}').",
            "Their order is each network's own, so that two networks' boxes cannot be compared one by one.",
            "Distil a detector with a dense head (YOLOv8, YOLO11, SSD, RetinaNet).",
        )


def answers(given: Tensors, wanted: Tensors, spec: ModelSpec, temperature: float = 1.0) -> torch.Tensor:
    """How far answers are apart: of class scores, of a detector's head, or in general."""
    given, wanted = [t.float() for t in given], [t.float() for t in wanted]
    if spec.task == "classify":
        return classes(given[0].flatten(1), wanted[0].flatten(1), spec.postprocess.scores, temperature)
    if spec.detect and spec.detect.decoder == "dfl":
        return dense(joined(given), joined(wanted), spec.detect)
    if spec.detect and spec.detect.decoder == "anchors" and len(given) == 2:
        return anchored(given, wanted, spec.detect)
    return torch.stack([relative(a, b) for a, b in zip(given, wanted)]).mean()


def joined(maps: Tensors) -> torch.Tensor:
    """The maps of a dense head (N, values, height, width), a stride each, as the (N, values, cells) of its export."""
    return torch.cat([t.flatten(2) for t in maps], 2)


def classes(given: torch.Tensor, wanted: torch.Tensor, scores: str, temperature: float) -> torch.Tensor:
    """Kullback and Leibler's divergence of softened class probabilities, times the temperature squared so that its
    gradients do not shrink (Hinton et al. 2015, "Distilling the Knowledge in a Neural Network"); both (N, classes).

    `scores` "sigmoid": of each class by itself; "none": the inputs are probabilities already.
    """
    if scores == "sigmoid":
        return temperature**2 * bernoulli(given / temperature, wanted / temperature).sum(1).mean()
    if scores == "none":
        given, wanted = (t.clamp_min(TINY).log() for t in (given, wanted))
    q, p = (F.log_softmax(t / temperature, 1) for t in (given, wanted))
    return temperature**2 * F.kl_div(q, p, log_target=True, reduction="batchmean")


def bernoulli(given: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """The divergence of the probabilities sigmoid(`given`) from sigmoid(`wanted`), element by element.

    Binary cross entropy less the teacher's own entropy, so that it is zero where both agree.
    """
    p = wanted.sigmoid()
    own = F.binary_cross_entropy_with_logits(wanted, p, reduction="none")
    return F.binary_cross_entropy_with_logits(given, p, reduction="none") - own


def dense(given: torch.Tensor, wanted: torch.Tensor, detect: Detect) -> torch.Tensor:
    """The raw head of YOLOv8 and later, (N, 4 x bins + classes, cells): classes and box distributions.

    A cell counts as much as there is to see in it: by the teacher's best class score, for classes by the student's too
    where that is higher (what it alone sees is to go away). Distances to the four sides are compared as distributions
    over bins (Zheng et al. 2022, "Localization Distillation for Dense Object Detection"), plain distances (`bins` 1)
    by their difference in strides. Normalized by the sum of the teacher's scores, an object's worth.
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
    """The head of SSD and RetinaNet: class scores (N, anchors, classes), box shifts (N, anchors, 4).

    Weighted as in `dense`; with softmax class 0 is the background, in which there is nothing to see.
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


def relative(given: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """The energy of the error over that of what varies in `wanted`, the mean over channels (axis 1)."""
    given, wanted = given.float(), wanted.float()
    others = [axis for axis in range(wanted.ndim) if axis != 1]
    variance = (wanted - wanted.mean(others, keepdim=True)).square().mean(others)
    error = (given - wanted).square().mean(others)
    return (error / (variance + 0.1 * variance.mean() + TINY)).mean()


def attention(given: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """How differently two feature maps (N, any channels, H, W) spread over the image.

    The mean square over channels, at unit length (Zagoruyko and Komodakis 2017, "Paying More Attention to Attention");
    from 0 (alike) to 2 (nothing in common).
    """
    ours, theirs = (F.normalize(t.float().square().mean(1).flatten(1), dim=1) for t in (given, wanted))
    return (ours - theirs).square().sum(1).mean()


def features(given: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor]) -> torch.Tensor:
    """The mean over pairs of inner tensors: `relative` where their shapes agree, else `attention`.

    The former's logarithm, so that a map that is far off (of random weights) does not drown the answers.
    """
    apart = [torch.log1p(relative(a, b)) if a.shape == b.shape else attention(a, b) for a, b in zip(given, wanted)]
    return torch.stack(apart).mean()


def _shapes(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join("x".join(str(side) for side in shape) or "scalar" for shape in shapes) or "none"
