"""mAP of keypoints is COCO's, its contributions add up, and changes of single points are found."""

from __future__ import annotations

import numpy as np
import pytest

from edgewright.core.spec import Input, ModelSpec
from edgewright.data.boxes import Box
from edgewright.data.sets import Item
from edgewright.points import skeletons
from edgewright.tasks import scores
from edgewright.tasks.pose import metric
from edgewright.tasks.pose.spec import Pose

K = 17


def spec(**fields: object) -> ModelSpec:
    task = Pose(**{"decoder": "dfl", "score": 0.25, **fields})  # type: ignore[arg-type]
    return ModelSpec(name="m", inputs=(Input(height=64, width=64),), task=task)


def scene(seed: int = 0) -> tuple[tuple[Item, ...], np.ndarray]:
    """Images with persons, some without labeled points, some crowds; and rows of a model that finds most of them."""
    random = np.random.default_rng(seed)
    items, rows = [], []
    for image in range(30):
        boxes = []
        for _ in range(int(random.integers(0, 5))):
            size = random.uniform(20, 120, 2)
            x, y = random.uniform(0, 200, 2)
            points = random.uniform(0, 1, (K, 2)) * size + (x, y)
            seen = random.integers(0, 3, K) if random.random() < 0.8 else np.zeros(K, int)
            labeled = tuple((float(px), float(py), int(v)) for (px, py), v in zip(points, seen))
            crowd = bool(random.random() < 0.1)
            boxes.append(Box(0, x, y, x + size[0], y + size[1], float(size.prod() * 0.6), crowd, keypoints=labeled))
            if random.random() < 0.85:
                spread = random.uniform(0.0, 0.12) * size.max()
                moved = points + random.normal(0, spread, (K, 2))
                score = random.uniform(0.05, 1)
                flat = np.column_stack([moved, random.uniform(0.3, 1, K)]).reshape(-1)
                rows.append([image, x, y, x + size[0], y + size[1], score, 0, *flat])
        for _ in range(int(random.integers(0, 3))):
            flat = random.uniform(0, 200, 3 * K)
            rows.append([image, 0, 0, 50, 50, random.uniform(0.01, 0.6), 0, *flat])
        items.append(Item(f"/{image}.png", None, tuple(boxes)))
    return tuple(items), np.array(rows, np.float32)


def cocos(items: tuple[Item, ...], rows: np.ndarray) -> list[float]:
    """mAP, AP50 and AP75 of faster-coco-eval."""
    library = pytest.importorskip("faster_coco_eval")
    images = [{"id": k + 1} for k in range(len(items))]
    truth = [
        {"image_id": k + 1, "category_id": 1, "bbox": [b.x1, b.y1, b.x2 - b.x1, b.y2 - b.y1], "area": b.area,
         "iscrowd": int(b.crowd), "keypoints": [v for point in b.keypoints or () for v in point],
         "num_keypoints": sum(v > 0 for *_, v in b.keypoints or ())}
        for k, item in enumerate(items) for b in item.boxes or ()
    ]  # fmt: skip
    found = [
        {"image_id": int(r[0]) + 1, "category_id": 1, "score": float(r[5]), "keypoints": [float(v) for v in r[7:]]}
        for r in rows
    ]
    common = {"images": images, "categories": [{"id": 1, "name": "person"}], "info": {}}
    gt = library.COCO(common | {"annotations": [a | {"id": n} for n, a in enumerate(truth, 1)]})
    dt = gt.loadRes(found)
    evaluation = library.COCOeval_faster(gt, dt, iouType="keypoints", kpt_oks_sigmas=list(skeletons.sigmas(K)))
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, 0, 0, -1]
    return [100 * float(precision[precision > -1].mean()), *(100 * float(precision[k].mean()) for k in (0, 5))]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_map_of_keypoints_is_cocos_and_contributions_add_up_to_it(seed: int) -> None:
    items, rows = scene(seed)
    found = metric.score(rows, items, spec())
    expected = cocos(items, rows)
    values = [found.scores[name].value for name in ("pose_map", "pose_ap50", "pose_ap75")]
    np.testing.assert_allclose(values, expected, atol=1e-6)
    assert 5 < expected[0] < 95 and found.contributions is not None
    assert float(scores.unpack(found.contributions).mean()) == pytest.approx(expected[0], abs=0.02)


def test_the_difference_to_a_worse_model_is_paired() -> None:
    items, rows = scene()
    worse = rows.copy()
    worse[:, 7::3] += 12
    found = metric.compare(worse, rows, items, spec())
    delta = found.delta
    assert delta is not None and delta.value < -5 and delta.low <= delta.value <= delta.high
    assert delta.verdict == "worse"
    assert metric.compare(rows, rows, items, spec()).delta == scores.Delta(
        value=0, low=0, high=0, verdict="not_worse", margin=1.0
    )


def test_points_that_stay_near_the_references_are_counted() -> None:
    _, rows = scene()
    moved = rows.copy()
    moved[:, 7] += 1000  # the first of 17 points of each person
    share = metric.likeness(moved, rows, spec()).percent
    assert share == pytest.approx(100 * 16 / 17, abs=0.5)
    lost = rows[rows[:, 0] > 0]
    assert metric.likeness(lost, rows, spec()).percent < 100 * len(lost) / len(rows) + 5


@pytest.mark.parametrize("change", ["dropped", "swapped", "faded", "shifted"])
def test_an_audit_finds_a_changed_keypoint(change: str) -> None:
    _, rows = scene()
    other = rows.copy()
    if change == "dropped":
        other[:, 7:9] = 0
    elif change == "swapped":
        other[:, 7:10], other[:, 10:13] = rows[:, 10:13], rows[:, 7:10]
    elif change == "faded":
        other[:, 9] = 0
    else:
        other[:, 7::3] += 8
    limits = {
        drift.code: max(d.value / d.limits[1] for d in metric.drifts(other, rows, spec()) if d.code == drift.code)
        for drift in metric.drifts(other, rows, spec())
    }
    assert limits["offset" if change == "shifted" else "points"] > 1
    assert all(d.value <= d.limits[0] for d in metric.drifts(rows, rows, spec()))


def test_rows_of_chosen_images_are_renumbered() -> None:
    _, rows = scene()
    some = metric.chosen(rows, [5, 2])
    assert set(some[:, 0]) <= {0, 1}
    np.testing.assert_array_equal(some[some[:, 0] == 1, 1:], rows[rows[:, 0] == 2, 1:])
