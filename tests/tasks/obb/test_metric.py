"""mAP of rotated boxes, and what an audit finds, on boxes by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgewright.core.spec import Input, ModelSpec
from edgewright.data.boxes import Box
from edgewright.data.sets import Item
from edgewright.tasks.obb import metric, report, rotated
from edgewright.tasks.obb.answer import RotatedBoxes
from edgewright.tasks.obb.spec import Obb

NAMES = ("ship", "plane")


def _spec(overlap: str = "polygon") -> ModelSpec:
    task = Obb(decoder="boxes", classes=2, labels=NAMES, overlap=overlap)  # type: ignore[arg-type]
    return ModelSpec(name="aerial", inputs=(Input(height=64, width=64),), task=task)


def _truth(images: int = 8) -> tuple[list[Item], np.ndarray]:
    """Images with labeled boxes, and the rows of a detector that finds each exactly, with scores that differ."""
    random = np.random.default_rng(0)
    items, rows = [], []
    for number in range(images):
        low, high = (40, 40, 30, 10, -0.7), (200, 200, 60, 20, 2.3)
        boxes = random.uniform(low, high, (4, 5)) + np.arange(4)[:, None] * [200, 0, 0, 0, 0]
        classes = random.integers(0, 2, 4)
        labeled = []
        for corners, label in zip(rotated.corners_of(boxes), classes):
            x1, y1, x2, y2 = rotated.around(corners[None])[0]
            outline = tuple(corners.ravel().tolist())
            labeled.append(Box(int(label), x1, y1, x2, y2, 1.0, corners=outline))
        items.append(Item(path=f"{number}.png", label=None, boxes=tuple(labeled)))
        scores = np.sort(random.uniform(0.5, 1, 4))[::-1]
        rows.append(RotatedBoxes(boxes.astype(np.float32), scores, classes, NAMES).rows(number))
    return items, np.concatenate(rows)


@pytest.mark.parametrize("overlap", ["polygon", "probiou"])
def test_exact_boxes_have_the_full_map_and_rotated_ones_less(overlap: str) -> None:
    items, rows = _truth()
    spec = _spec(overlap)
    exact = metric.score(rows, items, spec)
    assert exact.score == pytest.approx(100)
    turned = rows.copy()
    turned[:, 7] += math.radians(12)
    found = metric.compare(turned, rows, items, spec)
    delta = found.scores["obb_map"].delta
    assert delta is not None and delta.verdict == "worse" and -90 < delta.value < -10
    assert found.scores["ap50"].value > 90, "at an IoU of 0.5 it is still found"
    swapped = rows.copy()
    swapped[:, [3, 4]] = rows[:, [4, 3]]
    swapped[:, 7] += math.pi / 2
    assert metric.score(swapped, items, spec).score == pytest.approx(100), "the same boxes, with their sides exchanged"


def test_a_difficult_object_counts_neither_way() -> None:
    items, rows = _truth(1)
    boxes = items[0].boxes or ()
    crowd = Box(**{name: getattr(boxes[0], name) for name in boxes[0].__struct_fields__} | {"crowd": True})
    changed = [Item(path="0.png", label=None, boxes=(crowd, *boxes[1:]))]
    assert metric.score(rows, changed, _spec()).score == pytest.approx(100)


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("classes", lambda rows: np.r_["1", rows[:, :6], 1 - rows[:, 6:7], rows[:, 7:]]),
        ("offset", lambda rows: rows + np.float32([0, 4, 0, 0, 0, 0, 0, 0])),
        ("scale", lambda rows: rows * np.float32([1, 1, 1, 1.3, 1.3, 1, 1, 1])),
        ("angle", lambda rows: rows + np.float32([0, 0, 0, 0, 0, 0, 0, math.radians(4)])),
    ],
)
def test_an_audit_finds_what_changed(code: str, change: object) -> None:
    _, rows = _truth()
    found = {drift.code: drift for drift in metric.drifts(change(rows), rows, _spec())}  # type: ignore[operator]
    assert found[code].value > found[code].limits[1]
    others = [drift for name, drift in found.items() if name != code]
    assert all(drift.value <= drift.limits[0] for drift in others)


def test_the_same_boxes_have_no_drift_and_few_boxes_none_at_all() -> None:
    _, rows = _truth()
    assert all(drift.value == 0 for drift in metric.drifts(rows, rows, _spec()))
    assert metric.drifts(rows[:3], rows[:3], _spec()) == []


def test_the_gallery_shows_the_image_that_changed() -> None:
    _, rows = _truth(3)
    changed = rows[~((rows[:, 0] == 1) & (rows[:, 5] == rows[rows[:, 0] == 1, 5].max()))]
    assert report.disagreement(changed, rows, 3, _spec()).argmax() == 1
    assert report.disagreement(rows, rows, 3, _spec()).tolist() == [0, 0, 0]
