"""Losses from annotated boxes: the detection library's own, as a `train.Supervised`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from edgewright.core.errors import InvalidInput
from edgewright.core.lazy import require
from edgewright.core.spec import ModelSpec
from edgewright.vision.image import open_image
from edgewright.vision.preprocess import placement

from .augment import Batch, Move
from .train import Supervised

Row = tuple[int, float, float, float, float]
"""A class of the model, and a box's corners x1, y1, x2, y2 in pixels of the image file."""


VISIBLE = 0.1
"""Share of a box's area. A box with less inside the image is dropped. Ultralytics uses the same bound."""


def ultralytics(images: Sequence[str], boxes: Sequence[Sequence[Row]], spec: ModelSpec) -> Supervised:
    """Ultralytics' training loss (task-aligned assignment; box, class and distribution losses with its own gains).

    `boxes`: those of each image of `images`; they follow the image through preprocessing and augmentation. The student
    must be an Ultralytics ``DetectionModel`` in training mode. Raises `InvalidInput` for another module.
    """
    placed = [_placed(path, rows, spec) for path, rows in zip(images, boxes)]

    def loss(student: torch.nn.Module, given: Any, batch: Batch) -> torch.Tensor:
        _require_criterion(student)
        device = batch.pixels.device
        rows = [_moved(placed[i], move) for i, move in zip(batch.indices, batch.moves)]
        numbers = torch.cat([torch.full((len(some),), float(number)) for number, some in enumerate(rows)])
        every = torch.cat(rows)
        target = {"batch_idx": numbers, "cls": every[:, :1], "bboxes": every[:, 1:]}
        found, _ = student.loss({"img": batch.pixels, **{k: v.to(device) for k, v in target.items()}}, given)
        return found.sum() / len(batch.indices)  # it multiplies by the number of images

    return loss


def _require_criterion(student: Any) -> None:
    """Give a model that was built, not trained, the library's default gains; refuse a module without such a loss."""
    if not callable(getattr(student, "loss", None)) or not hasattr(student, "init_criterion"):
        raise InvalidInput(
            f"{type(student).__name__} has no Ultralytics loss.", "Training on boxes uses the library's own loss.",
            "Leave the boxes out: the student then learns from the teacher only.",
        )  # fmt: skip
    if isinstance(getattr(student, "args", None), dict) or not hasattr(getattr(student, "args", None), "box"):
        own = getattr(student, "args", None)
        known = own if isinstance(own, dict) else {}
        config = require("ultralytics.cfg", "ultralytics")
        student.args = config.get_cfg(overrides={k: v for k, v in known.items() if k in ("box", "cls", "dfl")})


def _placed(path: str, rows: Sequence[Row], spec: ModelSpec) -> torch.Tensor:
    """(boxes, 5): class, then center, width and height as shares of the input; parts outside it are cut off."""
    if not rows:
        return torch.zeros(0, 5)
    place = placement(open_image(path, spec.preprocess.turns).size, spec.preprocess, spec.input)
    found = torch.tensor(rows, dtype=torch.float32)
    x = (found[:, [1, 3]] * place.scale_x + place.left).clamp(0, spec.input.width) / spec.input.width
    y = (found[:, [2, 4]] * place.scale_y + place.top).clamp(0, spec.input.height) / spec.input.height
    sides = [x[:, 1] - x[:, 0], y[:, 1] - y[:, 0]]
    inside = (sides[0] > 0) & (sides[1] > 0)
    return torch.stack([found[:, 0], x.mean(1), y.mean(1), *sides], 1)[inside]


def _moved(boxes: torch.Tensor, move: Move) -> torch.Tensor:
    """Apply `move` to boxes (N, 5) from `_placed`: clip them, and drop a box if less than `VISIBLE` of it remains."""
    half = boxes[:, 3:] / 2
    shift = torch.tensor([move.right, move.down])
    low, high = ((boxes[:, 1:3] + sign * half) * move.zoom + shift for sign in (-1, 1))
    left, right = low.clamp(0, 1), high.clamp(0, 1)
    seen = (right - left).prod(1) > VISIBLE * (high - low).prod(1)
    moved = torch.cat([boxes[:, :1], (left + right) / 2, right - left], 1)[seen]
    if move.mirrored:
        moved[:, 1] = 1 - moved[:, 1]
    return moved
