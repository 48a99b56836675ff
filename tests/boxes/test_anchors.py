"""Anchors are torchvision's, and so are the boxes that are decoded from them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from edgewright.boxes import anchors
from edgewright.boxes.spec import AnchorLevel
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.tasks.detect.decode import read
from edgewright.tasks.detect.spec import Detect

LEVELS = (
    AnchorLevel(rows=2, columns=3, step=(16.0, 20.0), sizes=((10.0, 20.0), (30.0, 8.0))),
    AnchorLevel(rows=1, columns=1, step=(48.0, 40.0), sizes=((40.0, 40.0),)),
)
ANCHORS = 13
WIDTH, HEIGHT, CLASSES = 48, 40, 4


def spec(**changes: Any) -> ModelSpec:
    return ModelSpec(
        name="m",
        inputs=(
            Input(
                height=HEIGHT,
                width=WIDTH,
                preprocess=Preprocess(resize="exact", resize_to=(HEIGHT, WIDTH), interpolation="opencv"),
            ),
        ),
        task=Detect(
            **{
                "decoder": "anchors",
                "anchors": LEVELS,
                "coding": (10.0, 10.0, 5.0, 5.0),
                "multi_label": True,
                "scores": "softmax",
                "iou": 1.0,
                "most": 10_000,
                **changes,
            },
            classes=CLASSES,
        ),
    )


def torch_boxes(deltas: np.ndarray, coding: tuple[float, ...]) -> np.ndarray:
    from torchvision.models.detection._utils import BoxCoder

    x, y, w, h = anchors.grid(LEVELS, 0.5).T
    corners = torch.from_numpy(np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1))
    made: np.ndarray = BoxCoder(coding).decode_single(torch.from_numpy(deltas), corners).numpy()
    return made


def outputs(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = [(1, ANCHORS, CLASSES), (1, ANCHORS, 4)]
    return [rng.normal(0, 2, shape).astype(np.float32) for shape in shapes]


def test_cells_stand_level_by_level_row_by_row_size_by_size() -> None:
    grid = anchors.grid(LEVELS, 0.5)
    assert anchors.count(LEVELS) == len(grid) == ANCHORS
    assert grid[:4].tolist() == [[8, 10, 10, 20], [8, 10, 30, 8], [24, 10, 10, 20], [24, 10, 30, 8]]
    assert grid[6].tolist() == [8, 30, 10, 20] and grid[-1].tolist() == [24, 20, 40, 40]
    assert anchors.grid(LEVELS, 0.0)[3].tolist() == [16, 0, 30, 8]


@pytest.mark.parametrize("coding", [(10.0, 10.0, 5.0, 5.0), (1.0, 1.0, 1.0, 1.0)])
def test_boxes_equal_torchvisions_coder_and_are_bounded_as_there(coding: tuple[float, float, float, float]) -> None:
    deltas = np.random.default_rng(0).normal(0, 20, (ANCHORS, 4)).astype(np.float32)
    found = anchors.decode(deltas, anchors.grid(LEVELS, 0.5), coding)
    np.testing.assert_allclose(found, torch_boxes(deltas, coding), rtol=1e-5, atol=1e-3)
    assert found.dtype == np.float32


def test_values_that_overflow_give_boxes_at_the_edge() -> None:
    logits, deltas = outputs(1)
    deltas[0, :, :2] = 3e38
    deltas[0, :, 2:] = -3e38
    found = read([logits, deltas], spec(coding=(1.0, 1.0, 1.0, 1.0)), [(WIDTH, HEIGHT)])[0]
    assert len(found) > 0 and (found.boxes == (WIDTH, HEIGHT, WIDTH, HEIGHT)).all()


@pytest.mark.parametrize("least", [0.0, 0.001, 0.25, 0.6, 1.0])
@pytest.mark.parametrize("several", [True, False])
def test_softmax_never_finds_the_background(least: float, several: bool) -> None:
    logits, deltas = outputs(2)
    boxes = np.clip(torch_boxes(deltas[0], (10, 10, 5, 5)), 0, (WIDTH, HEIGHT) * 2)
    expected = []
    for row, box in zip(logits[0].astype(float), boxes.tolist()):
        share = [math.exp(v) / sum(map(math.exp, row)) for v in row]
        best = max(range(1, CLASSES), key=lambda c: share[c])
        expected += [
            (share[c], c, box) for c in range(1, CLASSES) if share[c] >= least and (several or c == best)
        ]  # fmt: skip
    expected.sort(key=lambda one: -one[0])
    found = read([logits, deltas], spec(multi_label=several), [(WIDTH, HEIGHT)], score=least)[0]
    assert found.indices.tolist() == [c for _, c, _ in expected]
    np.testing.assert_allclose(found.scores, [s for s, _, _ in expected], atol=1e-6)
    np.testing.assert_allclose(found.boxes, np.reshape([b for _, _, b in expected], (-1, 4)), atol=1e-4)


def test_sigmoid_takes_every_class_alike() -> None:
    logits, deltas = outputs(3)
    found = read([logits, deltas], spec(scores="sigmoid"), [(WIDTH, HEIGHT)], score=0.5)[0]
    assert len(found) == int((logits >= 0).sum()) and 0 in found.indices
    np.testing.assert_allclose(found.scores[0], 1 / (1 + math.exp(-logits.max())), rtol=1e-6)


def test_boxes_are_cut_to_the_image_before_they_are_compared() -> None:
    # Two boxes of one class reach far beyond the image to different sides; inside it they are the same.
    level = (AnchorLevel(rows=1, columns=1, step=(48.0, 40.0), sizes=((400.0, 400.0), (400.0, 400.0))),)
    deltas = np.float32([[[-0.3, -0.3, 0, 0], [0.3, 0.3, 0, 0]]])
    s = spec(anchors=level, scores="none", coding=(1.0, 1.0, 1.0, 1.0), iou=0.9)
    found = read([np.float32([[[0, 0.9, 0, 0], [0, 0.8, 0, 0]]]), deltas], s, [(WIDTH, HEIGHT)])[0]
    assert found.scores.tolist() == pytest.approx([0.9])
    assert found.boxes.tolist() == [[0, 0, WIDTH, HEIGHT]]


def test_boxes_are_cut_to_the_letterboxed_image_not_to_its_margin() -> None:
    how = Preprocess(resize="letterbox", resize_to=(HEIGHT, WIDTH), interpolation="opencv", align="corner")
    s = spec(iou=0.9, coding=(1.0, 1.0, 1.0, 1.0), scores="none").with_input(preprocess=how)
    logits, deltas = np.zeros((1, ANCHORS, CLASSES), np.float32), np.zeros((1, ANCHORS, 4), np.float32)
    logits[0, 12, 1], logits[0, 0, 1] = 0.9, 0.8
    deltas[0, 12] = [0, 0, 1, 1]  # over the whole input; the other one over the image at its top only
    deltas[0, 0] = [1.6, -0.25, math.log(4.8), math.log(0.5)]
    found = read([logits, deltas], s, [(96, 20)])[0]
    assert len(found) == 1 and found.boxes.tolist() == [[0, 0, 96, 20]]


def test_outputs_of_other_anchors_are_named() -> None:
    logits, deltas = outputs(4)
    with pytest.raises(InvalidInput) as caught:
        read([logits[:, 1:], deltas[:, 1:]], spec(), [(WIDTH, HEIGHT)])
    assert "(1, 12, 4)" in caught.value.what and "(1, 13, 4)" in caught.value.why


@pytest.mark.parametrize("decoder", ["boxes", "yolox"])
def test_softmax_without_a_background_is_refused(decoder: str) -> None:
    with pytest.raises(InvalidInput, match="softmax"):
        read([np.zeros((1, 8, 13), np.float32)], spec(decoder=decoder), [(WIDTH, HEIGHT)])
    only = spec().with_task(classes=1)
    with pytest.raises(InvalidInput, match="1 classes"):
        read([np.zeros((1, ANCHORS, 1), np.float32), outputs(5)[1]], only, [(WIDTH, HEIGHT)])
