"""A student's head is compared with its teacher's where the teacher sees something."""

from __future__ import annotations

import msgspec
import pytest
import torch

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Input, ModelSpec
from edgewright.tasks.detect import training
from edgewright.tasks.detect.spec import Detect

YOLO = ModelSpec(
    name="yolo",
    inputs=(Input(height=8, width=8),),
    outputs=("head",),
    task=Detect(decoder="dfl", bins=4, scores="sigmoid", classes=3),
)


def test_a_detectors_loss_looks_where_the_teacher_sees_something() -> None:
    head = torch.randn(1, 4 * 4 + 3, 10)
    head[:, 16:] = -8.0
    head[:, 16 + 1, 4] = 3.0  # the teacher sees class 1 in cell 4

    def loss(channels: slice, cell: int) -> float:
        given = head.clone()
        given[:, channels, cell] += 1.0 * torch.arange(given[:, channels, cell].shape[1])
        return training.distillation([given], [head], YOLO, 1.0).item()

    assert training.distillation([head], [head], YOLO, 1.0).item() == pytest.approx(0, abs=1e-6)
    assert loss(slice(0, 16), 4) > 100 * loss(slice(0, 16), 0), "boxes"
    assert loss(slice(16, 19), 4) > 100 * loss(slice(16, 19), 0), "classes"
    imagined = head.clone()
    imagined[:, 16, 0] = 8.0
    assert training.distillation([imagined], [head], YOLO, 1.0).item() > 1, "what only the student sees is to go away"
    maps = [head[..., :6].reshape(1, 19, 2, 3), head[..., 6:].reshape(1, 19, 2, 2)]
    assert training.distillation(maps, [m + 0.1 for m in maps], YOLO, 1.0).item() == pytest.approx(
        training.distillation([head], [head + 0.1], YOLO, 1.0).item()
    )


@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
def test_an_anchors_loss_looks_where_the_teacher_sees_something(scores: str) -> None:
    spec = msgspec.structs.replace(YOLO, task=Detect(decoder="anchors", scores=scores, classes=YOLO.classes))
    wanted = [torch.full((1, 6, 4), -8.0), torch.zeros(1, 6, 4)]
    wanted[0][0, :, 0] = 8.0 if scores == "softmax" else -8.0
    wanted[0][0, 2, 3] = 16.0

    def loss(anchor: int) -> float:
        moved = wanted[1].clone()
        moved[0, anchor] += 1.0
        return training.distillation([wanted[0], moved], wanted, spec, 1.0).item()

    assert loss(2) > 100 * loss(0)


def test_boxes_in_no_order_are_refused() -> None:
    spec = msgspec.structs.replace(YOLO, task=Detect(decoder="set", classes=YOLO.classes))
    with pytest.raises(InvalidInput, match="a set of boxes"):
        training.require_comparable(spec)
