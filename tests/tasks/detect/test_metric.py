"""mAP against pycocotools, the bootstrap against the score, the shift of confidence by hand."""

from __future__ import annotations

import contextlib
import io
import time
from pathlib import Path

import numpy as np
import pytest
from boxes_sample import CLASSES, detections, scenes, spec

from edgewright.boxes import paired
from edgewright.boxes.average_precision import average_precision as score
from edgewright.boxes.confidence import confidence_shift
from edgewright.boxes.matching import matches
from edgewright.boxes.paired import contributions, paired_difference, weighted_map
from edgewright.core.errors import InvalidInput
from edgewright.data.boxes import Box
from edgewright.data.sets import Item, read
from edgewright.tasks import scores
from edgewright.tasks.detect import metric


def by_pycocotools(found: np.ndarray, items: list[Item], classes: int) -> np.ndarray:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = [
        {"image_id": k, "category_id": b.label + 1, "bbox": [b.x1, b.y1, b.x2 - b.x1, b.y2 - b.y1], "area": b.area,
         "iscrowd": int(b.crowd)}
        for k, item in enumerate(items) for b in item.boxes or ()
    ]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": k} for k in range(len(items))],
            "categories": [{"id": k + 1} for k in range(classes)],
            "annotations": [a | {"id": k} for k, a in enumerate(truth, 1)],
        }
        coco.createIndex()
        rows = found.astype(np.float64)
        results = coco.loadRes(np.c_[rows[:, 0:3], rows[:, 3:5] - rows[:, 1:3], rows[:, 5], rows[:, 6] + 1])
        evaluator = COCOeval(coco, results, "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return np.asarray(evaluator.stats)[:6] * 100


def figures(found: np.ndarray, items: list[Item], classes: int) -> list[float]:
    s = score(found, items, classes)
    sizes = [-100.0 if value is None else value for value in (s.map_small, s.map_medium, s.map_large)]
    return [s.map, s.ap50, s.ap75, *sizes]


@pytest.mark.parametrize("seed", range(4))
def test_score_is_pycocotools(seed: int) -> None:
    items = scenes(seed=seed)
    found = detections(items, CLASSES, seed)
    assert figures(found, items, CLASSES) == pytest.approx(by_pycocotools(found, items, CLASSES), abs=1e-4)


def test_more_than_100_detections_of_one_class() -> None:
    items = scenes(6, seed=3)
    found = np.concatenate([detections(items, CLASSES, k) for k in range(20)])
    found[:, 6] = 1
    assert figures(found, items, CLASSES) == pytest.approx(by_pycocotools(found, items, CLASSES), abs=1e-4)
    assert weighted_map(matches(found, items, CLASSES), np.ones((1, 6), int)) == pytest.approx(
        score(found, items, CLASSES).map, abs=1e-9
    )


def test_sizes_and_classes_without_objects_have_no_figure() -> None:
    items = [Item("a.png", None, (Box(0, 0, 0, 200, 200, 40000.0),)), Item("b.png", None, ())]
    found = np.array([[0, 0, 0, 200, 200, 0.9, 0]], np.float32)
    s = score(found, items, 2)
    assert (s.map, s.map_small, s.map_medium, s.per_class) == (
        pytest.approx(100),
        None,
        None,
        (pytest.approx(100), None),
    )
    empty = score(np.zeros((0, 7), np.float32), items, 2)
    assert (empty.map, empty.map_large, empty.map_small) == (0, 0, None)
    assert paired_difference(matches(found, items, 2), matches(found[:0], items, 2), len(items))[0] == pytest.approx(
        100
    )


def test_rows_that_are_not_finite_match_nothing() -> None:
    items = [Item("a.png", None, (Box(0, 0, 0, 200, 200, 40000.0),))]
    good = [0, 0, 0, 200, 200, 0.5, 0]
    for bad in ([0, np.nan, 0, 200, 200, 0.9, 0], [0, 0, 0, np.inf, 200, 0.9, 0], [0, 0, 0, 200, 200, np.nan, 0]):
        assert score(np.array([bad], np.float32), items, 1).map == 0
    broken = np.array([[0, np.nan, 0, 200, 200, 0.9, 0], good], np.float32)
    assert score(broken, items, 1).map == pytest.approx(50), "it is a false positive before the right one"
    assert paired_difference(
        matches(broken, items, 1), matches(np.array([good], np.float32), items, 1), len(items)
    ).value == pytest.approx(-50)


def test_without_an_object_there_is_nothing_to_measure() -> None:
    items = [Item("a.png", None, ()), Item("b.png", None, (Box(0, 0, 0, 9, 9, 81, True),))]
    nothing = np.zeros((0, 7), np.float32)
    for measure in (
        lambda: score(nothing, items, 1),
        lambda: paired_difference(matches(nothing, items, 1), matches(nothing, items, 1), len(items)),
    ):
        with pytest.raises(InvalidInput, match="None of the 2 images has a box"):
            measure()


# --- the bootstrap ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_weights_of_one_give_the_score(seed: int) -> None:
    items = scenes(seed=seed)
    found = detections(items, CLASSES, seed)
    weighted = weighted_map(matches(found, items, CLASSES), np.ones((1, len(items)), int))
    assert weighted[0] == pytest.approx(score(found, items, CLASSES).map, abs=1e-9)


def test_weights_are_copies_of_images() -> None:
    items = scenes(12, seed=5)
    found = np.unique(detections(items, CLASSES, 5), axis=0)
    found[:, 5] = np.linspace(0.01, 0.99, len(found))[np.random.default_rng(0).permutation(len(found))]
    weights = np.random.default_rng(1).multinomial(12, np.full(12, 1 / 12), size=5)
    maps = weighted_map(matches(found, items, CLASSES), weights)
    for row, value in zip(weights, maps):
        chosen = np.repeat(np.arange(12), row)
        copies = []
        for new, old in enumerate(chosen):
            rows = found[found[:, 0] == old].copy()
            rows[:, 0] = new
            copies.append(rows)
        # Copies tie in score: a precision between two copies is not looked at, so the score may differ a little.
        assert value == pytest.approx(score(np.concatenate(copies), [items[k] for k in chosen], CLASSES).map, abs=0.5)


def test_paired_difference_is_the_difference_with_bounds_around_it() -> None:
    items = scenes(60)
    good, bad = detections(items, CLASSES, 0, 0.03), detections(items, CLASSES, 1, 0.15)
    found = paired_difference(matches(bad, items, CLASSES), matches(good, items, CLASSES), len(items))
    assert found.value == pytest.approx(score(bad, items, CLASSES).map - score(good, items, CLASSES).map)
    assert found.low < found.value < found.high < 0
    assert paired_difference(matches(bad, items, CLASSES), matches(good, items, CLASSES), len(items)) == found, (
        "the seed makes it repeatable"
    )
    wider = paired_difference(matches(bad, items, CLASSES), matches(good, items, CLASSES), len(items), confidence=0.99)
    assert wider.low < found.low and wider.high > found.high
    assert paired_difference(matches(good, items, CLASSES), matches(good, items, CLASSES), len(items)) == (0, 0, 0)


def test_pairing_is_narrower_than_two_separate_bootstraps() -> None:
    items = scenes(60)
    good = detections(items, CLASSES, 0, 0.03)
    slightly = good.copy()
    slightly[::9, 1:5] += 3
    found = paired_difference(matches(slightly, items, CLASSES), matches(good, items, CLASSES), len(items))
    weights = np.random.default_rng(0).multinomial(60, np.full(60, 1 / 60), size=400)
    alone = weighted_map(matches(good, items, CLASSES), weights)
    assert found.high - found.low < np.subtract(*np.quantile(alone, [0.95, 0.05])) / 2


def test_blocks_of_resamples_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    items = scenes(20)
    one, other = detections(items, CLASSES, 0), detections(items, CLASSES, 1)
    whole = paired_difference(matches(one, items, CLASSES), matches(other, items, CLASSES), len(items))
    monkeypatch.setattr(paired, "_BLOCK", 3000)
    assert paired_difference(matches(one, items, CLASSES), matches(other, items, CLASSES), len(items)) == whole


# --- what each image contributes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_contributions_have_the_map_as_their_mean(seed: int) -> None:
    items = scenes(seed=seed)
    found = detections(items, CLASSES, seed)
    each = contributions(matches(found, items, CLASSES), len(items))
    assert each.mean() == pytest.approx(score(found, items, CLASSES).map, abs=1e-9)
    held = metric.score(found, items, spec())
    numbers = scores.unpack(held.contributions)
    assert numbers == pytest.approx(each, rel=1e-6)
    assert float(numbers.mean(dtype=float)) == pytest.approx(held.score, abs=1e-4), "float32 keeps the mean"
    assert contributions(matches(found[:0], items, CLASSES), len(items)) == pytest.approx(np.zeros(len(items)))


@pytest.mark.parametrize("seed", range(3))
def test_contributions_are_what_leaving_each_image_out_takes(seed: int) -> None:
    items = scenes(14, seed=seed)
    found = detections(items, CLASSES, seed)
    rest = []
    for k in range(len(items)):
        others = found[found[:, 0] != k].copy()
        others[:, 0] -= others[:, 0] > k
        rest.append(score(others, items[:k] + items[k + 1 :], CLASSES).map)
    lost = np.mean(rest) - np.array(rest)
    mean = score(found, items, CLASSES).map
    assert contributions(matches(found, items, CLASSES), len(items)) == pytest.approx(mean + 13 * lost, abs=1e-6)


def test_contributions_to_classes_of_many_images_are_nearly_what_leaving_them_out_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    items = scenes(300, seed=2)
    one, other = detections(items, CLASSES, 2), detections(items, CLASSES, 3)
    exact, linear = [], []
    for many, into in ((300, exact), (100, linear)):
        monkeypatch.setattr(paired, "_MANY", many)
        into.append(
            contributions(matches(one, items, CLASSES), len(items))
            - contributions(matches(other, items, CLASSES), len(items))
        )
    assert linear[0].std() == pytest.approx(exact[0].std(), rel=0.1)
    assert np.corrcoef(linear[0], exact[0])[0, 1] > 0.9


@pytest.mark.parametrize("seed", range(4))
def test_contributions_give_the_interval_of_the_bootstrap(seed: int) -> None:
    items = scenes(200, seed=seed)
    good, bad = detections(items, CLASSES, seed, 0.05), detections(items, CLASSES, seed + 1, 0.08)
    slightly = good.copy()
    slightly[::9, 1:5] += 3
    for other in (bad, slightly):
        difference = contributions(matches(other, items, CLASSES), len(items)) - contributions(
            matches(good, items, CLASSES), len(items)
        )
        half = 1.645 * difference.std(ddof=1) / len(items) ** 0.5
        sampled = paired_difference(matches(other, items, CLASSES), matches(good, items, CLASSES), len(items))
        assert difference.mean() == pytest.approx(sampled.value, abs=1e-9)
        assert 2 * half == pytest.approx(sampled.high - sampled.low, rel=0.25)


# --- confidence -------------------------------------------------------------------------------------------------------


def test_confidence_shift_by_hand() -> None:
    reference = np.array(
        [
            [0, 0, 0, 10, 10, 0.8, 0],
            [0, 50, 50, 60, 60, 0.6, 0],
            [1, 0, 0, 10, 10, 0.9, 2],
            [1, 30, 30, 40, 40, 0.5, 1],  # found in another image only
            [1, 70, 70, 80, 80, 0.2, 1],  # below the floor
        ],
        np.float32,
    )
    found = np.array(
        [
            [0, 0, 0, 10, 9, 0.7, 0],
            [0, 0, 0, 10, 7, 0.9, 0],  # overlaps less, though its score is better
            [0, 50, 50, 60, 60, 0.1, 0],  # any score
            [1, 0, 0, 10, 10, 0.5, 2],
            [1, 0, 0, 10, 10, 0.99, 1],  # another class
            [0, 30, 30, 40, 40, 0.5, 1],
        ],
        np.float32,
    )
    shift = confidence_shift(found, reference, 3)
    assert (shift.matched, shift.lost) == (3, 1)
    assert (shift.before, shift.after) == (pytest.approx(2.3 / 3), pytest.approx(1.3 / 3))
    assert shift.shift == pytest.approx(-1 / 3)
    assert [(c.index, c.matched, c.before, c.after) for c in shift.classes] == [
        (0, 2, pytest.approx(0.7), pytest.approx(0.4)),
        (2, 1, pytest.approx(0.9), pytest.approx(0.5)),
    ]


def test_a_box_is_matched_once_and_equal_detections_do_not_shift() -> None:
    twice = np.array([[0, 0, 0, 10, 10, 0.8, 0], [0, 0, 0, 10, 9, 0.6, 0]], np.float32)
    shift = confidence_shift(twice[:1], twice, 1)
    assert (shift.matched, shift.lost, shift.before) == (1, 1, pytest.approx(0.8))
    same = confidence_shift(twice, twice, 1)
    assert (same.matched, same.lost, same.shift) == (2, 0, 0)
    none = confidence_shift(twice[:0], twice, 1)
    assert (none.matched, none.lost, np.isnan(none.shift), none.classes) == (0, 2, True, ())
    broken = twice[:1].copy()
    broken[0, 2] = np.nan
    assert confidence_shift(broken, twice, 1).lost == 2


# --- real images ------------------------------------------------------------------------------------------------------


@pytest.mark.zoo
def test_score_is_pycocotools_on_coco_and_the_bootstrap_takes_seconds(zoo: Path) -> None:
    items = list(read(zoo / "coco-val").items)
    found, reference = detections(items, 80, 0), detections(items, 80, 1)
    assert figures(found, items, 80) == pytest.approx(by_pycocotools(found, items, 80), abs=1e-4)
    start = time.process_time()
    difference = paired_difference(matches(found, items, 80), matches(reference, items, 80), len(items))
    assert time.process_time() - start < 30  # 2 s; a guard against something quadratic, not a speed
    assert difference.value == pytest.approx(score(found, items, 80).map - score(reference, items, 80).map, abs=1e-9)
