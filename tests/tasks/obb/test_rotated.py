"""Rotated boxes in numpy, against shapely, torch and Ultralytics."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgewright.tasks.obb import polygons, rotated

shapely = pytest.importorskip("shapely")


def _boxes(count: int, seed: int = 0, reach: float = 100) -> np.ndarray:
    random = np.random.default_rng(seed)
    low, high = (0, 0, 1, 1, -4), (reach, reach, 80, 80, 4)
    return random.uniform(low, high, (count, 5))


def _shapely_iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    ours, theirs = shapely.polygons(one)[:, None], shapely.polygons(other)[None]
    common = shapely.area(shapely.intersection(ours, theirs))
    return np.asarray(common / (shapely.area(ours) + shapely.area(theirs) - common))


def test_the_iou_of_outlines_is_that_of_shapely() -> None:
    one, other = _boxes(60), _boxes(60, 1)
    other[:8] = one[:8]  # the same box, also with its sides exchanged, half of it, and a neighbor with a common side
    other[2:4] = one[2:4][:, [0, 1, 3, 2, 4]] + [0, 0, 0, 0, math.pi / 2]
    other[4:6, 2] /= 2
    one[6:8, 4] = other[6:8, 4] = 0
    other[6:8, 0] += one[6:8, 2]
    a, b = rotated.corners_of(one), rotated.corners_of(other)
    assert np.abs(polygons.iou(a, b) - _shapely_iou(a, b)).max() < 1e-9
    assert np.abs(polygons.iou(a[:, ::-1], b) - _shapely_iou(a, b)).max() < 1e-9, "corners in the other direction"


def test_a_labeled_outline_needs_no_right_angles() -> None:
    quads = rotated.corners_of(_boxes(40)) + np.random.default_rng(2).normal(0, 3, (40, 4, 2))
    valid = shapely.is_valid(shapely.polygons(quads))
    boxes = rotated.corners_of(_boxes(40, 3))
    assert valid.sum() > 20
    assert np.abs(polygons.iou(quads[valid], boxes) - _shapely_iou(quads[valid], boxes)).max() < 1e-9


def test_an_outline_without_area_overlaps_nothing() -> None:
    flat = np.zeros((1, 4, 2))
    assert polygons.iou(flat, rotated.corners_of(_boxes(3))) == pytest.approx(np.zeros((1, 3)))
    assert polygons.iou(flat[:0], flat).shape == (0, 1)


def test_corners_are_those_of_ultralytics_and_fit_back() -> None:
    ops = pytest.importorskip("ultralytics.utils.ops")
    boxes = _boxes(50)
    corners = rotated.corners_of(boxes)
    assert corners == pytest.approx(ops.xywhr2xyxyxyxy(boxes))
    back = rotated.fitted(corners)
    assert back == pytest.approx(ops.xyxyxyxy2xywhr(corners.reshape(-1, 8)), abs=1e-3)
    assert rotated.around(corners) == pytest.approx(rotated.around(rotated.corners_of(back)))


def test_probiou_is_that_of_ultralytics() -> None:
    metrics, torch = pytest.importorskip("ultralytics.utils.metrics"), pytest.importorskip("torch")
    one, other = _boxes(40), _boxes(40, 1)
    other[:5] = one[:5]
    found = rotated.probiou(one[:, None], other[None])
    assert found == pytest.approx(metrics.batch_probiou(torch.from_numpy(one), torch.from_numpy(other)).numpy())


@pytest.mark.parametrize("iou", [0.05, 0.3, 0.7, 0.95, 1.0])
def test_suppression_keeps_the_boxes_that_ultralytics_keeps(iou: float) -> None:
    nms, metrics = pytest.importorskip("ultralytics.utils.nms"), pytest.importorskip("ultralytics.utils.metrics")
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(5)
    boxes = _boxes(400, reach=300)
    boxes = np.concatenate([boxes, boxes + random.normal(0, 1, boxes.shape) * (1, 1, 1, 1, 0.02)])
    classes = random.integers(0, 3, len(boxes))
    apart = torch.from_numpy(boxes + 7680 * classes[:, None] * [1, 1, 0, 0, 0])
    scores = torch.linspace(1, 0, len(boxes))
    wanted = nms.TorchNMS.fast_nms(apart, scores, iou, iou_func=metrics.batch_probiou).numpy()
    assert rotated.suppress(boxes, classes, iou, len(boxes)).tolist() == wanted.tolist()
    assert rotated.suppress(boxes, classes, iou, 7).tolist() == wanted[:7].tolist()
